// What comes next: the learner of launch sequences. A program that trains or generates repeats its
// launches, so the future is read from the last occurrence of the present: a cursor stands on it in
// the history and moves on with each launch. It tolerates edits: launches that are inserted, left
// out or replaced cost a step, not the place.
//
// Values in, advice out. It owns a ring of past launches and tables over it, some 80 bytes for each
// launch remembered, all allocated in the constructor; it takes no lock and knows no clock. Whoever
// holds it guards it. A wrong answer costs time, never bytes.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "policy/phases.hpp"
#include "policy/recall.hpp"

namespace barswap::policy {

struct LaunchKey {
  std::uint64_t site = 0;      // function, block, number of pointers: the same as a grid grows
  std::uint64_t instance = 0;  // the site, its grid and the ranges named, but for common ones:
                               // tells equal layers apart
  friend bool operator==(const LaunchKey&, const LaunchKey&) = default;
};

class Sequence {
 public:
  // `capacity` launches are remembered; it is raised to a power of two, at least 256. A cycle that
  // is longer is never learnt.
  explicit Sequence(std::size_t capacity);

  // Takes the next launch and answers its position: 0, 1, 2 and so on.
  std::uint64_t record(LaunchKey key);

  // A cursor stands. It is worth following only with some confidence.
  bool locked() const { return cursor_.has_value(); }
  // The latest launch's last occurrence.
  std::optional<std::uint64_t> cursor() const { return cursor_; }
  // Launches from one occurrence to the next, once three expected launches agree; 0 while unknown.
  std::uint64_t period() const { return period_; }
  // Of the last 32 launches or so, the share that was exactly the one expected next: 0 to 1. One
  // that was expected after it counts half; inserted launches are not counted as long as the cursor
  // keeps its place.
  double confidence() const { return confidence_; }
  // The program was known, and is not any more: confidence fell under a half. It is over when
  // confidence returns, or as soon as a known cycle is recognised.
  bool phase_changed() const { return phase_changed_; }
  // The name of the cycle that runs, the same whenever it returns; 0 while none is known.
  Phases::Name phase() const { return phases_.current(); }

  // The position whose launch is expected `distance` launches from now, if all goes as the last
  // time: 1 is the next. Beyond the present the cycle is read again from its start. Nothing without
  // a cursor.
  std::optional<std::uint64_t> ahead(std::size_t distance) const;
  // Positions whose launches are expected, nearest first; answers how many. What was missing the
  // last time is filled in from the two times before. Fewer than asked for at the end of what is
  // known.
  std::size_t foretell(std::span<std::uint64_t> positions) const;
  // The occurrence that the cursor stood on when the launch at this position came.
  std::optional<std::uint64_t> before(std::uint64_t position) const;
  // The launch at a position, while it is remembered.
  std::optional<LaunchKey> at(std::uint64_t position) const;
  std::uint64_t recorded() const { return recorded_; }
  std::size_t capacity() const { return history_.size(); }

 private:
  static constexpr std::array<std::size_t, 5> kSuffixes = {4, 8, 16, 32, 128};
  using Matches = std::array<std::optional<std::uint64_t>, kSuffixes.size()>;
  enum class Step : std::uint8_t { hit, near_hit, weak_hit, jump, insertion, loss };
  struct Entry {
    LaunchKey key;
    std::uint32_t back = 0;  // to the occurrence before; 0 is none
    Phases::Name phase = 0;
    bool seen = false;  // the instance was remembered when it came
  };
  class Teller;

  const LaunchKey& of(std::uint64_t position) const { return history_[position & mask_].key; }
  std::uint64_t oldest() const;
  std::optional<std::uint64_t> last_of(LaunchKey key);
  Matches note_suffixes(LaunchKey key);
  bool same_sites(std::uint64_t position, LaunchKey key, std::size_t length) const;
  std::optional<std::uint64_t> longest(const Matches& matches, LaunchKey key) const;
  std::optional<std::uint64_t> in_window(LaunchKey key, std::optional<std::uint64_t> last) const;
  bool in_earlier(std::optional<std::uint64_t> last) const;
  std::optional<std::uint64_t> found_again(const Matches& matches, LaunchKey key,
                                           std::optional<std::uint64_t> last) const;
  void return_to(std::uint64_t position);
  Step follow(LaunchKey key, std::optional<std::uint64_t> last);
  void judge(Step step);
  void count(double hit);
  void settle(Step step, LaunchKey key);

  std::uint64_t mask_;
  std::vector<Entry> history_;
  Recall last_;  // of an instance
  std::vector<Recall> suffixes_;
  // Sums of the polynomial over all sites so far; the difference of two is the hash of what lies
  // between. The last 128 are enough.
  std::array<std::uint64_t, 256> sums_{};
  std::array<std::uint64_t, kSuffixes.size()> powers_{};

  std::uint64_t recorded_ = 0;
  std::optional<std::uint64_t> cursor_;
  std::uint32_t weak_ = 0;     // steps where the site was right and the instance not, weighed
  std::uint32_t skipped_ = 0;  // launches in a row that were found nowhere
  std::uint32_t strays_ = 0;   // launches in a row that an earlier occurrence had
  double confidence_ = 0;
  bool settled_ = false;
  bool phase_changed_ = false;
  std::uint64_t offset_ = 0;  // launches since the last occurrence, at the latest hit
  std::uint32_t agreed_ = 0;  // hits in a row with this offset
  std::uint64_t period_ = 0;
  std::uint64_t named_offset_ = 0;  // under which the cycle's name was told
  std::uint64_t instance_before_ = 0;
  // Launches of the cycle returned to; 0: it has come round, or was left. One that became longer or
  // shorter is followed to the end of its last stay.
  std::uint64_t returned_cycle_ = 0;
  // The last occurrence of the latest launch that had one.
  std::optional<std::uint64_t> witness_;
  Phases phases_;
};

}  // namespace barswap::policy

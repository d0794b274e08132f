// Which range is needed when: the ranges that each launch names, laid over the learnt sequence. The
// page that leaves HBM should be the one whose next use is furthest away. While nothing is learnt,
// what came once leaves before what was used again (insert cold, promote on reuse); an order by
// recency alone would be the worst of all for a program that sweeps.
//
// Values in, advice out. It owns a ring of uses and a table of ranges, both of fixed size and
// allocated in the constructor: 24 bytes a use, 48 a range, and 16 a launch. What no longer fits is
// forgotten, oldest first, and is then advised upon as if it had never been seen. It takes no lock
// and knows no clock; whoever holds it guards it.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "policy/predict.hpp"

namespace barswap::policy {

using RangeId = std::uint64_t;

struct NextUse {
  std::uint64_t launches = 0;  // 1 is the next launch
  std::uint64_t time_ns = 0;   // what the launches before it took in the last cycle
};

// A range that may leave, for `Cycle::furthest` to order.
struct Candidate {
  RangeId range = 0;
  // Greater leaves first. Filled by `furthest`; it has a meaning only beside others of that call.
  std::uint64_t far = 0;
  std::uint64_t then = 0;
};

struct CycleLimits {
  std::size_t launches = 65536;
  std::size_t uses = 262144;
  std::size_t ranges = 16384;
};

class Cycle {
 public:
  // Each limit is raised to a power of two.
  explicit Cycle(const CycleLimits& limits);

  // Takes the next launch, the ranges that it names, and what it is expected to take, if that is
  // known. Answers its position.
  std::uint64_t record(LaunchKey key, std::span<const RangeId> ranges,
                       std::uint64_t duration_ns = 0);
  // The range has come into HBM. Until it is used a second time it is the first to leave again,
  // but for one in 32.
  void fetched(RangeId range);

  // When the range is named next, if all goes as in the last cycle; if that one did not name it, as
  // in the one before. Nothing if neither did, or without a cursor.
  std::optional<NextUse> next_use(RangeId range);
  // Puts those first that should leave first: by the time of their next use if the cursor can be
  // trusted, otherwise by how they came and were used. Equals keep no order.
  void furthest(std::span<Candidate> candidates);
  // The ranges named by the launch at a position, as many as fit; none if it is forgotten.
  std::size_t named_at(std::uint64_t position, std::span<RangeId> ranges) const;
  // A launch has named it at some time, as far as is remembered.
  bool named(RangeId range) const { return find(range) != nullptr; }

  const Sequence& sequence() const { return sequence_; }
  // The cursor has been right more often than not.
  bool trusted() const;

 private:
  // Uses are numbered as they come, from 1; 0 is none. The uses of a range are a chain.
  struct Use {
    RangeId range = 0;
    std::uint64_t position = 0;
    std::uint32_t back = 0;   // to the range's use before this one, in numbers; 0 is none
    std::uint32_t forth = 0;  // to the one after it
  };
  struct Range {
    RangeId id = 0;
    std::uint64_t newest = 0;  // its latest use; 0 is an empty place
    std::uint64_t seen = 0;    // the use from which the last search began
    std::uint64_t rank = 0;    // in the order of recency; small leaves first
    std::uint64_t touched = 0;
    bool fetched = false;  // and not used since
  };
  struct Launch {
    std::uint64_t first_use = 0;
    std::uint64_t start_ns = 0;  // durations of all launches before it
  };

  const Range* find(RangeId id) const;
  Range* find(RangeId id) { return const_cast<Range*>(std::as_const(*this).find(id)); }
  Range& find_or_make(RangeId id);
  void insert(Range& range);
  void use(Range& range, std::uint64_t position);
  bool remembered(std::uint64_t number) const;
  Use& use_of(std::uint64_t number) { return uses_[number & use_mask_]; }
  const Use& use_of(std::uint64_t number) const { return uses_[number & use_mask_]; }
  std::uint64_t first_after(Range& range, std::uint64_t position);
  std::optional<NextUse> next_use_in(Range& range, std::uint64_t cursor);
  Candidate judged(RangeId id, bool by_cycle);

  Sequence sequence_;
  std::vector<Launch> launches_;
  std::vector<Use> uses_;
  std::vector<Range> ranges_;
  std::uint64_t use_mask_;
  std::uint64_t uses_made_ = 0;
  std::uint64_t now_ns_ = 0;
  std::uint64_t touches_ = 0;
  std::uint64_t insertions_ = 0;
};

}  // namespace barswap::policy

// Where a launch should run, if its kernel may run on any die of a pool: the decider behind
// routing.kernels = "data". Values in, advice out; it keeps what it saw of earlier launches, takes
// no lock and knows no clock. Wrong advice costs time, never bytes.
//
// What launches name is of two kinds. Data, such as weights, is named once in a while: a launch
// goes to the die that holds most of it, if that is worth two changes of die. What a chain of
// launches hands on, such as activations and workspaces, was named a few launches ago: it does not
// draw a launch anywhere, so that a launch without data stays where the chain is. Instead it is
// carried to the chain's die, once reading it from afar has cost as much as moving it, and from
// then on at each change to that die, as long as that pays.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "barswap/units.hpp"
#include "policy/affinity.hpp"
#include "policy/stretch.hpp"

namespace barswap::policy {

// What changes of die and moves cost here, in bytes that a kernel reads over the link meanwhile.
struct RouteCosts {
  std::uint64_t change_bytes = 4_MiB;  // there and back: some 12 us at 340 GB/s
  std::uint64_t carry_bytes = 96_MiB;  // a drain and its remaps: some 300 us
};

class Route {
 public:
  explicit Route(const RouteCosts& costs = {}) : costs_(costs) {}

  struct Advice {
    Die die{0};
    std::vector<Stretch> carry;   // to that die, before the launch
    std::vector<Stretch> settle;  // data that comes there to stay, as well
  };
  // `at`: where the chain is. `open`: a bit for each die that may be chosen, one at least; if the
  // chain's is not among them it has to change.
  Advice launch(Die at, std::uint32_t open, std::span<const Stretch> named, const Room& room = {});
  // The launches since the last time come once more: what was handed on often among them is so from
  // the first one on, and all else is data again. For graphs, which are known ahead.
  void again();
  // A graph runs at home and reads what lies elsewhere from afar; what it names often comes home.
  struct Often {
    Stretch stretch;
    std::uint64_t times = 0;
  };
  Advice graph(Die home, std::span<const Often> named);
  // Bytes of what is named that lie on the open die that holds most, less those on `die`; 0: it is
  // the best one.
  static std::uint64_t missed_bytes(Die die, std::uint32_t open, std::span<const Stretch> named);
  // It did not come to stay after all.
  void unsettled(const Stretch& stretch) { affinity_.stayed(stretch); }
  // It could not be carried: it counts as data for some launches, twice as many each time.
  void refused(Die die, const Stretch& stretch);

 private:
  struct Seen {
    std::uint64_t launch = 0;         // the last one that named it
    std::uint64_t refused_until = 0;  // it counts as data before that launch
    std::uint8_t refusals = 0;
    std::uint64_t handed_on = 0;  // so often since again()
    bool as_before = false;       // by its next naming it was handed on
  };
  // What is known of a stretch while the chain is on one die.
  struct Toll {
    std::uint64_t stay = 0;         // the last one that named it
    std::uint64_t far_bytes = 0;    // named in that stay while it lay elsewhere
    std::uint64_t named_bytes = 0;  // named in that stay, wherever it lay
    bool carried = false;           // it came along, and should again
  };
  static constexpr std::size_t kKnownMost = 4096;
  // In launches: a layer of a model or two, and far from a pass over all of it.
  static constexpr std::uint64_t kNear = 64, kRest = 64;
  static constexpr std::uint64_t kOften = 16;    // in one graph; weights are a few times, too
  static constexpr std::uint64_t kHandedOn = 4;  // in one graph that is parted among dies
  static constexpr std::uint8_t kDoublings = 14;
  // What is smaller lies on a page with others; what is larger is data. Small buffers matter: a
  // product that reads one of 16 KiB from afar took 50 us longer.
  static constexpr std::uint64_t kCarryFrom = 2_MiB, kCarryMost = 256_MiB;
  static constexpr std::uint64_t kDrawOver = 2_MiB;

  std::uint64_t worth(const Stretch& stretch) const { return costs_.carry_bytes + stretch.bytes; }
  static bool draws(const Stretch& stretch);
  bool handed_on(const Stretch& stretch);
  void begin_stay(Die die, Advice& advice);
  void note(Die die, const Stretch& stretch, Advice& advice);

  const RouteCosts costs_;
  std::uint64_t launches_ = 0, stays_ = 0;
  std::unordered_map<std::uint64_t, Seen> seen_;  // by the stretch's first address
  std::array<std::unordered_map<std::uint64_t, Toll>, kDiesMax> tolls_;
  Affinity affinity_;
  std::array<std::vector<Stretch>, kDiesMax> along_;  // what comes along with a change to the die
};

}  // namespace barswap::policy

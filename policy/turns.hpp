// Turns: the ranges of a program that repeats itself change places with each other, so that those
// of the next launches are in HBM and those needed last are not; or, where that does not pay, what
// stays on the host is spread evenly over them. Before anything repeats, what a kernel is known to
// read many times comes in before it. It holds the learnt cycle, a trial for each phase, and
// chooses what changes places; it never knows pages, only ranges and their bytes.
//
// Values in, advice out. It takes no lock and is told the time; whoever holds it guards it. About
// 4 MiB, allocated in the constructor, and an entry for each range that is named.
#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "policy/cycle.hpp"
#include "policy/instance.hpp"
#include "policy/link.hpp"
#include "policy/options.hpp"
#include "policy/reuse.hpp"
#include "policy/trial.hpp"

namespace barswap::policy {

struct RangeFacts {
  RangeId id = 0;
  std::uint64_t bytes = 0;
  std::uint64_t host_bytes = 0;  // of these, on the host
  bool movable = false;
  std::uint32_t heat = 0;  // of its hottest page; all zero where nobody counts
  std::uint64_t page_bytes = 0;  // only whole pages of it move; 0: nobody knows
};

// In facts in rising order of id. Null: it is not there.
const RangeFacts* find(std::span<const RangeFacts> held, RangeId id);

// So many bytes of a range, spread evenly over it.
struct Part {
  RangeId id = 0;
  std::uint64_t bytes = 0;
  bool operator==(const Part&) const = default;
};

struct Exchange {
  std::vector<Part> in;   // those needed first come first
  std::vector<Part> out;  // those needed last come first
  std::uint64_t in_bytes = 0;
  // HBM to leave free, if that is more than the headroom: what comes in next time is copied while
  // as much goes out.
  std::uint64_t spare_bytes = 0;
  // What comes in leaves its bytes behind as a copy, for which it leaves again if it is clean.
  bool keeps = true;
  bool stripe = false;
  bool later = false;      // of a stripe: it would not have repaid itself yet
  Phases::Name phase = 0;  // for which it is made
};

// What one exchange should bring in: enough that draining the device for it weighs little, and no
// more, since what comes in early takes the place of what is needed sooner.
std::uint64_t turn_bytes(std::uint64_t budget_bytes);

// What the program does while ranges change places: it waits, or its other work goes on.
enum class Beside : std::uint8_t { nothing, work };

class Turns {
 public:
  explicit Turns(Plan plan, Beside beside = Beside::nothing);

  // Takes the next launch that names large ranges, its site and its variant (the same for the same
  // site and grid), which ranges, what of these lies on the host, and when it came.
  void launch(std::uint64_t site, std::uint64_t variant, std::span<const RangeId> ranges,
              const OnHost& host, std::uint64_t now_ns);
  // What makes turns cheap should be made. A trial waits until it is told that it is there; and
  // what comes in for single launches keeps no copies until then. It is there, until said
  // otherwise.
  bool preparing() const;
  // Of the trial of the phase that is known now.
  Trial::Mode mode() const;
  void prepared(bool ready) { ready_ = ready; }
  // The best rate that copies from the host have shown so far, in bytes a nanosecond.
  void link(double bytes_per_ns);
  // What is on the host should come into HBM before the launches that name it.
  bool moving() const;
  // The same, or it did lately for single launches, whose kernels read it often.
  bool turning() const;
  // The kernels, by variant.
  Reuse& reuse() { return reuse_; }
  // An exchange should be asked for before the launch taken last, of whose ranges so many bytes lie
  // on the host: they are to come in, with those of all launches, or since its kernel reads them
  // often; or, where work goes on beside turns, the link has rested for
  // longer than it would if all turns of a cycle were as far apart from each other as they can be.
  bool turn_due(std::uint64_t host_bytes) const;
  // For the launch taken last and those expected after it, as many as bring in `most_bytes`. `held`
  // is everything that could change places, in rising order of id. Both lists are empty if nothing
  // needs to come in (soon, where that launch misses nothing), or nothing can make place. A range
  // that no launch ever named stays where it is, here and below: kernels may find it through
  // pointers.
  // at_once: what is missing next comes in now, however far away it is.
  enum class When { spaced, at_once };
  Exchange choose(std::span<const RangeFacts> held, std::uint64_t most_bytes,
                  When when = When::spaced);
  // A cycle has become known, or a trial has failed, or another phase has taken this one's place in
  // HBM: what is read in place should be little, and even. Comes again after more cycles for a
  // stripe that was put off.
  bool stripe_due() const { return stripe_due_ && cycle_.sequence().phase() == due_phase_; }
  // What is much hotter than most, and then what the cycle names most often, is all in HBM; of what
  // is equal in both and does not fit as a whole, each range has the same share there. (A graph
  // names everything once; its heat knows how many of its nodes do.) Empty if it is nearly so, or
  // if not all of the cycle is remembered; put off until the cycles that have passed would have
  // repaid it.
  Exchange stripe(std::span<const RangeFacts> held);
  // For the phase that is known now pages were moved for that, and it holds.
  bool spread() const;
  void exchanged(const Exchange& exchange, bool made);

  const Cycle& cycle() const { return cycle_; }

 private:
  struct Phase {
    Phases::Name name = 0;
    std::uint64_t used = 0;
    std::uint64_t launches = 0, host_bytes = 0;  // of its last whole cycle
    std::uint64_t elapsed_ns = 0;                // of the shortest of those waited for
    Trial trial;
    // deferred: looked at, and it would not pay yet.
    enum class Spread : std::uint8_t { due, deferred, done } spread = Spread::due;
    bool placed = false;        // the last one that was done moved what was out of place
    std::uint64_t waited = 0;   // cycles that a spread might have made shorter
    std::uint64_t look_at = 0;  // so many
    void lose_spread(std::uint64_t cycles) {
      spread = Spread::due;
      waited = cycles;
    }
    // What a cycle reads over the link when it is spread; 0 until the first after the spread.
    std::uint64_t spread_bytes = 0;
    std::uint32_t worse = 0;     // cycles in a row that read much more
    std::uint32_t good = 0;      // cycles since the spread
    std::uint32_t returns = 0;   // spreads that did not last long enough to repay themselves
    std::uint32_t refusals = 0;  // of the spread, in a row
  };
  Phase& phase_of(Phases::Name name);
  static void compare(Phase& phase, std::uint64_t host_bytes);
  bool repaid(const Exchange& exchange, const Phase& phase, std::span<const RangeFacts> held,
              std::span<const std::uint32_t> uses, std::span<const int> steps) const;
  bool follows() const;
  const Phase* known() const;
  const Trial* trial() const;
  std::vector<std::uint32_t> uses_in_cycle(std::span<const RangeFacts> held) const;
  double both_ways(std::span<const RangeFacts> held, const Exchange& exchange) const;
  static std::vector<int> steps_of(std::span<const RangeFacts> held);
  struct Whole {
    std::uint64_t launches = 0, elapsed_ns = 0, host_bytes = 0;
  };
  void measure(std::uint64_t position, std::uint64_t now_ns);
  void judge(Phases::Name name, const Whole& whole);

  const Plan plan_;
  const Beside beside_;
  Cycle cycle_;
  Instances instances_;
  Link link_;
  Reuse reuse_;
  std::vector<bool> fetches_;  // by position in the cycle: the launch's kernel reads often
  bool fetch_ = false;         // that of the launch taken last
  std::uint64_t variant_ = 0;  // its kernel
  OnHost host_;                // what it misses
  std::uint64_t taken_ = 0;    // launches
  // Of these, up to the latest for which alone something came in; and of those in the cycle.
  std::uint64_t fetched_ = 0, fetched_at_ = 0;
  std::array<Phase, Phases::kMax> phases_{};
  std::uint64_t uses_ = 0;
  std::vector<RangeId> named_;  // by the launch taken last
  std::uint64_t untold_ = 0;    // launches in a row that name only what is common
  bool stripe_due_ = false;
  Phases::Name due_phase_ = 0;
  bool ready_ = true;
  std::uint64_t swept_bytes_ = 0;  // of all that could change places when it was last looked at
  // Launches from one turn to the next, were they even; 0: not known. And the launch from which
  // they are counted.
  std::uint64_t spacing_ = 0, spaced_from_ = 0;
  // When each launch came, by position, and how many bytes all before it named on the host.
  struct Moment {
    std::uint64_t time_ns = 0, host_bytes = 0;
  };
  std::vector<Moment> moments_;
  std::uint64_t host_bytes_ = 0;
  // The launch at which a cycle was last looked at, and how long it seemed to be.
  std::uint64_t measured_at_ = 0, cycle_launches_ = 0;
  std::uint64_t disturbed_at_ = 0;  // by a spread; cycles count from there
};

}  // namespace barswap::policy

// T*: the window bound. In any stretch of the trace, bytes that were not born in it and are read
// before they are written were in HBM at its start, which holds the budget at most, or crossed the
// link; bytes that were written in it and still live lie in HBM at its end, or crossed the link. A
// chain of stretches adds up.
#include <algorithm>
#include <vector>

#include "engine.hpp"
#include "scale.hpp"

namespace barswap::replay {
namespace {

// The work of finding the bound: stretches that begin at each piece of work (of long traces, at one
// of several), and go on over so many steps.
constexpr std::size_t kStartsMax = 100'000, kStretchMax = 4'000;

struct Held {
  std::size_t stretch = 0;  // what follows is of this one
  bool fresh = false;       // born, or written before it was read
  std::uint64_t read_bytes = 0;
  bool written = false;
};

// The whole of one stretch, step by step. Pages of a run share their fate: a use names all of them.
class Stretch {
 public:
  Stretch(const Workload& workload, int die)
      : workload_(workload), die_(die), held_(workload.runs.size()) {}
  void begin() {
    ++number_;
    read_ = written_ = 0;
  }
  void take(const Step& step) {
    const bool birth = step.kind == Step::Kind::birth;
    if (birth || step.kind == Step::Kind::death) {
      if (workload_.runs[step.run].die != die_) return;
      Held& held = held_in(step.run);
      if (held.written) written_ -= workload_.runs[step.run].bytes;
      held.written = false;
      held.fresh |= birth;
      return;
    }
    const bool in = step.kind == Step::Kind::copy_in;
    if (step.kind != Step::Kind::work && !in) return;
    for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u) {
      const Use& use = workload_.uses[u];
      const RunInfo& run = workload_.runs[use.run];
      if (run.die != die_) continue;
      Held& held = held_in(use.run);
      // What covers a part of its reach reads that part only, and leaves the rest unwritten.
      const std::uint64_t part = std::min<std::uint64_t>(step.reread_permille, 1000);
      if (use.reads && !in && !held.fresh) {
        const std::uint64_t bytes = run.bytes / 1000 * part;
        if (bytes > held.read_bytes) {
          read_ += bytes - held.read_bytes;
          held.read_bytes = bytes;
        }
      }
      if (in && held.written) {
        // The host has the bytes that replace them.
        held.written = false;
        written_ -= run.bytes;
      }
      if (!use.writes || part < 1000) continue;
      if ((in || !use.reads) && held.read_bytes == 0) held.fresh = true;
      // What nobody knows to be a write is none: the bound must hold for every program.
      if (use.surely_writes && !in && !held.written) {
        held.written = true;
        written_ += run.bytes;
      }
    }
  }
  std::uint64_t read_bytes() const { return read_; }
  std::uint64_t written_bytes() const { return written_; }

 private:
  Held& held_in(std::uint32_t run) {
    if (held_[run].stretch != number_) held_[run] = {number_, false, 0, false};
    return held_[run];
  }
  const Workload& workload_;
  const int die_;
  std::vector<Held> held_;  // of each run
  std::size_t number_ = 0;
  std::uint64_t read_ = 0, written_ = 0;
};

std::uint64_t over(std::uint64_t bytes, std::uint64_t budget, std::uint64_t rate) {
  return ns_of(bytes - std::min(bytes, budget), rate);
}

std::uint64_t bound_of(const Workload& workload, const Machine& machine, int die,
                       const std::vector<std::size_t>& cuts,
                       const std::vector<std::uint64_t>& done_ns) {
  const std::uint64_t in_rate = std::max(machine.rates.copy_in, machine.rates.in_place);
  const std::uint64_t out_rate = std::max(machine.rates.copy_out, machine.rates.in_place_out);
  const std::uint64_t budget = machine.budget_bytes[static_cast<std::size_t>(die)];
  std::vector<std::uint64_t> best(cuts.size(), 0);
  Stretch stretch(workload, die);
  for (std::size_t a = 0; a + 1 < cuts.size(); ++a) {
    stretch.begin();
    std::uint64_t most = 0;
    std::size_t grown = a;
    for (std::size_t b = a + 1; b < cuts.size() && b - a <= kStretchMax; ++b) {
      for (std::size_t i = cuts[b - 1]; i < cuts[b]; ++i) stretch.take(workload.steps[i]);
      const std::uint64_t least =
          std::max({done_ns[b] - done_ns[a], over(stretch.read_bytes(), budget, in_rate),
                    over(stretch.written_bytes(), budget, out_rate)});
      best[b] = std::max(best[b], best[a] + least);
      const std::uint64_t bytes = stretch.read_bytes() + stretch.written_bytes();
      if (bytes > most) {
        most = bytes;
        grown = b;
      }
      // A cycle has come round: longer stretches only count the budget less often.
      if (b - grown > grown - a + 1) break;
    }
  }
  return best.back();
}

}  // namespace

std::uint64_t window_bound(const Workload& workload, const Machine& machine) {
  const Outcome alone = simulate(workload, Policy::resident, machine);
  std::uint64_t bound = alone.time_ns;
  std::vector<std::size_t> work;
  for (std::size_t i = 0; i < workload.steps.size(); ++i)
    if (workload.steps[i].kind == Step::Kind::work) work.push_back(i);
  for (int die = 0; die < workload.dies; ++die) {
    // Stretches end behind a piece of work; the time until then is what the program takes by
    // itself.
    std::vector<std::size_t> cuts{0};
    std::vector<std::uint64_t> done_ns{0};
    const std::size_t stride =
        std::max<std::size_t>(1, (work.size() + kStartsMax - 1) / kStartsMax);
    std::uint64_t latest = 0;
    for (std::size_t k = 0; k < work.size(); ++k) {
      latest = std::max(latest, alone.work_end_ns[k]);
      if ((k + 1) % stride != 0 && k + 1 != work.size()) continue;
      cuts.push_back(work[k] + 1);
      done_ns.push_back(latest);
    }
    const std::uint64_t tail_ns = alone.time_ns - std::min(alone.time_ns, latest);
    if (cuts.size() > 1)
      bound = std::max(bound, bound_of(workload, machine, die, cuts, done_ns) + tail_ns);
  }
  return bound;
}

}  // namespace barswap::replay

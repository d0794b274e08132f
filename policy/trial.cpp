#include "policy/trial.hpp"

#include <algorithm>

namespace barswap::policy {
namespace {

constexpr std::uint32_t kSamples = 2;
// Until what is moved first has found its place.
constexpr std::uint32_t kSettling = 2;
constexpr std::uint64_t kRoundMax = 12;
// Reading once in place takes little longer than the link alone; only a good deal more than that
// leaves something to gain.
constexpr double kWorthTrying = 1.5;
constexpr std::uint64_t kLeastBytes = std::uint64_t{64} << 20;
constexpr double kAlike = 1.25;
// What a trial needs, copies of all that could take turns, is made at this rate on a machine as
// measured, and slows the program down meanwhile. So much longer than the link alone leaves no
// doubt that it is worth that.
constexpr double kPrepareBytesPerNs = 3.3, kClearlyWorth = 4;
constexpr double kBetter = 0.95, kWorse = 1.1;
constexpr std::uint32_t kWorseMax = 3, kRefusalsMax = 6;
constexpr std::uint64_t kRest = 64;
constexpr std::uint32_t kRestDoublings = 8;
// In cycles without moves: what a trial may cost, settling included, and what one cycle counts for
// at most, since the program may pause.
constexpr std::uint64_t kTrialCyclesMost = 5, kLostMost = 2;
constexpr std::uint64_t kWaitMaxNs = 30'000'000'000;

}  // namespace

void Trial::cycle(const Cycle& cycle) {
  const auto elapsed = static_cast<double>(cycle.elapsed_ns);
  // Submitted ahead of the die: that says nothing about the die. What lay on the host when it was
  // named has crossed the link, in place or moved.
  if (elapsed < cycle.link.ns(cycle.host_bytes)) return;
  if (mode_ == Mode::trying) {
    lost_ns_ += std::min(cycle.elapsed_ns - std::min(cycle.elapsed_ns, streaming_ns_),
                         kLostMost * streaming_ns_);
    if (lost_ns_ > kTrialCyclesMost * streaming_ns_) return revert();
  }
  if (settling_ > 0) {
    --settling_;
    return;
  }
  switch (mode_) {
    case Mode::streaming:
      if (resting_ > 0) {
        --resting_;
        return;
      }
      // Two in a row that agree: a pause of the program makes one cycle long.
      if (samples_ == 0 || elapsed > kAlike * static_cast<double>(streaming_ns_) ||
          static_cast<double>(streaming_ns_) > kAlike * elapsed) {
        streaming_ns_ = cycle.elapsed_ns;
        samples_ = 1;
        return;
      }
      samples_ = 0;
      streaming_ns_ = std::min(streaming_ns_, cycle.elapsed_ns);
      if (cycle.host_bytes >= kLeastBytes &&
          static_cast<double>(streaming_ns_) > kWorthTrying * cycle.link.ns(cycle.host_bytes)) {
        gain_ns_ +=
            kSamples * (static_cast<double>(streaming_ns_) - cycle.link.ns(cycle.host_bytes));
        if (cycle.ready || waited_ns_ > kWaitMaxNs) {
          mode_ = Mode::trying;
          lost_ns_ = 0;
          // A page is clean from its first way in on, and each cycle brings in what did not fit.
          settling_ = kSettling + static_cast<std::uint32_t>(
                                      std::min(cycle.swept_bytes / cycle.host_bytes, kRoundMax));
          waited_ns_ = 0;
        } else if (worth_preparing(cycle)) {
          mode_ = Mode::preparing;
          gain_ns_ = 0;  // it is spent
        }
      }
      return;
    case Mode::preparing:
      // What was measured is old by now: it is measured again.
      waited_ns_ += cycle.elapsed_ns;
      if (cycle.ready || waited_ns_ > kWaitMaxNs) mode_ = Mode::streaming;
      return;
    case Mode::trying:
      sum_ns_ = (samples_ == 0 ? 0 : sum_ns_) + cycle.elapsed_ns;
      if (++samples_ < kSamples) return;
      samples_ = 0;
      if (static_cast<double>(sum_ns_ / kSamples) < kBetter * static_cast<double>(streaming_ns_))
        mode_ = Mode::moving;
      else
        revert();
      return;
    case Mode::moving:
      // One good cycle makes up for one bad one, no more.
      if (elapsed > kWorse * static_cast<double>(streaming_ns_)) ++worse_;
      else if (worse_ > 0) --worse_;
      if (worse_ == kWorseMax) revert();
      return;
  }
}

// Nobody knows how long a program goes on: what is needed is made once turns, at their best, would
// have saved as much in the cycles so far.
bool Trial::worth_preparing(const Cycle& cycle) const {
  const double cost_ns = static_cast<double>(cycle.swept_bytes) / kPrepareBytesPerNs;
  return gain_ns_ >= cost_ns ||
         static_cast<double>(streaming_ns_) > kClearlyWorth * cycle.link.ns(cycle.host_bytes);
}

void Trial::exchanged(bool made) {
  refusals_ = made ? 0 : refusals_ + 1;
  if (moves() && refusals_ >= kRefusalsMax) revert();
}

void Trial::spread() {
  samples_ = 0;
  settling_ = 1;
}

void Trial::restart() {
  mode_ = Mode::streaming;
  samples_ = worse_ = refusals_ = 0;
  waited_ns_ = 0;
  gain_ns_ = 0;
  settling_ = 1;
}

void Trial::revert() {
  mode_ = Mode::streaming;
  samples_ = worse_ = refusals_ = settling_ = 0;
  gain_ns_ = 0;
  resting_ = kRest << std::min(failures_, kRestDoublings);
  ++failures_;
}

}  // namespace barswap::policy

// Whether moving pages pays for a program that repeats itself: it is tried, and kept only if whole
// cycles got shorter. How often a kernel reads what lies on the host cannot be seen from outside,
// so no formula could say it.
//
// Values in, advice out: one object for each phase of a program, fed with its whole cycles. It owns
// a few numbers and knows no clock.
#pragma once
#include <cstdint>

#include "policy/link.hpp"

namespace barswap::policy {

class Trial {
 public:
  // preparing: worth trying, once what a fair trial needs is there.
  enum class Mode : std::uint8_t { streaming, preparing, trying, moving };

  struct Cycle {
    std::uint64_t elapsed_ns = 0;
    // Of what its launches named, bytes on the host at the moment when they were named.
    std::uint64_t host_bytes = 0;
    bool ready = true;  // what a fair trial needs is there, or will not come
    std::uint64_t swept_bytes = 0;  // of all ranges that could take turns; 0: not known
    Link link{};
  };
  void cycle(const Cycle& cycle);
  // Whether an exchange could be made.
  void exchanged(bool made);
  // Another program, as it were; how often trials have failed is remembered.
  void restart();
  // Pages were spread anew. The next cycle begins on an idle die and ends on a busy one, so that it
  // looks shorter than it is.
  void spread();

  Mode mode() const { return mode_; }
  bool moves() const { return mode_ == Mode::trying || mode_ == Mode::moving; }

 private:
  void revert();
  bool worth_preparing(const Cycle& cycle) const;

  Mode mode_ = Mode::streaming;
  std::uint64_t streaming_ns_ = 0;  // of a cycle without moves, before the trial
  std::uint64_t waited_ns_ = 0;     // cycles until what is needed was there
  double gain_ns_ = 0;              // what turns would have saved so far, at their best
  std::uint64_t sum_ns_ = 0;        // of the samples of the trial so far
  std::uint64_t lost_ns_ = 0;       // by the trial so far
  std::uint32_t samples_ = 0;
  std::uint32_t settling_ = 1;  // cycles that do not count yet
  std::uint32_t worse_ = 0;     // bad cycles, less good ones
  std::uint32_t refusals_ = 0;  // in a row
  std::uint64_t resting_ = 0;   // cycles until the next look
  std::uint32_t failures_ = 0;
};

}  // namespace barswap::policy

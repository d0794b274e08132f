// At home: where the work of a program's streams is ordered. While launches are routed (router.hpp)
// the end of a stream may lie on another die, and while graphs are launched in parts
// (parted_graphs.hpp) something may be missing there: whoever submits other work, waits for work or
// orders it first has that come home or waits for the rest, and keeps both from beginning until its
// own call is through. Without either it costs one relaxed load.
#pragma once
#include <atomic>

namespace barswap::session {

// Launches are sent to other dies in this process, or graphs are launched in parts: calls count.
extern constinit std::atomic<bool> counting;
// The driver's code of an error that ended a context of ours on another die, or left a graph in
// pieces; or 0. What the program submitted is lost: from then on each of its calls that submits or
// waits is told.
extern constinit std::atomic<int> lost_away;

class AtHome {
 public:
  explicit AtHome(bool wanted = true) noexcept
      : inside_(wanted && counting.load(std::memory_order_relaxed)) {
    if (inside_) [[unlikely]]
      enter();
  }
  ~AtHome() {
    if (inside_) [[unlikely]]
      leave();
  }
  AtHome(const AtHome&) = delete;
  AtHome& operator=(const AtHome&) = delete;
  // False: it cost nothing, since nobody counted by then.
  bool counted() const { return inside_; }

 private:
  static void enter() noexcept;
  static void leave() noexcept;
  const bool inside_;
};

// For calls that only wait: what was sent away before is part of what they wait for.
inline void come_home() noexcept { const AtHome home; }
// After a call that waited for it: whether all that was sent away is well. Returns `result`, or the
// code of the error that ended the context there.
int heard_from_away(int result) noexcept;

}  // namespace barswap::session

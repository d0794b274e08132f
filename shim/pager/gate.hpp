// The gate: submissions of device work pass it shared, the mover takes it alone. It is this room's
// face for session and owns the gate word and one slot for each thread that ever submitted.
//
// Passing costs a few nanoseconds and no lock: the entrant marks its slot and reads the word; the
// mover writes the word, makes every processor see it (membarrier), and reads the slots. One of the
// two always sees the other. The word lies on a page that the kernel wipes in a forked child; zero
// means that calls go straight to the driver. Entering is re-entrant per thread: a nested entry
// never waits.
//
// It never calls the driver and never allocates from any heap.
#pragma once
#include <atomic>
#include <cstdint>

namespace barswap::pager {

enum class GateWord : std::uint32_t { pass_through = 0, open = 1, closed = 2 };

// One thread's mark, on a cache line of its own. It outlives the thread: the mover may be reading
// it.
struct alignas(64) GateSlot {
  std::atomic<std::uint32_t> inside{0};
  std::atomic<std::uint32_t> may_block{0};
  std::atomic<std::uint32_t> taken{0};
  GateSlot* next = nullptr;
};

struct GateThread {
  GateSlot* slot = nullptr;
  std::uint32_t depth = 0;
};

class Gate {
 public:
  // Maps the word's page and registers with membarrier. Called once, from the first cuInit.
  static bool start();
  static GateWord word() {
    return static_cast<GateWord>(at_word().load(std::memory_order_seq_cst));
  }

  // Shared side.
  static void enter(bool may_block);
  static void leave();

  // Alone side; the caller holds the mover's mutex. close() returns false, and leaves the gate
  // open, when somebody inside may sleep there, or when somebody is still inside after
  // `patience_ns`.
  static bool close(std::uint64_t patience_ns);
  static void open();

  // From here on, in this process, calls go straight to the driver.
  static void step_aside();
  // Tests start anew in one process.
  static void reset();

 private:
  static void enter_slow(GateThread& thread, bool may_block);
  static void wait_open();
  static std::atomic<std::uint32_t>& at_word() { return *word_.load(std::memory_order_acquire); }
  // Points to a zero word until start(), so that reading it is always safe: other threads may call
  // cuInit while the first is inside.
  static std::atomic<std::atomic<std::uint32_t>*> word_;
  static std::atomic<bool> needs_fence_;
};

extern thread_local constinit GateThread gate_thread;

}  // namespace barswap::pager

#include "pager/gate.hpp"

#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "barswap/check.hpp"
#include "base/clock.hpp"
#include "base/futex.hpp"
#include "base/sanitizer.hpp"
#include "stats/stats.hpp"

namespace barswap::pager {

thread_local constinit GateThread gate_thread;

namespace {

constinit std::atomic<std::uint32_t> idle_word{0};
constinit std::atomic<GateSlot*> slots{nullptr};
constinit pthread_key_t slot_key = 0;
constinit std::atomic<bool> slot_key_made{false};

// A thread that ends, or is cancelled inside a driver call, gives its slot back, not inside any
// more.
void give_back(void* slot) {
  auto* mine = static_cast<GateSlot*>(slot);
  mine->inside.store(0, std::memory_order_release);
  mine->taken.store(0, std::memory_order_release);
  gate_thread = {};
}

GateSlot* take_slot() {
  for (GateSlot* slot = slots.load(std::memory_order_acquire); slot; slot = slot->next) {
    std::uint32_t free = 0;
    if (slot->taken.compare_exchange_strong(free, 1, std::memory_order_acq_rel)) return slot;
  }
  // A page of slots at a time, straight from the kernel; they are never unmapped.
  constexpr std::size_t kPage = 4096;
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  BARSWAP_CHECK(page != MAP_FAILED && "memory for the marks of submitting threads");
  auto* fresh = static_cast<GateSlot*>(page);
  constexpr std::size_t kCount = kPage / sizeof(GateSlot);
  for (std::size_t i = 0; i < kCount; ++i) ::new (&fresh[i]) GateSlot;
  fresh[0].taken.store(1, std::memory_order_relaxed);
  for (std::size_t i = 0; i + 1 < kCount; ++i) fresh[i].next = &fresh[i + 1];
  GateSlot* head = slots.load(std::memory_order_relaxed);
  do fresh[kCount - 1].next = head;
  while (!slots.compare_exchange_weak(head, fresh, std::memory_order_acq_rel));
  return &fresh[0];
}

long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

}  // namespace

constinit std::atomic<std::atomic<std::uint32_t>*> Gate::word_{&idle_word};
std::atomic<bool> Gate::needs_fence_{true};

bool Gate::start() {
  if (&at_word() == &idle_word) {
    const auto size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    void* page = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return false;
    // A child of fork or of a raw clone finds zero here: pass-through.
    if (madvise(page, size, MADV_WIPEONFORK) != 0) {
      munmap(page, size);
      return false;
    }
    word_.store(::new (page) std::atomic<std::uint32_t>(0), std::memory_order_release);
  }
  bool made = false;
  if (slot_key_made.compare_exchange_strong(made, true) &&
      pthread_key_create(&slot_key, give_back) != 0)
    return false;
#ifndef BARSWAP_TSAN
  // Where the kernel or a filter refuses, entrants pay for a real fence.
  needs_fence_.store(membarrier(MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED) != 0,
                     std::memory_order_relaxed);
#endif
  at_word().store(static_cast<std::uint32_t>(GateWord::open), std::memory_order_release);
  return true;
}

void Gate::enter(bool may_block) {
  GateThread& thread = gate_thread;
  if (thread.depth++ > 0) return;
  if (!thread.slot) {
    thread.slot = take_slot();
    pthread_setspecific(slot_key, thread.slot);
  }
  GateSlot& slot = *thread.slot;
  slot.may_block.store(may_block ? 1 : 0, std::memory_order_relaxed);
  if (needs_fence_.load(std::memory_order_relaxed)) {
    slot.inside.exchange(1, std::memory_order_seq_cst);
  } else {
    // The mover's membarrier is the other half of this compiler-only fence.
    slot.inside.store(1, std::memory_order_relaxed);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }
  if (word() == GateWord::closed) [[unlikely]] enter_slow(thread, may_block);
}

void Gate::enter_slow(GateThread& thread, bool may_block) {
  GateSlot& slot = *thread.slot;
  const std::uint64_t start_ns = now_ns();
  do {
    slot.inside.store(0, std::memory_order_release);
    wait_open();
    slot.may_block.store(may_block ? 1 : 0, std::memory_order_relaxed);
    slot.inside.exchange(1, std::memory_order_seq_cst);
  } while (word() == GateWord::closed);
  stats::add(stats::live().stalls, 1);
  stats::add(stats::live().stall_ns, now_ns() - start_ns);
}

void Gate::leave() {
  GateThread& thread = gate_thread;
  if (thread.depth == 0) return;  // the thread's slot was given back meanwhile
  if (--thread.depth > 0) return;
  thread.slot->inside.store(0, std::memory_order_release);
}

void Gate::wait_open() {
  for (int i = 0; i < 64; ++i) {
    if (word() != GateWord::closed) return;
    sched_yield();
  }
  // The time limit guards against a wake-up lost to a signal or a debugger; the loop above decides.
  futex_wait(at_word(), static_cast<std::uint32_t>(GateWord::closed), 1'000'000);
}

bool Gate::close(std::uint64_t patience_ns) {
  if (word() != GateWord::open) return false;
  at_word().store(static_cast<std::uint32_t>(GateWord::closed), std::memory_order_seq_cst);
  if (!needs_fence_.load(std::memory_order_relaxed))
    BARSWAP_CHECK(membarrier(MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0);
  const std::uint64_t limit_ns = now_ns() + patience_ns;
  for (GateSlot* slot = slots.load(std::memory_order_acquire); slot; slot = slot->next) {
    while (slot->inside.load(std::memory_order_seq_cst) != 0) {
      if (slot->may_block.load(std::memory_order_relaxed) != 0 || now_ns() > limit_ns) {
        open();
        return false;
      }
      sched_yield();
    }
  }
  return true;
}

void Gate::open() {
  std::uint32_t closed = static_cast<std::uint32_t>(GateWord::closed);
  at_word().compare_exchange_strong(closed, static_cast<std::uint32_t>(GateWord::open),
                                 std::memory_order_seq_cst);
  futex_wake(at_word());
}

void Gate::step_aside() {
  at_word().store(static_cast<std::uint32_t>(GateWord::pass_through), std::memory_order_seq_cst);
  futex_wake(at_word());
}

void Gate::reset() {
  at_word().store(static_cast<std::uint32_t>(GateWord::pass_through), std::memory_order_seq_cst);
}

}  // namespace barswap::pager

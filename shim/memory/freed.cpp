// Freed memory on its way back: it waits in limbo for the proof that no work can touch it, and for
// the mover to have no page of it in hand; then its slot, addresses and frames are free.
#include "base/clock.hpp"
#include "memory/memory.hpp"

namespace barswap::memory {
namespace {

// How long an allocation waits for memory that was freed and whose last work still runs, before it
// says out-of-memory. Bare cuMemFree would have waited for that work without limit.
constexpr std::uint64_t kLimboWaitNs = 5'000'000'000;

}  // namespace

void Memory::reclaim() {
  pager::Contexts& contexts = pager_.contexts();
  bool waiting = false;
  {
    Lock lock(mutex_);
    waiting = !limbo_.empty();
  }
  if (waiting) pager_.poll_quiet();
  while (waiting) {
    std::optional<Range> ready;
    {
      Lock lock(mutex_);
      if (limbo_.empty() || !contexts.passed(limbo_.front().ticket)) break;
      ready = limbo_.front().range;
      limbo_.pop_front();
    }
    reclaim_one(*ready);
  }
  bury_pending();
}

// All work that could touch it has ended: slot, cache or grave.
void Memory::reclaim_one(const Range& range) {
  if (range.packed) {
    reclaim_packed(range);
    return;
  }
  // A run kept for the next request costs HBM that a spilled page could use.
  const pager::Residency lies = pager_.residency(range.run);
  const bool keep = !pager_.pressed(range.home) && lies.host_bytes + lies.peer_bytes == 0 &&
                    !pager_.pinned(range.run);
  if (!keep) {
    bury(range.run, range.base, range.mapping_bytes);
    return;
  }
  Lock lock(mutex_);
  cache_.push_back({range.home, range.base, range.mapping_bytes, range.run});
}

void Memory::bury(pager::Run* run, Address base, std::uint64_t bytes) {
  if (pager_.try_bury(run)) {
    Lock lock(mutex_);
    give_addresses(value_of(base), bytes);
    return;
  }
  Lock lock(mutex_);
  pending_.push_back({Die{0}, base, bytes, run});
}

void Memory::bury_pending() {
  std::vector<Cached> pending;
  {
    Lock lock(mutex_);
    if (pending_.empty()) return;
    pending.swap(pending_);
  }
  for (const Cached& entry : pending) bury(entry.run, entry.base, entry.bytes);
}

// False: nothing is on its way back.
bool Memory::wait_for_limbo() {
  const std::uint64_t limit_ns = now_ns() + kLimboWaitNs;
  for (;;) {
    std::size_t before = 0;
    {
      Lock lock(mutex_);
      before = limbo_.size() + pending_.size();
    }
    if (before == 0 || pager_.contexts().capturing() || now_ns() > limit_ns) return false;
    reclaim();
    {
      Lock lock(mutex_);
      if (limbo_.size() + pending_.size() < before) return true;
    }
    sleep_ns(50'000);
  }
}

}  // namespace barswap::memory

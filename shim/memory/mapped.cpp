// Memory that the program maps itself: claims on the tiers, and ranges at addresses of its own.
#include <algorithm>

#include "base/clock.hpp"
#include "memory/memory.hpp"
#include "policy/place.hpp"
#include "stats/stats.hpp"
#include "trace/trace.hpp"

namespace barswap::memory {

void Memory::account(Die home, std::uint64_t bytes) {
  held_bytes_[slot(home)] += bytes;
  barswap_die_stats& die = stats::live().die[slot(home)];
  stats::add(die.asked, bytes);
  stats::raise_to(die.asked_peak, stats::get(die.asked));
  stats::add(stats::live().allocations, 1);
}

void Memory::discount(Die home, std::uint64_t bytes) {
  held_bytes_[slot(home)] -= bytes;
  stats::subtract(stats::live().die[slot(home)].asked, bytes);
  stats::add(stats::live().frees, 1);
}

Result<void> Memory::claim(Die home, std::uint64_t bytes) {
  reclaim();
  for (;;) {
    if (bytes <= room(home)) {
      Lock lock(mutex_);
      claimed_bytes_[slot(home)] += bytes;
      account(home, bytes);
      return {};
    }
    bool more = false;
    for (int i = 0; i < kDiesMax; ++i) more = trim_cache(Die{i}) || more;
    if (more || wait_for_limbo()) continue;
    stats::add(stats::live().out_of_memory, 1);
    stats::event(BARSWAP_EVENT_OUT_OF_MEMORY, Cause::headroom, home, bytes);
    return Error{Fault::out_of_memory};
  }
}

void Memory::unclaim(Die home, std::uint64_t bytes) {
  Lock lock(mutex_);
  claimed_bytes_[slot(home)] -= bytes;
  discount(home, bytes);
}

Result<std::optional<pager::Run*>> Memory::lay(const Lay& lay) {
  Range range;
  range.base = lay.base;
  range.asked_bytes = range.mapping_bytes = lay.bytes;
  range.home = lay.home;
  range.handle = lay.handle;
  range.run = lay.parked;
  if (lay.parked) {
    const bool laid = BARSWAP_TRY(pager_.unpark(lay.parked, lay.base));
    if (!laid) {
      Lock lock(mutex_);
      claimed_bytes_[slot(lay.home)] += lay.bytes;
      return std::optional<pager::Run*>();
    }
  } else {
    pager::Birth request;
    request.base = lay.base;
    request.bytes = lay.bytes;
    request.home = lay.home;
    request.kind = lay.bytes >= policy::kLargeBytes ? pager::RunKind::large : pager::RunKind::small;
    request.place = lay.place;
    {
      Lock lock(mutex_);
      request.order = next_order_++;
      claimed_bytes_[slot(lay.home)] -= lay.bytes;
    }
    auto run = birth(request);
    if (!run) {
      Lock lock(mutex_);
      claimed_bytes_[slot(lay.home)] += lay.bytes;
      return run.error();
    }
    range.run = *run;
  }
  Lock lock(mutex_);
  publish(range);
  const std::uint64_t first = value_of(range.base), end = first + range.mapping_bytes;
  mapped_.widen(first, end);
  all_.widen(first, end);
  return std::optional<pager::Run*>(range.run);
}

Result<void> Memory::lift(const Range& range, bool keep) {
  {
    Lock lock(mutex_);
    trace::freed(range.home, range.buffer_id);
    ranges_.erase(value_of(range.base));
    if (!keep) discount(range.home, range.mapping_bytes);
  }
  for (;;) {
    if (!keep && pager_.try_bury(range.run)) break;
    if (keep) {
      auto parked = pager_.try_park(range.run);
      if (!parked) return parked.error();
      if (*parked) break;
    }
    // A batch of the mover has pages of it in hand; it ends within its deadline.
    {
      const pager::Pager::Hurry hurry(pager_);
      Lock lock(pager_.mover_mutex());
    }
    sleep_ns(20'000);
  }
  return {};
}

void Memory::drop(pager::Run* parked, Die home, std::uint64_t bytes) {
  pager_.drop_parked(parked);
  Lock lock(mutex_);
  discount(home, bytes);
}

std::vector<Range> Memory::mapped_within(Address base, std::uint64_t bytes) const {
  std::vector<Range> found;
  const std::uint64_t first = value_of(base), last = first + std::min(bytes, ~first);
  if (bytes == 0) return found;
  if (first >= mapped_.end.load(std::memory_order_acquire) ||
      last <= mapped_.first.load(std::memory_order_relaxed))
    return found;
  Lock lock(mutex_);
  auto range = ranges_.upper_bound(first);
  if (range != ranges_.begin() &&
      first - std::prev(range)->first < std::prev(range)->second.mapping_bytes)
    --range;
  for (; range != ranges_.end() && range->first < last; ++range)
    if (range->second.handle != 0) found.push_back(range->second);
  return found;
}

void Memory::set_access(Address base, Die die, bool read, bool write) {
  Lock lock(mutex_);
  const auto found = ranges_.find(value_of(base));
  if (found == ranges_.end()) return;
  const std::uint32_t bit = 1u << index_of(die);
  Range& range = found->second;
  range.readers = read ? range.readers | bit : range.readers & ~bit;
  range.writers = write ? range.writers | bit : range.writers & ~bit;
}

}  // namespace barswap::memory

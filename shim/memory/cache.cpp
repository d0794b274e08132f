// The cache of runs: freed ones that stay mapped for the next request of their size.
#include <algorithm>

#include "memory/memory.hpp"

namespace barswap::memory {

bool Memory::revive_cached(std::uint64_t bytes, Range& range, policy::Place place) {
  Lock lock(mutex_);
  const auto found = std::find_if(cache_.rbegin(), cache_.rend(), [&](const Cached& cached) {
    return cached.home == range.home && cached.bytes == range.mapping_bytes &&
           (cached.run != nullptr);
  });
  if (found == cache_.rend()) return false;
  range.base = found->base;
  range.run = found->run;
  cache_.erase(std::next(found).base());
  range.asked_bytes = bytes;
  pager_.revive(range.run, place, next_order_++);
  publish(range);
  return true;
}

bool Memory::trim_cache(Die home) {
  Cached oldest{};
  {
    Lock lock(mutex_);
    const auto found = std::find_if(cache_.begin(), cache_.end(),
                                    [&](const Cached& cached) { return cached.home == home; });
    if (found == cache_.end()) return false;
    oldest = *found;
    cache_.erase(found);
  }
  bury(oldest.run, oldest.base, oldest.bytes);
  return true;
}

bool Memory::release_cache(Die home) {
  bool released = false;
  while (trim_cache(home)) released = true;
  return released;
}

}  // namespace barswap::memory

#include "pager/heat.hpp"

#include <algorithm>

namespace barswap::pager {

void Heat::operations(std::uint64_t count) {
  const std::uint64_t before = operations_.fetch_add(count, std::memory_order_relaxed);
  if ((before + count) / kHalfLife != before / kHalfLife) halve();
}

void Heat::note(Address address, std::uint32_t times) {
  if (Counter* counter = counters_.of(value_of(address)))
    counter->fetch_add(times, std::memory_order_relaxed);
}

void Heat::halve() {
  counters_.each([](Counter& counter) {
    const std::uint32_t uses = counter.load(std::memory_order_relaxed);
    // An address that was ever named keeps its mark: it says where a stretch begins.
    if (uses > 1) counter.store((uses + 1) / 2, std::memory_order_relaxed);
  });
}

std::uint32_t Heat::of(Address page, std::uint64_t bytes, std::uint32_t& carried) const {
  std::uint32_t most = 0;
  for (std::uint64_t offset = 0; offset < bytes; offset += kGranuleBytes) {
    const Counter* counter = counters_.of(value_of(page) + offset);
    const std::uint32_t uses = counter ? counter->load(std::memory_order_relaxed) : 0;
    if (uses != 0) carried = uses;
    most = std::max(most, carried);
  }
  return most;
}

void Heat::forget(Address base, std::uint64_t bytes) {
  if (operations_.load(std::memory_order_relaxed) == 0) return;  // nothing was ever counted
  for (std::uint64_t offset = 0; offset < bytes; offset += kGranuleBytes)
    if (Counter* counter = counters_.of(value_of(base) + offset))
      if (counter->load(std::memory_order_relaxed) != 0)
        counter->store(0, std::memory_order_relaxed);
}

}  // namespace barswap::pager

#include "pager/heat.hpp"

#include <sys/mman.h>

#include <algorithm>

namespace barswap::pager {
namespace {

std::uint64_t counters_bytes(std::uint64_t first, std::uint64_t end) {
  return (end - first + Heat::kGranuleBytes - 1) / Heat::kGranuleBytes *
         sizeof(std::atomic<std::uint32_t>);
}

}  // namespace

Heat::~Heat() {
  const std::size_t count = window_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i)
    munmap(windows_[i].counters, counters_bytes(windows_[i].first, windows_[i].end));
}

// Callers are ordered by the lock of those who hand out addresses. The pages of the counters come
// into being when they are first written.
void Heat::cover(Address base, std::uint64_t bytes) {
  const std::size_t index = window_count_.load(std::memory_order_relaxed);
  if (index == kWindowsMax) return;
  const std::uint64_t first = value_of(base), end = first + bytes;
  void* room = mmap(nullptr, counters_bytes(first, end), PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return;
  Window& window = windows_[index];
  window.first.store(first, std::memory_order_relaxed);
  window.end.store(end, std::memory_order_relaxed);
  window.counters = static_cast<Counter*>(room);
  window_count_.store(index + 1, std::memory_order_release);
}

Heat::Counter* Heat::counter_of(std::uint64_t address) const {
  const std::size_t count = window_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i) {
    const Window& window = windows_[i];
    const std::uint64_t first = window.first.load(std::memory_order_relaxed);
    if (address >= first && address < window.end.load(std::memory_order_relaxed))
      return window.counters + (address - first) / kGranuleBytes;
  }
  return nullptr;
}

void Heat::operations(std::uint64_t count) {
  const std::uint64_t before = operations_.fetch_add(count, std::memory_order_relaxed);
  if ((before + count) / kHalfLife != before / kHalfLife) halve();
}

void Heat::note(Address address, std::uint32_t times) {
  if (Counter* counter = counter_of(value_of(address)))
    counter->fetch_add(times, std::memory_order_relaxed);
}

// Reading a counter that was never written costs no memory; writing one would.
void Heat::halve() {
  const std::size_t count = window_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i) {
    const Window& window = windows_[i];
    const std::uint64_t counters = (window.end - window.first) / kGranuleBytes;
    for (std::uint64_t n = 0; n < counters; ++n) {
      const std::uint32_t uses = window.counters[n].load(std::memory_order_relaxed);
      // An address that was ever named keeps its mark: it says where a stretch begins.
      if (uses > 1) window.counters[n].store((uses + 1) / 2, std::memory_order_relaxed);
    }
  }
}

std::uint32_t Heat::of(Address page, std::uint64_t bytes, std::uint32_t& carried) const {
  std::uint32_t most = 0;
  for (std::uint64_t offset = 0; offset < bytes; offset += kGranuleBytes) {
    const Counter* counter = counter_of(value_of(page) + offset);
    const std::uint32_t uses = counter ? counter->load(std::memory_order_relaxed) : 0;
    if (uses != 0) carried = uses;
    most = std::max(most, carried);
  }
  return most;
}

void Heat::forget(Address base, std::uint64_t bytes) {
  if (operations_.load(std::memory_order_relaxed) == 0) return;  // nothing was ever counted
  for (std::uint64_t offset = 0; offset < bytes; offset += kGranuleBytes)
    if (Counter* counter = counter_of(value_of(base) + offset))
      if (counter->load(std::memory_order_relaxed) != 0)
        counter->store(0, std::memory_order_relaxed);
}

}  // namespace barswap::pager

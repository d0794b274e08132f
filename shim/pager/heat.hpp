// Heat: how often submitted work named each stretch of our address space. It counts and never
// decides; the counts are advice, so that a lost or doubled one costs time, never bytes. Nothing
// is counted while nobody asks: a program that fits pays one relaxed load a launch.
//
// note() is lock-free and may run on any thread. An address stands for the bytes from it to the
// next address that was ever named: that is as much as a launch tells of an allocation's inside.
#pragma once
#include <atomic>
#include <cstdint>
#include <span>

#include "barswap/units.hpp"
#include "pager/granules.hpp"

namespace barswap::pager {

class Heat {
 public:
  using Counter = std::atomic<std::uint32_t>;
  static constexpr std::uint64_t kGranuleBytes = Granules<Counter>::kBytes;

  Heat() = default;
  Heat(const Heat&) = delete;
  Heat& operator=(const Heat&) = delete;

  // Addresses in here are ours from now on. Without memory for counters they stay uncounted.
  void cover(Address base, std::uint64_t bytes) { counters_.cover(base, bytes); }

  bool watching() const { return watching_.load(std::memory_order_relaxed); }
  void watch(bool on) { watching_.store(on, std::memory_order_relaxed); }

  // Operations that name what follows.
  void operations(std::uint64_t count);
  void note(Address address, std::uint32_t times = 1);
  // Operations enough since the last look() for another to be worth it.
  bool due() const {
    return watching() && operations_.load(std::memory_order_relaxed) -
                                 looked_.load(std::memory_order_relaxed) >= kLookEvery;
  }
  void look() { looked_.store(operations_.load(std::memory_order_relaxed)); }

  // How many granules an address stands for, `most` at most: up to the next one in which some
  // address was named since it was given to its range.
  std::uint64_t stands_for(std::uint64_t address, std::uint64_t most) const {
    const std::span<Counter> counters = counters_.from(address);
    std::uint64_t count = 1;
    while (count < most &&
           (count >= counters.size() || counters[count].load(std::memory_order_relaxed) == 0))
      ++count;
    return count;
  }
  // The uses of a page. Pages of a range are asked in rising order: `carried` holds what the last
  // named address before the page had, and begins at 0 with each range.
  std::uint32_t of(Address page, std::uint64_t bytes, std::uint32_t& carried) const;
  // The addresses were given to a new range.
  void forget(Address base, std::uint64_t bytes);

 private:
  static constexpr std::uint64_t kLookEvery = 64;
  // What was named this many operations ago counts half.
  static constexpr std::uint64_t kHalfLife = 8192;

  void halve();

  std::atomic<bool> watching_{false};
  std::atomic<std::uint64_t> operations_{0}, looked_{0};
  Granules<Counter> counters_;
};

}  // namespace barswap::pager

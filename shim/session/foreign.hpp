// Foreign: device memory of the program that is not of our pages and that other dies cannot reach,
// such as the variables of its modules. Who launches asks for each word that it passes, so asking
// takes no lock; what was noted once is never forgotten.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>

#include "barswap/units.hpp"

namespace barswap::session {

class Foreign {
 public:
  // False: there is no room to note more.
  bool note(Address base, std::uint64_t bytes) {
    const std::size_t at = count_.fetch_add(1, std::memory_order_relaxed);
    if (at >= kMost) return false;
    entries_[at].end.store(value_of(base) + bytes, std::memory_order_relaxed);
    entries_[at].first.store(value_of(base), std::memory_order_release);
    lower(lowest_, value_of(base));
    lower(highest_below_, ~(value_of(base) + bytes));
    return true;
  }
  bool holds(Address address) const {
    // Most words are no addresses at all.
    if (value_of(address) < lowest_.load(std::memory_order_acquire) ||
        value_of(address) >= ~highest_below_.load(std::memory_order_acquire))
      return false;
    const std::size_t count = count_.load(std::memory_order_relaxed);
    for (std::size_t i = 0; i < count && i < kMost; ++i) {
      const std::uint64_t first = entries_[i].first.load(std::memory_order_acquire);
      if (first != 0 && value_of(address) >= first &&
          value_of(address) < entries_[i].end.load(std::memory_order_relaxed))
        return true;
    }
    return false;
  }

 private:
  static constexpr std::size_t kMost = 64;
  struct Entry {
    std::atomic<std::uint64_t> first{0}, end{0};
  };
  static void lower(std::atomic<std::uint64_t>& bound, std::uint64_t value) {
    std::uint64_t seen = bound.load(std::memory_order_relaxed);
    while (value < seen && !bound.compare_exchange_weak(seen, value, std::memory_order_release)) {}
  }
  std::array<Entry, kMost> entries_;
  // The lowest address of all, and the complement of the highest end.
  std::atomic<std::uint64_t> lowest_{~std::uint64_t{0}}, highest_below_{~std::uint64_t{0}};
  std::atomic<std::size_t> count_{0};
};

}  // namespace barswap::session

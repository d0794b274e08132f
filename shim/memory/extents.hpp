// Extents: free stretches of an address space, best fit, neighbours joined. Used for the arena and
// for the slots of packed pages. No lock of its own, no driver, no meaning beyond addresses.
#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace barswap::memory {

class Extents {
 public:
  // Stretches are not joined across multiples of `boundary_bytes`, if one is given.
  explicit Extents(std::uint64_t boundary_bytes = 0) : boundary_bytes_(boundary_bytes) {}
  void add(std::uint64_t start, std::uint64_t bytes);
  // The smallest stretch that holds `bytes`, lowest address first.
  std::optional<std::uint64_t> take(std::uint64_t bytes);
  // Takes exactly this stretch, which must be wholly free; false if it is not.
  bool take_at(std::uint64_t start, std::uint64_t bytes);
  std::uint64_t free_bytes() const { return free_bytes_; }
  std::uint64_t largest_bytes() const { return by_size_.empty() ? 0 : by_size_.rbegin()->first; }

 private:
  bool may_join_at(std::uint64_t address) const {
    return boundary_bytes_ == 0 || address % boundary_bytes_ != 0;
  }
  void insert(std::uint64_t start, std::uint64_t bytes);
  void erase(std::map<std::uint64_t, std::uint64_t>::iterator stretch);

  std::map<std::uint64_t, std::uint64_t> by_start_;
  std::set<std::pair<std::uint64_t, std::uint64_t>> by_size_;  // (bytes, start)
  std::uint64_t free_bytes_ = 0;
  std::uint64_t boundary_bytes_;
};

}  // namespace barswap::memory

// What tells launches of one function apart: its grid and the ranges it names, but for the few that
// are named very much more often than the others. These are activations and workspaces, whose
// addresses an allocator hands out in another order in each cycle; weights and chunks of data lie
// still. A launch that names such ranges alone says nothing of where in its cycle a program is.
//
// Values in, a number out. It owns a count for each range, forgets those that are named no more,
// and takes no lock.
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <unordered_map>
#include <vector>

#include "policy/cycle.hpp"

namespace barswap::policy {

class Instances {
 public:
  // Takes the next launch: its variant (function, block and grid in one number), and what it names.
  // Nothing, if all of that is common.
  std::optional<std::uint64_t> of(std::uint64_t variant, std::span<const RangeId> ranges);
  bool common(RangeId id) const;

 private:
  struct Known {
    std::uint32_t uses = 0;
    bool common = false;
    std::uint64_t first = 0, last = 0;  // launches that named it
    std::uint64_t gap() const { return uses < 2 ? 0 : (last - first) / (uses - 1); }
  };
  bool lively(const Known& known) const;
  std::uint32_t usual(bool once);
  void weigh();
  void fade();

  static constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max();
  std::unordered_map<RangeId, Known> ranges_;
  std::vector<std::uint32_t> uses_;  // of the lively ones, while they are weighed
  std::uint64_t bound_ = kNever;     // who was named more often is common
  std::uint64_t launches_ = 0;
  std::uint64_t named_ = 0;  // since they were weighed
};

}  // namespace barswap::policy

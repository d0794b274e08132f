// What tells launches of one function apart: its grid and the ranges it names, but for those that
// are named much more often than most. These are activations and workspaces, whose addresses an
// allocator hands out in another order in each cycle; weights and chunks of data lie still.
//
// A launch that names such ranges alone says nothing of where in its cycle a program is.
//
// Values in, a number out. It owns a count for each range, forgets those that are named no more,
// and takes no lock.
#pragma once
#include <cstdint>
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

 private:
  struct Known {
    std::uint32_t uses = 0;
    bool common = false;
  };
  void weigh();
  void fade();

  std::unordered_map<RangeId, Known> ranges_;
  std::vector<std::uint32_t> sorted_;
  std::uint32_t usual_ = 1;  // uses of the median range
  std::uint64_t named_ = 0;  // since it was weighed
  std::uint32_t until_fading_ = 0;  // launches
};

}  // namespace barswap::policy

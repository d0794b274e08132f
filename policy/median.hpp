// The median of a list of counts. It may put the list in another order.
#pragma once
#include <algorithm>
#include <cstdint>
#include <vector>

namespace barswap::policy {

inline std::uint32_t median_or(std::vector<std::uint32_t>& counts, std::uint32_t if_empty) {
  if (counts.empty()) return if_empty;
  const auto middle = counts.begin() + static_cast<std::ptrdiff_t>(counts.size() / 2);
  std::nth_element(counts.begin(), middle, counts.end());
  return *middle;
}

}  // namespace barswap::policy

// The median of a list: the upper one of two in the middle. It may put the list in another order.
#pragma once
#include <algorithm>
#include <cstddef>
#include <type_traits>
#include <vector>

namespace barswap::policy {

template <class Value>
Value median_or(std::vector<Value>& values, std::type_identity_t<Value> if_empty) {
  if (values.empty()) return if_empty;
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace barswap::policy

// Time as the bench takes it, on the host's monotonic clock, and the middle of several.
#pragma once
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <vector>

namespace barswap::bench {

inline double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

template <class Work>
double seconds_of(Work work) {
  const double start_s = now_s();
  work();
  return now_s() - start_s;
}

// Not of nothing. The upper one of two in the middle.
inline double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace barswap::bench

// Time as the bench takes it, in seconds, and the middle of several.
#pragma once
#include <vector>

#include "base/clock.hpp"
#include "policy/median.hpp"

namespace barswap::bench {

inline double now_s() { return static_cast<double>(now_ns()) * 1e-9; }

template <class Work>
double seconds_of(Work work) {
  const double start_s = now_s();
  work();
  return now_s() - start_s;
}

inline double median(std::vector<double> values) { return policy::median_or(values, 0.0); }

}  // namespace barswap::bench

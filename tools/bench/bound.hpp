// The least time that a cycle of a workload can take with so much HBM, from rates that were
// measured in the same run. Pure arithmetic; docs/bench.md has the formulas and says why.
#pragma once
#include <cstdint>

#include "workload.hpp"

namespace barswap::bench {

// Bytes a second. `both` counts both directions together.
struct Rates {
  double h = 0, d = 0, both = 0, z = 0, w = 0;
};

struct Bound {
  std::uint64_t over_bytes = 0;  // W - B
  double in_place_s = 0;         // of a plan that moves nothing
  double moved_s = 0;            // of one that moves pages
  double t_star_s = 0;           // the lesser: no plan is faster
};

// `native_s` is a cycle with everything in HBM.
Bound bound_of(const Workload& workload, std::uint64_t budget_bytes, const Rates& rates,
               double native_s);

}  // namespace barswap::bench

#include "bound.hpp"

#include <algorithm>

namespace barswap::bench {

Bound bound_of(const Workload& workload, std::uint64_t budget_bytes, const Rates& rates,
               double native_s) {
  Bound bound;
  bound.over_bytes = workload.bytes() - std::min(workload.bytes(), budget_bytes);
  const double over = static_cast<double>(bound.over_bytes);
  const Crossing& crossing = workload.crossing;
  // Directions work side by side, and computing beside them: the longest counts.
  bound.in_place_s =
      std::max({native_s, crossing.read * over / rates.z, crossing.written * over / rates.w});
  bound.moved_s =
      std::max({native_s, crossing.moved_in * over / rates.h, crossing.moved_out * over / rates.d,
                (crossing.moved_in + crossing.moved_out) * over / rates.both});
  bound.t_star_s = std::min(bound.in_place_s, bound.moved_s);
  return bound;
}

}  // namespace barswap::bench

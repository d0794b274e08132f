// What launches name, for who decides where they run.
#pragma once
#include <array>
#include <cstdint>

#include "barswap/units.hpp"

namespace barswap::policy {

// What an address stands for: the bytes up to the next one that was ever named, by where they lie.
struct Stretch {
  std::uint64_t first = 0;  // a whole granule
  std::uint64_t bytes = 0;
  std::array<std::uint64_t, kDiesMax> on{};  // in the HBM of each die; the rest is on the host
  bool packed = false;  // small allocations share it: its size says little, and it stays
};

}  // namespace barswap::policy

// Products of sizes and times, which need more than 64 bits on the way.
#pragma once
#include <algorithm>
#include <cstdint>

namespace barswap::replay {

__extension__ using Wide = unsigned __int128;

// value * by / of, at most 2^62.
inline std::uint64_t scaled(std::uint64_t value, std::uint64_t by, std::uint64_t of) {
  const Wide product = static_cast<Wide>(value) * by / std::max<std::uint64_t>(of, 1);
  return static_cast<std::uint64_t>(std::min<Wide>(product, Wide{1} << 62));
}

// How long bytes take at a rate in bytes a second.
inline std::uint64_t ns_of(std::uint64_t bytes, std::uint64_t rate) {
  return scaled(bytes, 1'000'000'000, rate);
}

}  // namespace barswap::replay

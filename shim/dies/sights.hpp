// The dies as they look from outside the driver: what NVML says of them, the only one that knows
// before the driver has started.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dies/nvml.hpp"

namespace barswap::dies {

struct Sight {
  std::string uuid;  // "GPU-...", lower case
  std::uint64_t free_bytes = 0;
  unsigned busy_percent = 0;   // how much of the last moments some kernel ran
  std::vector<int> processes;  // that compute on it
  bool sliced = false;         // MIG
};

// All dies that this process may use, in the order of their PCI addresses. None: nobody can say.
std::vector<Sight> sights(const Nvml& nvml);
// What is free on a die, whatever the program is told. No answer: there is no NVML, or it does not
// know the die.
std::optional<std::uint64_t> free_on(const Nvml& nvml, const std::string& uuid);

}  // namespace barswap::dies

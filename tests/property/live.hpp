// One run of one plan, with every check; for the runner and for the runs with faults.
#pragma once
#include <cstdint>
#include <map>
#include <string>

#include "property/plan.hpp"

namespace barswap::property {

struct Outcome {
  std::string why;  // empty: all was right
  std::uint64_t trace = 0;
  std::map<std::string, std::uint64_t> calls;  // of the driver's functions
  std::uint64_t moved_bytes = 0;
};

Outcome live(const Plan& plan, bool telling);

}  // namespace barswap::property

// Which die a process takes that sees one alone (dies.present = "one"): among those that it was
// given, by the policy's pure function, one process after another.
#pragma once
#include <optional>
#include <string>
#include <vector>

#include "dies/sights.hpp"
#include "policy/options.hpp"

namespace barswap::dies {

struct Choice {
  std::string name;  // as CUDA_VISIBLE_DEVICES has it
  int number = 0;    // among those that the process was given
};

// Among `sights`, of which the process was given those that `visible`, the value of
// CUDA_VISIBLE_DEVICES or null, leaves; and claims it. None: slices of dies, or no die. It may wait
// for those who are choosing (claims.hpp).
std::optional<Choice> choose(const policy::Options& options, const std::vector<Sight>& sights,
                             const char* visible);

}  // namespace barswap::dies

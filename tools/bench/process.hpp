// A run of the bench as its parent sees it: started, listened to, looked at, let go.
#pragma once
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "barswap/stats.h"

namespace barswap::bench {

struct Ended {
  int status = -1;                     // exit status; -1 if it did not end by itself
  nlohmann::ordered_json found;        // its line; null if there was none
  std::string trouble;                 // empty if all is well
  std::optional<barswap_stats> stats;  // while it held everything; of a run under Barswap only
};

// Runs this command's own file with these arguments, `limit_s` seconds at most. A libbarswap.so in
// LD_PRELOAD is not passed on: `arguments` begin with "run" where Barswap is wanted.
Ended run_self(const std::vector<std::string>& arguments, int limit_s);

// This command's file, for `run`.
std::string own_path();

}  // namespace barswap::bench

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

// Runs a program, looked for in PATH, with its arguments, `limit_s` seconds at most. A
// libbarswap.so in LD_PRELOAD is not passed on: `words` are those of `barswap run` where Barswap is
// wanted.
Ended run_program(std::vector<std::string> words, int limit_s);

// This command's file.
std::string own_path();

}  // namespace barswap::bench

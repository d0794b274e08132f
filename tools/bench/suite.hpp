// The suite: runs each workload under each plan, in paired order, every run in a process of its
// own.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "row.hpp"

namespace barswap::bench {

struct Settings {
  std::uint64_t cap_bytes = 0;
  int rounds = 1;
  int limit_s = 120;
  bool quick = false;
  std::vector<std::string> run;  // further arguments of `barswap run`
  std::string python;            // for tokens
  std::string spoil;             // WORKLOAD:PLAN
};

using Progress = std::function<void(const std::string&)>;
Row run_row(const Workload& workload, const Settings& settings, const Rates& rates,
            const Progress& progress);

}  // namespace barswap::bench

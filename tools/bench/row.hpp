// One row of the suite: a workload under each plan, what came of it, and how plans compare. Pure
// arithmetic; no driver is needed.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "barswap/stats.h"
#include "bound.hpp"

namespace barswap::bench {

// Who looks after the memory of a run.
enum class Plan : std::uint8_t { bare, barswap, in_place, double_buffer, accelerate };
const char* name_of(Plan plan);

struct Outcome {
  std::vector<double> cycle_s;  // of each round that ended well
  std::vector<std::string> hashes;
  barswap_stats stats = {};  // of the last run under Barswap
};

struct Row {
  Workload workload;
  Bound bound;  // nothing if the bare runs failed
  std::map<Plan, Outcome> outcomes;
  std::vector<std::string> troubles;  // why the row is not good

  double cycle_s(Plan plan) const;    // the median; 0 without a run
  double over_bare(Plan plan) const;  // the median of the rounds' ratios; 0 without pairs
  double over_t_star(Plan plan) const;
  bool hashes_agree() const;
};

// What lies inside the cap has nothing to keep elsewhere: bare and Barswap alone. Who generates
// tokens has accelerate for a peer.
std::vector<Plan> plans_of(const Workload& workload);
// Every second round goes backwards, so that who comes later, and finds warmer caches, changes.
std::vector<Plan> order_of(const Workload& workload, int round);

}  // namespace barswap::bench

#include "row.hpp"

#include <algorithm>
#include <set>

#include "timing.hpp"

namespace barswap::bench {

const char* name_of(Plan plan) {
  switch (plan) {
    case Plan::bare: return "bare";
    case Plan::barswap: return "barswap";
    case Plan::in_place: return "in-place";
    case Plan::double_buffer: return "double-buffer";
    case Plan::accelerate: return "accelerate";
  }
  return "?";
}

double Row::cycle_s(Plan plan) const {
  const auto found = outcomes.find(plan);
  return found == outcomes.end() ? 0 : median(found->second.cycle_s);
}

double Row::over_bare(Plan plan) const {
  const auto ours = outcomes.find(plan), bare = outcomes.find(Plan::bare);
  if (ours == outcomes.end() || bare == outcomes.end()) return 0;
  // A round that lacks one of the two would pair runs of different rounds.
  if (ours->second.cycle_s.size() != bare->second.cycle_s.size()) return 0;
  std::vector<double> ratios;
  for (std::size_t i = 0; i < ours->second.cycle_s.size(); ++i)
    ratios.push_back(ours->second.cycle_s[i] / bare->second.cycle_s[i]);
  return median(ratios);
}

double Row::over_t_star(Plan plan) const {
  return bound.t_star_s > 0 ? cycle_s(plan) / bound.t_star_s : 0;
}

bool Row::hashes_agree() const {
  std::set<std::string> all;
  for (const auto& [plan, outcome] : outcomes)
    all.insert(outcome.hashes.begin(), outcome.hashes.end());
  return all.size() == 1;
}

std::vector<Plan> plans_of(const Workload& workload) {
  if (workload.name == kFits) return {Plan::bare, Plan::barswap};
  if (workload.decodes) return {Plan::bare, Plan::barswap, Plan::accelerate};
  return {Plan::bare, Plan::barswap, Plan::in_place, Plan::double_buffer};
}

std::vector<Plan> order_of(const Workload& workload, int round) {
  std::vector<Plan> plans = plans_of(workload);
  if (round % 2 != 0) std::reverse(plans.begin(), plans.end());
  return plans;
}

}  // namespace barswap::bench

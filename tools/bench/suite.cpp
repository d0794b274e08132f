#include "suite.hpp"

#include "../barswap/format.hpp"
#include "decode.hpp"
#include "keeper.hpp"
#include "process.hpp"

namespace barswap::bench {
namespace {

// Barswap learns a cycle and tries turns for some tens of them; the others have nothing to learn.
constexpr unsigned kWarmToLearn = 40, kWarm = 2, kTimed = 8;
constexpr unsigned kWarmQuick = 1, kTimedQuick = 2;

Keeping keeping_of(Plan plan) {
  switch (plan) {
    case Plan::bare:
    case Plan::barswap:
    case Plan::accelerate: return Keeping::plain;
    case Plan::in_place: return Keeping::in_place;
    case Plan::double_buffer: return Keeping::double_buffer;
  }
  return Keeping::plain;
}

unsigned warm_cycles(const Workload& workload, Plan plan, bool quick) {
  if (quick) return kWarmQuick;
  return workload.carries || plan == Plan::barswap ? kWarmToLearn : kWarm;
}

std::vector<std::string> words_of_child(const Workload& workload, Plan plan,
                                        const Settings& settings) {
  std::vector<std::string> words{own_path(), "bench-child", workload.name, "--keeping",
                                 std::string(name_of(keeping_of(plan))), "--ratio",
                                 tools::format("%.17g", workload.ratio)};
  if (settings.quick) words.emplace_back("--quick");
  return words;
}

std::vector<std::string> words_of(const Workload& workload, Plan plan, const Settings& settings) {
  std::vector<std::string> all;
  if (plan == Plan::barswap) {
    all = {own_path(), "run"};
    all.insert(all.end(), settings.run.begin(), settings.run.end());
    all.insert(all.end(), {"--set",
                           tools::format("vram.limit=%lluB",
                                         static_cast<unsigned long long>(settings.cap_bytes)),
                           "--"});
  }
  const std::vector<std::string> program =
      workload.decodes ? words_of_decode(workload, plan == Plan::accelerate, settings.python)
                       : words_of_child(workload, plan, settings);
  all.insert(all.end(), program.begin(), program.end());
  all.insert(all.end(), {"--cap", std::to_string(settings.cap_bytes), "--warm",
                         std::to_string(warm_cycles(workload, plan, settings.quick)), "--cycles",
                         std::to_string(settings.quick ? kTimedQuick : kTimed)});
  if (settings.spoil == workload.name + ":" + name_of(plan)) all.emplace_back("--spoil");
  return all;
}

// A run under Barswap that stepped aside, or kept everything in HBM, was compared with itself.
std::string why_not_ours(const Workload& workload, const Ended& ended, std::uint64_t cap_bytes) {
  if (!ended.stats) return "has no statistics: Barswap was not in the process";
  if (ended.stats->state != BARSWAP_STATE_ACTIVE && ended.stats->state != BARSWAP_STATE_PLACE_ONLY)
    return std::string("was not active: ") + ended.stats->reason;
  if (ended.stats->die[0].limit > cap_bytes)
    return "had another limit than the cap: does dies.limit stand in a policy?";
  if (workload.bytes() > cap_bytes && ended.stats->die[0].tier[2] == 0)
    return "held more than the cap and had nothing on the host";
  return "";
}

void take(Row& row, Plan plan, const Ended& ended, const Settings& settings) {
  std::string trouble = ended.trouble;
  if (trouble.empty() && plan == Plan::barswap)
    trouble = why_not_ours(row.workload, ended, settings.cap_bytes);
  if (!trouble.empty()) {
    row.troubles.push_back(std::string(name_of(plan)) + " " + trouble);
    return;
  }
  Outcome& outcome = row.outcomes[plan];
  outcome.cycle_s.push_back(ended.found.at("cycle_s").get<double>());
  outcome.hashes.push_back(ended.found.at("hash").get<std::string>());
  if (plan == Plan::bare) row.workload.held_bytes = ended.found.value("bytes", std::uint64_t{0});
  if (ended.stats) outcome.stats = *ended.stats;
}

}  // namespace

Row run_row(const Workload& workload, const Settings& settings, const Rates& rates,
            const Progress& progress) {
  Row row;
  row.workload = workload;
  for (int round = 0; round < settings.rounds; ++round)
    for (const Plan plan : order_of(workload, round)) {
      progress(tools::format("%s, ratio %.2f, round %d of %d: %s", workload.name.c_str(),
                             workload.ratio, round + 1, settings.rounds, name_of(plan)));
      take(row, plan, run_program(words_of(workload, plan, settings), settings.limit_s), settings);
    }
  if (row.cycle_s(Plan::bare) > 0)
    row.bound = bound_of(row.workload, settings.cap_bytes, rates, row.cycle_s(Plan::bare));
  if (!row.hashes_agree()) row.troubles.emplace_back("the hashes differ");
  return row;
}

}  // namespace barswap::bench

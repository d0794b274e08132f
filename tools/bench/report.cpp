#include "report.hpp"

#include "../barswap/format.hpp"

namespace barswap::bench {
namespace {

using nlohmann::ordered_json;
using tools::format;

double gb(const ordered_json& rate) { return rate.get<double>() / 1e9; }
double gib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 30); }
double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

std::uint64_t moved_in(const barswap_stats& stats) {
  std::uint64_t bytes = 0;
  for (const auto& cause : stats.causes) bytes += cause.bytes_in;
  return bytes;
}

std::uint64_t moved_out(const barswap_stats& stats) {
  std::uint64_t bytes = 0;
  for (const auto& cause : stats.causes) bytes += cause.bytes_out;
  return bytes;
}

std::string text_of_plan(const Row& row, Plan plan) {
  const auto found = row.outcomes.find(plan);
  if (found == row.outcomes.end()) return format("  %-14s failed\n", name_of(plan));
  std::string text = format("  %-14s %10.3f %9.3f %10.3f", name_of(plan), row.cycle_s(plan) * 1e3,
                            row.over_t_star(plan), row.over_bare(plan));
  if (plan == Plan::barswap) {
    const barswap_stats& stats = found->second.stats;
    text += format("   %.0f MiB on the host, %.0f moved in, %.0f out", mib(stats.die[0].tier[2]),
                   mib(moved_in(stats)), mib(moved_out(stats)));
  }
  return text + "\n";
}

ordered_json json_of(const Row& row, Plan plan, const Outcome& outcome) {
  ordered_json one = {{"plan", name_of(plan)},
                      {"cycle_s", row.cycle_s(plan)},
                      {"over_t_star", row.over_t_star(plan)},
                      {"over_bare", row.over_bare(plan)},
                      {"rounds_s", outcome.cycle_s},
                      {"hashes", outcome.hashes}};
  if (plan != Plan::barswap) return one;
  const barswap_stats& stats = outcome.stats;
  one["stats"] = {{"place_only", stats.state == BARSWAP_STATE_PLACE_ONLY},
                  {"budget", stats.die[0].budget},
                  {"hbm", stats.die[0].tier[0]},
                  {"host", stats.die[0].tier[2]},
                  {"moved_in", moved_in(stats)},
                  {"moved_out", moved_out(stats)},
                  {"drains", stats.drains}};
  return one;
}

}  // namespace

std::string text_of_machine(const ordered_json& machine) {
  const ordered_json& die = machine.at("die");
  std::string text =
      format("%s, %.1f of %.1f GiB free, driver %d\n", die.at("name").get<std::string>().c_str(),
             gib(die.at("vram_free").get<std::uint64_t>()),
             gib(die.at("vram_total").get<std::uint64_t>()), die.at("driver").get<int>());
  text += "links, GB/s in pieces of 32 MiB:";
  for (const auto& [name, rate] : machine.at("links").items())
    text += format("  %s %.1f", name.c_str(), gb(rate));
  text += "\nremap, us a page        map    grant    unmap\n";
  for (const ordered_json& cost : machine.at("remap"))
    text += format("  %3.0f MiB, %-4s     %8.1f %8.1f %8.1f\n",
                   mib(cost.at("page_bytes").get<std::uint64_t>()),
                   cost.at("in").get<std::string>().c_str(), cost.at("map_us").get<double>(),
                   cost.at("grant_us").get<double>(), cost.at("unmap_us").get<double>());
  text += "pages coming in, remapped beside the copies, GB/s:";
  for (const ordered_json& one : machine.at("page_in"))
    text += format("  %.0f MiB %.1f", mib(one.at("page_bytes").get<std::uint64_t>()),
                   gb(one.at("rate")));
  text += "\nreading again, time over one read in HBM:";
  for (const ordered_json& one : machine.at("reread"))
    text += format("  %s x%d %.1f", one.at("in").get<std::string>().c_str(),
                   one.at("times").get<int>(), one.at("factor").get<double>());
  if (machine.contains("left_out"))
    for (const auto& [workload, why] : machine.at("left_out").items())
      text += "\n" + workload + " is left out: " + why.get<std::string>();
  return text + "\n";
}

std::string text_of(const Row& row) {
  const Bound& bound = row.bound;
  std::string text = format(
      "\n%s, ratio %.2f: holds %.2f GiB, %.2f over the cap\n"
      "  T* %.3f ms a cycle: read in place %.3f, moved %.3f\n"
      "  plan           ms a cycle   over T*  over bare\n",
      row.workload.name.c_str(), row.workload.ratio, gib(row.workload.bytes()),
      gib(bound.over_bytes), bound.t_star_s * 1e3, bound.in_place_s * 1e3, bound.moved_s * 1e3);
  for (const Plan plan : plans_of(row.workload)) text += text_of_plan(row, plan);
  for (const std::string& trouble : row.troubles) text += "  WRONG: " + trouble + "\n";
  return text;
}

ordered_json json_of(const Row& row) {
  ordered_json one = {{"workload", row.workload.name},
                      {"ratio", row.workload.ratio},
                      {"bytes", row.workload.bytes()},
                      {"over_bytes", row.bound.over_bytes},
                      {"bound",
                       {{"in_place_s", row.bound.in_place_s},
                        {"moved_s", row.bound.moved_s},
                        {"t_star_s", row.bound.t_star_s}}},
                      {"hashes_agree", row.hashes_agree()},
                      {"troubles", row.troubles},
                      {"runs", ordered_json::array()}};
  for (const auto& [plan, outcome] : row.outcomes)
    one["runs"].push_back(json_of(row, plan, outcome));
  return one;
}

}  // namespace barswap::bench

// `barswap replay`: a trace under other policies, as a table, as JSON, as a picture.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "../barswap/commands.hpp"
#include "../barswap/format.hpp"
#include "engine.hpp"
#include "picture.hpp"
#include "policy/values.hpp"

namespace barswap::tools {
namespace {

using namespace barswap::replay;
using nlohmann::ordered_json;

struct Row {
  Policy policy;
  Outcome outcome;
};

struct Report {
  std::string file;
  Trace trace;
  Workload workload;
  Machine machine;
  std::uint64_t bound_ns = 0;
  Outcome as_recorded;
  std::vector<Row> rows;
};

double mib(std::uint64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }
double ms(std::uint64_t ns) { return static_cast<double>(ns) / 1e6; }
double over(std::uint64_t part, std::uint64_t whole) {
  return whole == 0 ? 1 : static_cast<double>(part) / static_cast<double>(whole);
}

// 1.0: replay took as long as the recorded run.
double model(const Report& report) {
  return over(report.as_recorded.time_ns, report.workload.recorded_ns);
}

std::string names_of_policies() {
  std::string names;
  for (const Policy policy : kPolicies)
    names += (names.empty() ? "" : ", ") + std::string(name_of(policy));
  return names;
}

// True, or the refusal is said in `trouble`.
bool choose(const std::vector<std::string>& names, std::vector<Policy>& policies,
            std::string& trouble) {
  if (names.empty()) policies.assign(kPolicies.begin(), kPolicies.end());
  std::vector<std::string_view> known;
  for (const Policy policy : kPolicies) known.emplace_back(name_of(policy));
  for (const std::string& name : names) {
    const auto policy = policy_named(name);
    if (!policy) {
      trouble = "there is no policy \"" + name + "\"; the nearest is \"" +
                std::string(policy::nearest_of(name, known)) + "\". There are " +
                names_of_policies();
      return false;
    }
    if (std::find(policies.begin(), policies.end(), *policy) == policies.end())
      policies.push_back(*policy);
  }
  return true;
}

// A size, or a share of what the program held at most.
bool set_budget(const std::string& text, const Workload& workload, Machine& machine,
                std::string& trouble) {
  machine.budget_bytes = workload.budget_bytes;
  policy::Bytes bytes = 0;
  policy::Share share = 0;
  const bool is_share = policy::read_share(text, share) == policy::Reading::good;
  if (!text.empty() && !is_share && policy::read_size(text, bytes) != policy::Reading::good) {
    trouble = "--budget " + text + " is neither a size such as 8GiB nor a share such as 50%";
    return false;
  }
  for (int die = 0; die < workload.dies; ++die) {
    std::uint64_t& budget = machine.budget_bytes[static_cast<std::size_t>(die)];
    if (is_share)
      budget = static_cast<std::uint64_t>(static_cast<double>(workload.peak_bytes(die)) * share);
    else if (!text.empty()) budget = bytes;
    if (budget == 0 && workload.peak_bytes(die) > 0) {
      trouble = format("the trace knows no budget of die %d. Give one with --budget SIZE", die);
      return false;
    }
  }
  return true;
}

void set_rates(const ReplayArguments& arguments, Machine& machine) {
  const auto rate = [](double gigabytes, std::uint64_t& target) {
    if (gigabytes > 0) target = static_cast<std::uint64_t>(gigabytes * 1e9);
  };
  rate(arguments.copy_in, machine.rates.copy_in);
  rate(arguments.copy_out, machine.rates.copy_out);
  rate(arguments.in_place, machine.rates.in_place);
  rate(arguments.in_place, machine.rates.in_place_out);
  if (arguments.duplex > 0)
    machine.rates.duplex_permille =
        static_cast<std::uint32_t>(std::lround(arguments.duplex * 1000));
  Costs& costs = machine.costs;
  if (arguments.remap_in_us >= 0) {
    costs.unmap_host_ns = costs.unmap_host_mib_ns = costs.map_hbm_mib_ns = 0;
    costs.map_hbm_ns = static_cast<std::uint64_t>(arguments.remap_in_us * 1000);
  }
  if (arguments.remap_out_us >= 0) {
    costs.unmap_hbm_ns = costs.unmap_hbm_mib_ns = costs.map_host_mib_ns = 0;
    costs.map_host_ns = static_cast<std::uint64_t>(arguments.remap_out_us * 1000);
  }
}

std::vector<std::string> remarks_on(const Report& report) {
  const Trace& trace = report.trace;
  const Workload& workload = report.workload;
  std::vector<std::string> out;
  if (!trace.ended)
    out.push_back(
        "the trace ends early: its process was killed, or still runs, or the disk was full");
  if (trace.cut_bytes != 0)
    out.push_back(
        format("the last %zu bytes are no whole record and were left out", trace.cut_bytes));
  if (trace.lost != 0)
    out.push_back(format("%llu records are missing", static_cast<unsigned long long>(trace.lost)));
  if (trace.unknown != 0)
    out.push_back(format("%llu records are of a later version and were passed over",
                         static_cast<unsigned long long>(trace.unknown)));
  if (workload.launches == 0)
    out.push_back("no launch is recorded, so no policy can be told from another");
  if (workload.on_peers != 0)
    out.push_back(
        format("%llu pages came to lie in the HBM of other dies, which is replayed as the host; "
               "record with tiers.peer.enable = false to see one die and the host",
               static_cast<unsigned long long>(workload.on_peers)));
  if (workload.unseen != 0)
    out.push_back(
        format("%llu waits were for work that is not in the trace; it takes its time under "
               "every policy",
               static_cast<unsigned long long>(workload.unseen)));
  if (workload.opaque != 0)
    out.push_back(format("of %llu launches nobody knows the reach; they count by their time alone",
                         static_cast<unsigned long long>(workload.opaque)));
  if (workload.launches != 0 && std::abs(model(report) - 1) > 0.1)
    out.push_back(
        format("replaying the run as it was gives %.2f of its time: the model does not fit "
               "this program, and the figures below are no forecast",
               model(report)));
  return out;
}

void print_table(const Report& report) {
  const Workload& workload = report.workload;
  std::printf("%s: %s, %llu launches (%llu timed), %.1f ms recorded, %.1f ms replayed\n",
              report.file.c_str(), report.trace.header.program,
              static_cast<unsigned long long>(workload.launches),
              static_cast<unsigned long long>(workload.timed), ms(workload.recorded_ns),
              ms(report.as_recorded.time_ns));
  for (int die = 0; die < workload.dies; ++die)
    std::printf("die %d: holds %.1f MiB at most, budget %.1f MiB\n", die,
                mib(workload.peak_bytes(die)),
                mib(report.machine.budget_bytes[static_cast<std::size_t>(die)]));
  std::printf("T* %.1f ms: no policy can be faster\n", ms(report.bound_ns));
  for (const std::string& remark : remarks_on(report)) std::printf("note: %s\n", remark.c_str());
  std::printf("\n%-9s %10s %7s %10s %10s %10s %8s  stalls in ms:", "policy", "ms", "/T*", "MiB in",
              "MiB out", "in place", "moves");
  for (int i = 0; i < kStalls; ++i) std::printf(" %10s", name_of(static_cast<Stall>(i)));
  std::printf("\n");
  for (const auto& [policy, outcome] : report.rows) {
    std::printf("%-9s %10.1f %7.2f %10.1f %10.1f %10.1f %8llu               ", name_of(policy),
                ms(outcome.time_ns), over(outcome.time_ns, report.bound_ns), mib(outcome.bytes_in),
                mib(outcome.bytes_out), mib(outcome.bytes_in_place),
                static_cast<unsigned long long>(outcome.moves));
    for (const std::uint64_t stall : outcome.stall_ns) std::printf(" %10.1f", ms(stall));
    std::printf("\n");
  }
}

void print_json(const Report& report) {
  ordered_json out;
  out["trace"] = report.file;
  out["program"] = report.trace.header.program;
  out["whole"] = report.trace.ended;
  out["launches"] = report.workload.launches;
  out["timed"] = report.workload.timed;
  out["recorded_ns"] = report.workload.recorded_ns;
  out["replayed_ns"] = report.as_recorded.time_ns;
  out["bound_ns"] = report.bound_ns;
  out["notes"] = remarks_on(report);
  out["dies"] = ordered_json::array();
  for (int die = 0; die < report.workload.dies; ++die)
    out["dies"].push_back({{"peak", report.workload.peak_bytes(die)},
                           {"budget", report.machine.budget_bytes[static_cast<std::size_t>(die)]}});
  out["policies"] = ordered_json::array();
  for (const auto& [policy, outcome] : report.rows) {
    ordered_json row = {{"policy", name_of(policy)},
                        {"time_ns", outcome.time_ns},
                        {"over_bound", over(outcome.time_ns, report.bound_ns)},
                        {"bytes_in", outcome.bytes_in},
                        {"bytes_out", outcome.bytes_out},
                        {"bytes_in_place", outcome.bytes_in_place},
                        {"moves", outcome.moves}};
    for (int i = 0; i < kStalls; ++i)
      row["stall_ns"][name_of(static_cast<Stall>(i))] =
          outcome.stall_ns[static_cast<std::size_t>(i)];
    out["policies"].push_back(row);
  }
  std::printf("%s\n", out.dump(2).c_str());
}

bool plot(const Report& report, const std::string& path) {
  Panel time{"time", {"time"}, {{70, 110, 170}}, {}, ms(report.bound_ns), "ms"};
  Panel bytes{
      "bytes", {"in", "out", "in place"}, {{90, 160, 90}, {210, 140, 60}, {150, 150, 190}}, {}, 0,
      "mib"};
  Panel stalls{
      "stalls", {}, {{200, 80, 80}, {210, 140, 60}, {120, 90, 160}, {150, 150, 190}, {90, 90, 90}},
      {},       0,  "ms"};
  time.title = "time, the line is t*";
  for (int i = 0; i < kStalls; ++i) stalls.legend.emplace_back(name_of(static_cast<Stall>(i)));
  for (const auto& [policy, outcome] : report.rows) {
    const std::string name = name_of(policy);
    time.bars.push_back({name, {ms(outcome.time_ns)}});
    bytes.bars.push_back(
        {name, {mib(outcome.bytes_in), mib(outcome.bytes_out), mib(outcome.bytes_in_place)}});
    std::vector<double> parts;
    for (const std::uint64_t stall : outcome.stall_ns) parts.push_back(ms(stall));
    stalls.bars.push_back({name, parts});
  }
  const std::vector<std::uint8_t> image = picture_of({time, bytes, stalls});
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(image.data()),
            static_cast<std::streamsize>(image.size()));
  out.close();
  return !out.fail();
}

}  // namespace

int replay(const ReplayArguments& arguments) {
  Report report;
  report.file = arguments.trace;
  std::string trouble;
  std::vector<Policy> policies;
  if (!choose(arguments.policies, policies, trouble)) return refuse(trouble);
  if (!read(arguments.trace, report.trace, trouble)) return refuse(arguments.trace + " " + trouble);
  // The times of the recorded work are found with the rates of the recording.
  report.machine.rates = rates_in(report.trace, {});
  report.workload = workload_of(report.trace, report.machine.rates);
  if (!set_budget(arguments.budget, report.workload, report.machine, trouble))
    return refuse(trouble);
  report.as_recorded = simulate(report.workload, Policy::recorded, report.machine);
  set_rates(arguments, report.machine);
  report.bound_ns = window_bound(report.workload, report.machine);
  for (const Policy policy : policies)
    report.rows.push_back({policy, simulate(report.workload, policy, report.machine)});
  if (arguments.json) print_json(report);
  else print_table(report);
  if (!arguments.plot.empty() && !plot(report, arguments.plot))
    return refuse("the picture " + arguments.plot +
                  " cannot be written. Name a file in a folder that you may write to");
  return 0;
}

}  // namespace barswap::tools

// `barswap bench`: the machine is measured, then the suite is run. All work with the driver is done
// by processes of its own, one after another, so that none finds memory that another holds, and a
// driver that hangs or falls takes none of the report with it.
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <span>

#include "../barswap/commands.hpp"
#include "../barswap/format.hpp"
#include "../barswap/preload.hpp"
#include "base/host_memory.hpp"
#include "decode.hpp"
#include "policy/values.hpp"
#include "process.hpp"
#include "report.hpp"

namespace barswap::tools {
namespace {

using nlohmann::ordered_json;

// Ranges are whole pages of the driver, and the policy takes no smaller limit.
constexpr std::uint64_t kCapGranule = std::uint64_t{32} << 20, kCapLeast = std::uint64_t{64} << 20;
constexpr std::uint64_t kCapUsual = std::uint64_t{4} << 30;

std::uint64_t largest(std::span<const double> ratios, std::uint64_t cap_bytes) {
  std::uint64_t bytes = cap_bytes;
  for (const double ratio : ratios)
    // The ranges of the phases come in threes.
    bytes = std::max(bytes, bench::make_workload("phases", cap_bytes, ratio, true).bytes());
  return bytes;
}

// What is wrong with the arguments on any machine, or nothing.
std::string why_not_understood(const BenchArguments& arguments) {
  std::uint64_t cap_bytes = 0;
  if (!arguments.cap.empty() &&
      policy::read_size(arguments.cap, cap_bytes) != policy::Reading::good)
    return "--cap " + arguments.cap + " is not a size such as 4GiB.";
  for (const std::string& name : arguments.workloads)
    if (std::find(std::begin(bench::kWorkloads), std::end(bench::kWorkloads), name) ==
        std::end(bench::kWorkloads))
      return "there is no workload \"" + name + "\"; the nearest is \"" +
             std::string(policy::nearest_of(name, bench::kWorkloads)) + "\".";
  return "";
}

// Sets the cap; or says why it does not suit this machine.
std::string choose_cap(const BenchArguments& arguments, std::span<const double> ratios,
                       std::uint64_t free_bytes, std::uint64_t& cap_bytes) {
  cap_bytes = arguments.quick ? kCapLeast : std::min(free_bytes / 4, kCapUsual);
  if (!arguments.cap.empty()) policy::read_size(arguments.cap, cap_bytes);
  cap_bytes = cap_bytes / kCapGranule * kCapGranule;
  if (cap_bytes < kCapLeast) return "a cap of less than 64MiB is too little for the suite.";
  const std::uint64_t most = largest(ratios, cap_bytes);
  const std::string needs =
      "the bare runs would hold " + format("%.2f GiB", static_cast<double>(most) / 0x1p30);
  if (most > free_bytes / 4 * 3)
    return needs + format(
                       ", which is more than three quarters of the %.2f GiB of HBM that are"
                       " free. Give a smaller --cap or --ratio.",
                       static_cast<double>(free_bytes) / 0x1p30);
  // The double buffer keeps the most on the host: all but three quarters of the cap.
  const std::uint64_t pinned = most - cap_bytes / 4 * 3;
  if (pinned > host_available_bytes() / 4 * 3)
    return "the runs need up to " + format("%.2f GiB", static_cast<double>(pinned) / 0x1p30) +
           " of host memory, which is more than three quarters of what is available. Give a"
           " smaller --cap or --ratio.";
  return "";
}

bool wants(const BenchArguments& arguments, std::string_view name) {
  const auto& asked = arguments.workloads;
  if (asked.empty()) return name != bench::kDecode || !arguments.quick;
  return std::find(asked.begin(), asked.end(), name) != asked.end();
}

std::vector<bench::Workload> choose_workloads(const BenchArguments& arguments, bool decode,
                                              std::span<const double> ratios,
                                              std::uint64_t cap_bytes) {
  std::vector<bench::Workload> all;
  for (const std::string_view name : bench::kWorkloads) {
    if (!wants(arguments, name) || (name == bench::kDecode && !decode)) continue;
    const double fits[] = {bench::kFitsRatio};
    for (const double ratio : name == bench::kFits ? std::span<const double>(fits) : ratios)
      all.push_back(bench::make_workload(name, cap_bytes, ratio, arguments.quick));
  }
  return all;
}

bench::Settings settings_of(const BenchArguments& arguments, std::uint64_t cap_bytes) {
  bench::Settings settings;
  settings.cap_bytes = cap_bytes;
  settings.rounds = arguments.quick ? 1 : arguments.rounds;
  settings.limit_s = arguments.limit_s;
  settings.quick = arguments.quick;
  settings.spoil = arguments.spoil;
  settings.python = arguments.python;
  if (!arguments.policy.file.empty())
    settings.run.insert(settings.run.end(), {"--policy", arguments.policy.file});
  for (const std::string& item : arguments.policy.sets)
    settings.run.insert(settings.run.end(), {"--set", item});
  if (!arguments.library.empty())
    settings.run.insert(settings.run.end(), {"--library", arguments.library});
  return settings;
}

void progress(const std::string& line) {
  if (isatty(STDERR_FILENO) != 0) std::fprintf(stderr, "barswap: bench: %s\n", line.c_str());
}

// The rows, also as JSON; prints each when it is done unless JSON is asked for.
bool run_suite(const std::vector<bench::Workload>& workloads, const bench::Settings& settings,
               const ordered_json& links, bool json, ordered_json& rows) {
  const auto rate = [&](const char* name) { return links.at(name).get<double>(); };
  const bench::Rates rates{rate("h"), rate("d"), rate("both"), rate("z"), rate("w")};
  bool good = true;
  for (const bench::Workload& workload : workloads) {
    const bench::Row row = bench::run_row(workload, settings, rates, progress);
    rows.push_back(bench::json_of(row));
    good &= row.troubles.empty();
    for (const std::string& trouble : row.troubles)
      std::fprintf(stderr, "barswap: bench: %s, ratio %.2f: %s\n", workload.name.c_str(),
                   workload.ratio, trouble.c_str());
    if (json) continue;
    std::fputs(bench::text_of(row).c_str(), stdout);
    std::fflush(stdout);
  }
  return good;
}

bench::Ended measure(const BenchArguments& arguments) {
  progress("links, remaps, re-reads");
  std::vector<std::string> words{bench::own_path(), "bench-child", "measure"};
  if (arguments.quick) words.emplace_back("--quick");
  return bench::run_program(words, arguments.limit_s);
}

std::string why_no_bench(const BenchArguments& arguments) {
  const std::string missing = why_no_driver();
  if (!missing.empty())
    return "no CUDA driver can be loaded (" + missing +
           "). Install the NVIDIA driver, or name the folder of libcuda.so.1 in LD_LIBRARY_PATH.";
  if (arguments.library.empty() && find_library().empty())
    return "libbarswap.so is neither in this command's build tree nor where it would be installed."
           " Build all targets, or name the file with --library.";
  return why_not_understood(arguments);
}

}  // namespace

int bench(const BenchArguments& arguments) {
  if (std::string no = why_no_bench(arguments); !no.empty()) return refuse(no);
  std::string no_decode;
  if (wants(arguments, bench::kDecode))
    no_decode = bench::why_no_decode(arguments.python, arguments.limit_s);
  if (!no_decode.empty() && !arguments.workloads.empty())
    return refuse("the workload decode cannot run: " + no_decode +
                  ". Name a Python with torch, transformers and accelerate with --python.");
  std::vector<double> ratios = arguments.ratios;
  if (ratios.empty()) ratios = arguments.quick ? std::vector{1.5} : std::vector{1.5, 2.0};
  const bench::Ended measured = measure(arguments);
  if (!measured.trouble.empty())
    return refuse("this machine could not be measured: the measuring run " + measured.trouble +
                  ". Is there a GPU that you may use, with some memory free?");
  ordered_json whole = measured.found;
  std::uint64_t cap_bytes = 0;
  const auto free_bytes = whole.at("die").at("vram_free").get<std::uint64_t>();
  if (std::string no = choose_cap(arguments, ratios, free_bytes, cap_bytes); !no.empty())
    return refuse(no);
  const bench::Settings settings = settings_of(arguments, cap_bytes);
  whole["cap"] = cap_bytes;
  whole["rounds"] = settings.rounds;
  whole["quick"] = settings.quick;
  if (!no_decode.empty()) whole["left_out"] = {{bench::kDecode, no_decode}};
  if (!arguments.json) std::fputs(bench::text_of_machine(whole).c_str(), stdout);
  std::fflush(stdout);
  whole["suite"] = ordered_json::array();
  whole["good"] = run_suite(choose_workloads(arguments, no_decode.empty(), ratios, cap_bytes),
                            settings, whole.at("links"), arguments.json, whole["suite"]);
  if (arguments.json)
    std::printf("%s\n", whole.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
  return whole.at("good").get<bool>() ? 0 : 1;
}

}  // namespace barswap::tools

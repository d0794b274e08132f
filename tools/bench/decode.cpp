#include "decode.hpp"

#include "process.hpp"

extern const char barswap_bench_decode[];

namespace barswap::bench {
namespace {

// Found, not imported, which takes seconds.
constexpr const char* kProbe =
    "import importlib.util, json\n"
    "print(json.dumps([name for name in ('torch', 'transformers', 'accelerate')\n"
    "                  if importlib.util.find_spec(name) is None]))\n";

}  // namespace

std::vector<std::string> words_of_decode(const Workload& workload, bool with_accelerate,
                                         const std::string& python) {
  std::vector<std::string> words{python,
                                 "-c",
                                 barswap_bench_decode,
                                 "--layers",
                                 std::to_string(workload.ranges),
                                 "--layer-bytes",
                                 std::to_string(workload.range_bytes)};
  if (with_accelerate) words.emplace_back("--accelerate");
  return words;
}

std::string why_no_decode(const std::string& python, int limit_s) {
  const Ended probe = run_program({python, "-c", kProbe}, limit_s);
  if (!probe.trouble.empty()) return python + " " + probe.trouble;
  if (!probe.found.is_array()) return python + " is no Python";
  std::string missing;
  for (const auto& name : probe.found)
    missing += (missing.empty() ? "" : ", ") + name.get<std::string>();
  return missing.empty() ? "" : python + " has no " + missing;
}

}  // namespace barswap::bench

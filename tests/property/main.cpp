// Runs seeds: those of seeds.txt, then `--seeds N` from `--first S`. A failure prints the line that
// replays it. `--tell` says each step.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "property/live.hpp"
#include "stats/stats.hpp"

namespace {

using namespace barswap::property;

struct Arguments {
  std::uint64_t seeds = 100;
  std::uint64_t first = 1;
  bool tell = false;
  bool only_these = false;
};

Arguments read_arguments(int argc, char** argv) {
  Arguments arguments;
  if (const char* count = std::getenv("BARSWAP_SEEDS"); count && *count)
    arguments.seeds = std::strtoull(count, nullptr, 10);
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--tell") arguments.tell = true;
    else if (word == "--seeds" && i + 1 < argc)
      arguments.seeds = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--first" && i + 1 < argc) {
      arguments.first = std::strtoull(argv[++i], nullptr, 10);
      arguments.only_these = true;
    } else {
      std::fprintf(stderr, "usage: property [--seeds N] [--first S] [--tell]\n");
      std::exit(2);
    }
  }
  return arguments;
}

// One seed a line, with a few words of why.
std::vector<std::uint64_t> remembered_seeds() {
  std::vector<std::uint64_t> seeds;
  std::ifstream file(BARSWAP_SEEDS_FILE);
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::uint64_t seed = 0;
    if (!line.starts_with('#') && words >> seed) seeds.push_back(seed);
  }
  return seeds;
}

bool run_one(std::uint64_t seed, bool tell, std::uint64_t& moved_bytes) {
  const Plan plan = draw_plan(seed);
  if (tell)
    std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed),
                 plan.text.c_str());
  Outcome outcome = live(plan, tell);
  moved_bytes += outcome.moved_bytes;
  // The same seed is the same run: without that a failure could not be found again.
  if (outcome.why.empty() && seed % 16 == 0 && live(plan, false).trace != outcome.trace)
    outcome.why = "a second run of the seed went another way";
  if (outcome.why.empty()) return true;
  std::printf("seed %llu (%s): %s\n  again: property --first %llu --seeds 1 --tell\n",
              static_cast<unsigned long long>(seed), plan.text.c_str(), outcome.why.c_str(),
              static_cast<unsigned long long>(seed));
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const Arguments arguments = read_arguments(argc, argv);
  std::vector<std::uint64_t> seeds;
  if (!arguments.only_these) seeds = remembered_seeds();
  for (std::uint64_t i = 0; i < arguments.seeds; ++i) seeds.push_back(arguments.first + i);
  std::uint64_t failed = 0, moved_bytes = 0;
  for (const std::uint64_t seed : seeds)
    failed += run_one(seed, arguments.tell, moved_bytes) ? 0 : 1;
  const std::uint64_t routed = barswap::stats::get(barswap::stats::live().routed);
  std::printf("%zu seeds, %llu failed, %llu MiB moved, %llu launches routed\n", seeds.size(),
              static_cast<unsigned long long>(failed),
              static_cast<unsigned long long>(moved_bytes >> 20),
              static_cast<unsigned long long>(routed));
  // Runs in which nothing moves, or nothing is routed, would prove nothing.
  if (seeds.size() >= 30 && moved_bytes == 0) return 1;
  if (seeds.size() >= 300 && routed == 0) return 1;
  return failed == 0 ? 0 : 1;
}

#include "workload.hpp"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace barswap::bench {
namespace {

constexpr std::uint32_t kRangesOfCap = 16;
constexpr std::uint32_t kSets = 3, kSweepsOfSet = 4;
constexpr std::uint32_t kRereads = 8;

Step read_of(std::uint32_t range, std::uint32_t times = 1, std::uint64_t bytes = 0) {
  return {Step::Kind::read, range, kNoRange, times, bytes};
}

// Kernels that end at once, and buffers that come and go: what calls cost, and not what bytes do.
void make_fits(Workload& workload, bool quick) {
  const std::uint32_t launches = quick ? 64 : 2048, churns = quick ? 8 : 128;
  for (std::uint32_t i = 0; i < launches; ++i)
    workload.cycle.push_back(read_of(i % workload.ranges, 1, 4096));
  // Of 64 KiB to 4 MiB, packed ones and such with pages of their own.
  for (std::uint32_t i = 0; i < churns; ++i)
    workload.cycle.push_back(
        {Step::Kind::churn, kNoRange, kNoRange, 1, std::uint64_t{65536} << i % 7});
}

// Each range in its turn, as a model reads its layers for each token.
void make_sweep(Workload& workload, std::uint32_t times) {
  for (std::uint32_t i = 0; i < workload.ranges; ++i) workload.cycle.push_back(read_of(i, times));
  workload.crossing = {1, 0, static_cast<double>(times), 0};
}

// A cycle is two time steps: each reads both grids and writes one.
void make_stencil(Workload& workload) {
  const std::uint32_t half = workload.ranges / 2;
  for (const std::uint32_t grid : {0u, 1u})
    for (std::uint32_t i = 0; i < half; ++i)
      workload.cycle.push_back({Step::Kind::wave, grid * half + i, (1 - grid) * half + i, 1, 0});
  workload.crossing = {2, 1, 2, 1};
  workload.carries = true;
}

// Rows lie everywhere, so a plan that moves pages must move all of them. What is drawn twice in one
// launch may come from a cache: the bound counts the rows that are expected to be drawn at all.
void make_gather(Workload& workload) {
  for (std::uint32_t i = 0; i < workload.ranges; ++i)
    workload.cycle.push_back({Step::Kind::gather, i, kNoRange, 1, 0});
  workload.crossing = {1, 0, 1 - std::exp(-1.0 / static_cast<double>(kRowsOfDraw)), 0};
}

void make_phases(Workload& workload) {
  const std::uint32_t of_set = workload.ranges / kSets;
  for (std::uint32_t set = 0; set < kSets; ++set)
    for (std::uint32_t sweep = 0; sweep < kSweepsOfSet; ++sweep)
      for (std::uint32_t i = 0; i < of_set; ++i)
        workload.cycle.push_back(read_of(set * of_set + i));
  workload.crossing = {1, 0, kSweepsOfSet, 0};
}

// A token reads every layer once.
void make_decode(Workload& workload) {
  workload.crossing = {1, 0, 1, 0};
  workload.carries = workload.decodes = true;
}

}  // namespace

Workload make_workload(std::string_view name, std::uint64_t cap_bytes, double ratio, bool quick) {
  Workload workload;
  workload.name = name;
  workload.range_bytes = cap_bytes / kRangesOfCap;
  const std::uint32_t group = name == "phases" ? kSets : name == "stencil" ? 2 : 1;
  const auto ranges = static_cast<std::uint32_t>(std::floor(ratio * kRangesOfCap));
  workload.ranges = (std::max(ranges, 1u) + group - 1) / group * group;
  workload.ratio = static_cast<double>(workload.ranges) / kRangesOfCap;
  if (name == kFits) make_fits(workload, quick);
  else if (name == "sweep") make_sweep(workload, 1);
  else if (name == "reread") make_sweep(workload, kRereads);
  else if (name == "stencil") make_stencil(workload);
  else if (name == "gather") make_gather(workload);
  else if (name == "phases") make_phases(workload);
  else if (name == kDecode) make_decode(workload);
  else throw std::invalid_argument("there is no workload " + std::string(name));
  return workload;
}

}  // namespace barswap::bench

// The simulator: runs a workload under one policy on dies with a budget and links with rates, in
// whole nanoseconds, without a clock and without chance. docs/replay.md states the model.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "workload.hpp"

namespace barswap::replay {

enum class Policy : std::uint8_t {
  recorded,  // tiers, moves and closed gates as the trace has them
  resident,  // all in HBM, whatever the budget: what the program takes by itself
  lru,
  fifo,
  clock,
  bip,        // insert cold, one of 32 hot; promoted when used again
  min,        // out goes what is used again last
  stream,     // the deficit spread evenly and read in place: no moves
  place,      // the pager's policy code, at births and at the program's waits
  automatic,  // the same, and ranges take turns if a trial shows that to pay
  move,       // the same without the trial
  all_host    // all read in place
};
inline constexpr std::array kPolicies = {
    Policy::recorded, Policy::lru,   Policy::fifo,      Policy::clock, Policy::bip,     Policy::min,
    Policy::stream,   Policy::place, Policy::automatic, Policy::move,  Policy::all_host};
const char* name_of(Policy policy);
std::optional<Policy> policy_named(const std::string& name);

struct Costs {
  // Of remapping a page, without its copy: fixed, and for each MiB.
  std::uint64_t map_hbm_ns = 28'000, map_hbm_mib_ns = 0;
  std::uint64_t unmap_hbm_ns = 17'000, unmap_hbm_mib_ns = 0;
  std::uint64_t map_host_ns = 45'000, map_host_mib_ns = 9'500;
  std::uint64_t unmap_host_ns = 35'000, unmap_host_mib_ns = 1'700;
  std::uint64_t drain_ns = 11'000;     // of proving a die idle, once a batch
  std::uint64_t batch_ns = 2'000'000;  // what one batch of the mover aims at
  std::uint64_t in_ns(std::uint64_t bytes) const;
  std::uint64_t out_ns(std::uint64_t bytes) const;
};

struct Machine {
  Rates rates;
  Costs costs;
  std::vector<std::uint64_t> budget_bytes;  // of each die
};

// Why a die or the program stood still.
enum class Stall : std::uint8_t { page_in, write_back, remap, in_place, gate };
constexpr int kStalls = 5;
const char* name_of(Stall stall);

struct Outcome {
  std::uint64_t time_ns = 0;
  std::uint64_t bytes_in = 0, bytes_out = 0;  // by moves
  std::uint64_t bytes_in_place = 0;           // read or written over a link by kernels
  std::uint64_t moves = 0;
  std::array<std::uint64_t, kStalls> stall_ns{};
  std::vector<std::uint64_t> work_end_ns;  // of each step that is work
};

Outcome simulate(const Workload& workload, Policy policy, const Machine& machine);

// T*: no policy can be faster. The time of the program with all in HBM, or, over windows of the
// trace, what must cross a link because it does not fit, whichever is more.
std::uint64_t window_bound(const Workload& workload, const Machine& machine);

}  // namespace barswap::replay

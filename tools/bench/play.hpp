// Plays a workload in this process: fills its ranges, warms up, times cycles, and hashes what every
// cycle read and what every range holds in the end.
#pragma once
#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>

#include "keeper.hpp"

namespace barswap::bench {

struct Task {
  Workload workload;
  Keeping keeping = Keeping::plain;
  std::uint64_t cap_bytes = 0;
  std::uint32_t warm_cycles = 0, timed_cycles = 1;
  bool spoil = false;  // one piece is changed beforehand: its hash must differ
};

// {"hash", "bytes", "cycle_s", "warm_cycles", "timed_cycles"}; `hold` is called with it while all
// is still held.
void play(const Task& task, const std::function<void(const nlohmann::ordered_json&)>& hold);

}  // namespace barswap::bench

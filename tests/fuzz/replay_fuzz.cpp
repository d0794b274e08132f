// Any bytes as a trace: they are refused, or read, simulated and bounded, and nothing else.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "tools/replay/engine.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace barswap::replay;
  Trace trace;
  std::string trouble;
  if (!parse({data, data + size}, trace, trouble)) return 0;
  const Workload workload = workload_of(trace, rates_in(trace, {}));
  // A record that names millions of pages is slow, not wrong.
  if (workload.pages > 20'000) return 0;
  Machine machine;
  machine.rates = rates_in(trace, {});
  machine.budget_bytes = workload.budget_bytes;
  for (const Policy policy : kPolicies) (void)simulate(workload, policy, machine);
  (void)window_bound(workload, machine);
  return 0;
}

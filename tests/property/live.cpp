#include "property/live.hpp"

#include "property/world.hpp"
#include "stats/stats.hpp"
#include "support/time.hpp"

namespace barswap::property {
namespace {

std::uint64_t moved_bytes() {
  std::uint64_t bytes = 0;
  for (barswap_cause_stats& cause : stats::live().causes)
    bytes += stats::get(cause.bytes_in) + stats::get(cause.bytes_out);
  return bytes;
}

}  // namespace

Outcome live(const Plan& plan, bool telling) {
  support::start_clock(plan.tick_ns);
  Outcome outcome;
  const std::uint64_t moved_before = moved_bytes();
  support::Life life(plan.setting);
  if (!life.session() && !plan.faulty) {
    outcome.why = std::string("the session does not start: ") + life.why_not();
    return outcome;
  }
  World world(life, plan);
  world.tell(telling);
  try {
    world.run();
    outcome.why = plan.faulty ? "" : life.bury();
  } catch (const Failure& failure) {
    outcome.why = failure.what();
  }
  const sim::Audit audit = life.machine().audit();
  outcome.calls = audit.calls;
  outcome.moved_bytes = moved_bytes() - moved_before;
  outcome.trace = world.trace() ^ audit.trace ^ audit.steps;
  for (const auto& [name, count] : audit.calls) outcome.trace = outcome.trace * 31 + count;
  return outcome;
}

}  // namespace barswap::property

// A process with statistics, as the shim would leave them. Prints "ready", then waits for the end
// of standard input. With the argument `die`, ends by a signal instead.
#include <csignal>
#include <cstdio>
#include <cstring>

#include "stats/stats.hpp"

namespace stats = barswap::stats;
using barswap::Cause;
using barswap::Die;
using barswap::Tier;

int main(int argc, char** argv) {
  if (!stats::open_file("counting")) return 1;
  barswap_stats& live = stats::live();
  stats::set(live.dies, 1);
  stats::set_state(BARSWAP_STATE_PLACE_ONLY, "the driver is too old to move pages");
  stats::set_policy("/etc/barswap/policy.toml");
  barswap_die_stats& die = stats::of_die(Die{0});
  stats::set(die.limit, 4ull << 30);
  stats::set(stats::bytes_in(Die{0}, Tier::host), 3ull << 30);
  stats::set(die.large_host, 3ull << 30);
  stats::add(live.allocations, 12);
  stats::moved_out(Cause::headroom, Die{0}, 8ull << 20);
  stats::moved_out(Cause::headroom, Die{0}, 8ull << 20);
  stats::moved_in(Cause::small, Die{0}, 2ull << 20);
  std::puts("ready");
  std::fflush(stdout);
  if (argc > 1 && std::strcmp(argv[1], "die") == 0) std::raise(SIGKILL);
  while (std::getchar() != EOF) {}
  return 0;
}

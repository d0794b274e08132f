// One run of the bench, in a process of its own: the machine is measured, or a workload played.
// What it found is one line of JSON. Then it waits for the end of standard input and holds
// everything, so that who started it can look at its statistics.
#include <unistd.h>

#include <cstdio>
#include <stdexcept>

#include "../barswap/commands.hpp"
#include "measure.hpp"
#include "play.hpp"

namespace barswap::tools {
namespace {

using nlohmann::ordered_json;

void tell_and_hold(const ordered_json& found) {
  std::printf("%s\n", found.dump(-1, ' ', false, ordered_json::error_handler_t::replace).c_str());
  std::fflush(stdout);
  char ignored[64];
  while (read(STDIN_FILENO, ignored, sizeof ignored) > 0) {}
}

ordered_json measure(bool quick) {
  const bench::Die die;
  const auto [free_bytes, all_bytes] = die.memory();
  ordered_json found = {{"die",
                         {{"name", die.name()},
                          {"driver", die.driver_version()},
                          {"vram_total", all_bytes},
                          {"vram_free", free_bytes}}}};
  const bench::Effort effort{quick, free_bytes / 4 * 3};
  found.update(bench::measure_links(die, effort));
  found.update(bench::measure_remaps(die, effort));
  return found;
}

}  // namespace

int bench_child(const BenchChildArguments& arguments) try {
  if (arguments.what == "measure") {
    tell_and_hold(measure(arguments.quick));
    return 0;
  }
  bench::Task task{
      bench::make_workload(arguments.what, arguments.cap_bytes, arguments.ratio, arguments.quick),
      bench::keeping_named(arguments.keeping),
      arguments.cap_bytes,
      arguments.warm_cycles,
      arguments.timed_cycles,
      arguments.spoil};
  bench::play(task, tell_and_hold);
  return 0;
} catch (const std::exception& error) {
  return refuse(std::string("bench: ") + error.what());
}

}  // namespace barswap::tools

#include "property/plan.hpp"

#include <algorithm>
#include <cstdio>

namespace barswap::property {
namespace {

void draw_machine(Chance& chance, sim::Config& config) {
  const std::uint64_t dice = chance.below(100);
  config.dies = dice < 65 ? 1 : dice < 92 ? 2 : 3;
  const std::uint64_t vram_mib[] = {64, 96, 128, 192};
  config.vram_bytes = chance.one_of(vram_mib) << 20;
  config.host_bytes = chance.percent(7) ? 0 : chance.between(64, 512) << 20;
  config.host_numa = !chance.percent(15);
  config.host = !chance.percent(5);
  config.peer = !chance.percent(20);
  config.seed = chance.next();
  config.strict = true;
  config.steps_per_call_max = static_cast<std::uint32_t>(chance.between(1, 4));
  config.late_queries = static_cast<std::uint32_t>(chance.percent(40) ? chance.between(1, 4) : 0);
  config.poison = static_cast<unsigned char>(chance.next());
  config.context_bytes = chance.percent(30) ? 2_MiB : 0;
}

void draw_policy(Chance& chance, Plan& plan) {
  policy::Options& options = plan.setting.setup.options;
  const std::uint64_t pages[] = {2_MiB, 4_MiB, 8_MiB};
  options.paging_page_bytes = chance.one_of(pages);
  options.vram_reserve_bytes = chance.below(9) << 20;
  if (plan.mode == Mode::tight) options.vram_limit = policy::size_of(chance.between(8, 28) << 20);
  else if (chance.percent(40)) options.vram_limit = policy::size_of(chance.between(24, 96) << 20);
  const policy::Amount headrooms[] = {policy::kAutomatic, policy::size_of(0),
                                      policy::size_of(4_MiB), policy::share_of(0.25)};
  options.vram_headroom = chance.one_of(headrooms);
  options.tiers_host_enable = !chance.percent(8);
  options.tiers_host_limit = policy::size_of(chance.between(32, 512) << 20);
  options.tiers_host_prepare_bytes = chance.below(33) << 20;
  options.paging_plan = chance.percent(12) ? policy::Plan::stream : policy::Plan::automatic;
  options.paging_deadline_ms = static_cast<std::uint32_t>(chance.between(1, 50));
  if (chance.percent(20)) {
    policy::AllocationRule rule;
    rule.size.lowest_bytes = chance.below(8) << 20;
    rule.place = chance.percent(50) ? policy::Place::stream : policy::Place::resident;
    options.allocations.push_back(rule);
  }
}

// Of its own dice, too.
void draw_graphs(Plan& plan) {
  Chance chance(plan.seed ^ 0x67726170);
  plan.graphs = plan.program_dies() == 1 && chance.percent(30);
}

// How dies lend to each other. Of its own dice, so that the rest of a seed stays what it was.
void draw_lending(Plan& plan) {
  Chance chance(plan.seed ^ 0x6c656e64);
  sim::Config& machine = plan.setting.machine;
  policy::Options& options = plan.setting.setup.options;
  if (machine.dies < 2) return;
  if (chance.percent(25)) machine.islands = 2;
  if (chance.percent(40))
    for (int die = 0; die < machine.dies; ++die)
      machine.vram_each.push_back(chance.between(32, 96) << 21);
  options.tiers_peer_enable = !chance.percent(15);
  if (chance.percent(35)) options.dies_present = policy::Present::pooled;
  // Then the program knows the first die alone, and kernels that may run on any.
  plan.routed = options.dies_present == policy::Present::pooled && chance.percent(75);
  if (plan.routed) options.routing_kernels = policy::Kernels::data;
  if (chance.percent(30)) options.tiers_peer_limit = policy::size_of(chance.below(40) << 20);
  if (chance.percent(50)) plan.setting.setup.free_of = support::free_of_machine;
  plan.opened = plan.routed && options.tiers_peer_enable && chance.percent(60);
  if (!plan.opened) return;
  // More than the pool holds, in ranges large enough to move, so that pages come from the host
  // while other dies can help.
  const std::uint64_t limit_bytes = chance.between(36, 72) << 20;
  machine.vram_bytes = 128_MiB;
  machine.vram_each.clear();
  machine.host_bytes = std::max<std::uint64_t>(machine.host_bytes, 384_MiB);
  options.vram_limit = policy::size_of(limit_bytes);
  options.tiers_host_enable = true;
  options.paging_plan = policy::Plan::move;
  plan.sweeps = true;
  plan.held_bytes_max =
      static_cast<unsigned>(machine.dies) * limit_bytes + (chance.between(34, 130) << 20);
  if (plan.mode == Mode::plain) return;
  plan.mode = Mode::chaos;
  plan.setting.setup.chaos = true;
}

// Several large ranges, of which some do not fit, and a policy that lets them take turns.
void let_sweep(Chance& chance, Plan& plan) {
  plan.sweeps = true;
  plan.setting.machine.vram_bytes = 192_MiB;
  plan.setting.machine.vram_each.clear();
  plan.setting.machine.host_bytes = std::max<std::uint64_t>(
      plan.setting.machine.host_bytes, chance.percent(20) ? 64_MiB : 384_MiB);
  policy::Options& options = plan.setting.setup.options;
  const std::uint64_t limit_bytes = chance.between(76, 140) << 20;
  options.vram_limit = policy::size_of(limit_bytes);
  options.paging_plan = chance.percent(80) ? policy::Plan::move : policy::Plan::automatic;
  plan.held_bytes_max = limit_bytes + (chance.between(20, 120) << 20);
  // Then a die's tables change beside its work, and only what the work touches must be there.
  if (!chance.percent(50)) return;
  options.paging_overlap = policy::Overlap::reach;
  plan.setting.machine.strict = false;
  plan.hides = false;
}

void describe(Plan& plan) {
  const sim::Config& machine = plan.setting.machine;
  const policy::Options& options = plan.setting.setup.options;
  char text[240];
  std::snprintf(
      text, sizeof text,
      "%s, dies %d%s, vram %zu MiB, host %zu MiB%s%s, peer %d, limit %llu MiB, page %llu MiB, "
      "%u operations",
      name_of(plan.mode), machine.dies,
      plan.routed                                       ? " (routed)"
      : options.dies_present == policy::Present::pooled ? " (pooled)"
                                                        : "",
      machine.vram_bytes >> 20,
      machine.host_bytes >> 20,
      machine.host        ? ""
      : machine.host_numa ? " (NUMA only)"
                          : " (refused)",
      options.tiers_host_enable ? "" : " (not enabled)", machine.peer ? 1 : 0,
      static_cast<unsigned long long>(options.vram_limit.bytes >> 20),
      static_cast<unsigned long long>(options.paging_page_bytes >> 20), plan.operations);
  plan.text = text;
}

}  // namespace

const char* name_of(Mode mode) {
  switch (mode) {
    case Mode::plain: return "plain";
    case Mode::tight: return "tight";
    case Mode::chaos: return "chaos";
  }
  return "?";
}

Plan draw_plan(std::uint64_t seed) {
  Chance chance(seed ^ 0x706c616e);
  Plan plan;
  plan.seed = seed;
  const Mode modes[] = {Mode::plain, Mode::tight, Mode::chaos};
  plan.mode = modes[seed % 3];
  draw_machine(chance, plan.setting.machine);
  draw_policy(chance, plan);
  session::Setup& setup = plan.setting.setup;
  setup.worker = false;
  setup.chaos = plan.mode == Mode::chaos;
  setup.chaos_seed = chance.next();
  plan.setting.host_room_bytes = chance.between(64, 1024) << 20;
  const std::uint64_t ticks[] = {200, 2'000, 20'000};
  plan.tick_ns = chance.one_of(ticks);
  plan.operations = static_cast<unsigned>(chance.between(40, 160));
  // Two to four times what a tight budget holds; else what fits, and now and then all of it.
  const std::uint64_t limit_bytes = setup.options.vram_limit.bytes;
  plan.held_bytes_max =
      plan.mode == Mode::tight ? chance.between(2, 4) * limit_bytes : chance.between(24, 160) << 20;
  draw_lending(plan);
  draw_graphs(plan);
  if (seed % 5 == 4) let_sweep(chance, plan);
  describe(plan);
  return plan;
}

Plan draw_small_plan(std::uint64_t seed) {
  Chance chance(seed ^ 0x736d616c6c);
  Plan plan;
  plan.seed = seed;
  plan.mode = seed % 2 ? Mode::chaos : Mode::tight;
  sim::Config& machine = plan.setting.machine;
  machine.dies = seed % 4 == 3 ? 2 : 1;
  machine.vram_bytes = 96_MiB;
  machine.host_bytes = 256_MiB;
  machine.seed = chance.next();
  machine.strict = true;
  session::Setup& setup = plan.setting.setup;
  setup.worker = false;
  setup.chaos = plan.mode == Mode::chaos;
  setup.chaos_seed = chance.next();
  setup.options.paging_page_bytes = 2_MiB;
  setup.options.vram_limit = policy::size_of(10_MiB);
  setup.options.vram_reserve_bytes = 0;
  setup.options.tiers_host_limit = policy::size_of(256_MiB);
  plan.operations = 45;
  plan.held_bytes_max = 24_MiB;
  plan.faulty = true;
  describe(plan);
  return plan;
}

}  // namespace barswap::property

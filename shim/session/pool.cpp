// What a die may hold: its own HBM, what other dies lend it, and what a pool of dies says it has.
// Dies are looked at as late as possible: one with a context when that is made, one that lends when
// somebody needs it. No context is made for that: its end would wait for all work of the process.
#include <algorithm>

#include "barswap/log.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"

namespace barswap::session {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

}  // namespace

// The budget counts from what is free at the first context's birth, our own objects and what was
// lent before aside.
void Session::prepare_die(DieState& state) {
  if (!state.managed || state.known.load(std::memory_order_acquire) == DieState::Known::measured)
    return;
  auto free = verbs_.free_bytes();
  if (!free) return;
  state.known.store(DieState::Known::measured, std::memory_order_release);
  set_budget(state, free->free_bytes + pager_->frames().held(state.die));
}

void Session::set_budget(DieState& state, std::uint64_t free_bytes) {
  const std::uint64_t budget =
      policy::budget_bytes(setup_.options, state.facts(free_bytes)) / 2_MiB * 2_MiB;
  state.budget_bytes.store(budget, std::memory_order_relaxed);
  pager_->set_budget(state.die, budget);
  stats::set(stats::live().die[slot(state.die)].limit, budget);
  pager_->publish();
  trace_die(state);
}

// Whoever reaches the die, now or later, must reach what it borrows, with atomics as on its own.
std::vector<Die> Session::lenders_of(Die home) const {
  std::vector<Die> lenders;
  if (!setup_.options.tiers_peer_enable) return lenders;
  const auto reaches = [&](Die accessor, Die owner) {
    auto can = verbs_.can_reach(accessor, owner);
    return accessor == owner || (can && *can);
  };
  const auto natively = [&](Die accessor, Die owner) {
    auto can = verbs_.reaches_natively(accessor, owner);
    return accessor == owner || (can && *can);
  };
  for (const auto& lender : dies_) {
    if (!lender->managed || lender->die == home) continue;
    const bool all = std::all_of(dies_.begin(), dies_.end(), [&](const auto& accessor) {
      return !reaches(accessor->die, home) || natively(accessor->die, lender->die);
    });
    if (all) lenders.push_back(lender->die);
  }
  return lenders;
}

// Several threads may ask at once; they hear the same. Where nothing moves nothing can go back, so
// that only a pool borrows.
void Session::borrow(Die home) {
  DieState* state = die_state(home);
  if (dies_.size() < 2 || !state || !state->managed ||
      state->borrows.load(std::memory_order_acquire))
    return;
  std::vector<pager::Lender> lenders;
  if (pager_->may_move() || home == pool_) {
    for (const Die die : lenders_of(home)) {
      DieState& lender = *die_state(die);
      guess_budget(lender);
      const std::uint64_t most_bytes =
          policy::lent_bytes(setup_.options, lender.budget_bytes.load(std::memory_order_relaxed));
      if (most_bytes > 0) lenders.push_back({die, most_bytes});
    }
  }
  pager_->lend(home, lenders);
  state->borrows.store(true, std::memory_order_release);
}

// Without an answer the driver's refusal will say where the end is. Should the die get a context at
// this moment, either figure will do: they differ by what a context takes.
void Session::guess_budget(DieState& state) {
  if (!setup_.free_of || state.known.load(std::memory_order_acquire) != DieState::Known::nothing)
    return;
  const auto free_bytes = setup_.free_of(state.uuid_text);
  DieState::Known nothing = DieState::Known::nothing;
  if (free_bytes && state.known.compare_exchange_strong(nothing, DieState::Known::guessed))
    set_budget(state, *free_bytes + pager_->frames().held(state.die));
}

void Session::look_for_room(Die home, std::uint64_t bytes) {
  const DieState* state = die_state(home);
  if (dies_.size() < 2 || !state || state->borrows.load(std::memory_order_acquire)) return;
  const std::uint64_t wanted_bytes = memory_->claimed_bytes(home) + round_up(bytes, 2_MiB);
  if (pager_->pressed(home) || pager_->frames().free_hbm(home) < wanted_bytes) borrow(home);
}

std::optional<std::uint64_t> Session::advertised_total(Die die) const {
  const DieState* state = die_state(die);
  if (!state || !state->managed) return std::nullopt;
  policy::DieFacts facts = state->facts(state->total_bytes);
  std::uint64_t budget = state->budget_bytes.load(std::memory_order_relaxed);
  if (die == pool_)
    for (const Die other : pooled_) {
      const DieState& lender = *die_state(other);
      facts.total_bytes += lender.total_bytes;
      budget += policy::lent_bytes(setup_.options,
                                   lender.budget_bytes.load(std::memory_order_relaxed));
    }
  return policy::advertised_bytes(setup_.options, facts, budget,
                                  budget + pager_->frames().host_limit());
}

MemoryInfo Session::info(Die die) const {
  MemoryInfo out;
  out.total_bytes = advertised_total(die).value_or(0);
  const pager::Frames& frames = pager_->frames();
  const std::uint64_t held = memory_->held_bytes(die) + outside_->held_bytes(die);
  const std::uint64_t host_used = frames.host_needed();
  const std::uint64_t host_limit = frames.host_limit();
  const std::uint64_t lent = frames.lent(die), own = frames.budget(die);
  const std::uint64_t budget = own - std::min(own, lent) + pager_->borrowed(die) +
                               (die == pool_ ? pager_->borrowable(die) : 0);
  // What the tiers can still hold, however much is advertised.
  const std::uint64_t hbm_used = held - std::min(held, host_used);
  const std::uint64_t room =
      budget - std::min(budget, hbm_used) + host_limit - std::min(host_limit, host_used);
  out.free_bytes = std::min(out.total_bytes - std::min(out.total_bytes, held), room);
  return out;
}

}  // namespace barswap::session

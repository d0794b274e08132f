// What a die may hold: its own HBM, what other dies lend it, and what a pool of dies says it has. Dies
// are looked at as late as possible: one with a context when it is made, one that lends when somebody
// needs it. No context is made for that: its end would wait for all work of the process.
#include <algorithm>

#include "barswap/log.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"

namespace barswap::session {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

}  // namespace

// The budget counts from what is free at the first context's birth, our own objects aside.
void Session::prepare_die(DieState& state) {
  if (state.ready.load(std::memory_order_acquire) || !state.managed) return;
  auto free = verbs_.free_bytes();
  // What was lent before anybody could be asked was free, too.
  if (free) set_budget(state, free->free_bytes + pager_->frames().used(state.die));
}

void Session::set_budget(DieState& state, std::uint64_t free_bytes) {
  const std::uint64_t budget =
      policy::budget_bytes(setup_.options, state.facts(free_bytes)) / 2_MiB * 2_MiB;
  state.budget_bytes.store(budget, std::memory_order_relaxed);
  pager_->set_budget(state.die, budget);
  stats::set(stats::live().die[slot(state.die)].limit, budget);
  state.ready.store(true, std::memory_order_release);
  pager_->publish();
  trace_die(state);
}

// Whoever reaches the die, now or later, must reach what it borrows.
std::vector<Die> Session::lenders_of(Die home) const {
  std::vector<Die> lenders;
  if (!setup_.options.tiers_peer_enable) return lenders;
  const auto reaches = [&](Die accessor, Die owner) {
    if (accessor == owner) return true;
    auto can = verbs_.can_reach(accessor, owner);
    return can && *can;
  };
  for (const auto& lender : dies_) {
    if (!lender->managed || lender->die == home) continue;
    const bool all = std::all_of(dies_.begin(), dies_.end(), [&](const auto& accessor) {
      return !reaches(accessor->die, home) || reaches(accessor->die, lender->die);
    });
    if (all) lenders.push_back(lender->die);
  }
  return lenders;
}

void Session::borrow(Die home) {
  DieState* state = die_state(home);
  if (dies_.size() < 2 || !state || !state->managed ||
      state->borrows.exchange(true, std::memory_order_relaxed))
    return;
  std::vector<pager::Lender> lenders;
  for (const Die die : lenders_of(home)) {
    DieState& lender = *die_state(die);
    if (!lender.ready.load(std::memory_order_acquire) && setup_.free_of) {
      const auto free_bytes = setup_.free_of(lender.uuid_text);
      const pager::Pager::Hurry hurry(*pager_);
      Lock lock(pager_->mover_mutex());
      // Without an answer the driver's refusal will say where the end is.
      if (free_bytes && !lender.ready.load(std::memory_order_acquire))
        set_budget(lender, *free_bytes);
    }
    const std::uint64_t most_bytes =
        policy::lent_bytes(setup_.options, lender.budget_bytes.load(std::memory_order_relaxed));
    if (most_bytes > 0) lenders.push_back({die, most_bytes});
  }
  if (lenders.empty() && home == pool_)
    BARSWAP_LOG(warn, "session",
                "dies.present = \"pooled\" finds no second die: die %d has what it has. Cure: "
                "tiers.peer.enable, and dies in dies.use that can reach each other",
                index_of(home));
  pager_->lend(home, lenders);
}

void Session::look_for_room(Die home, std::uint64_t bytes) {
  const DieState* state = die_state(home);
  if (dies_.size() < 2 || !state || state->borrows.load(std::memory_order_relaxed)) return;
  if (pager_->frames().free_hbm(home) < bytes) borrow(home);
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

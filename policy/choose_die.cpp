#include "policy/choose_die.hpp"

#include <tuple>

namespace barswap::policy {
namespace {

// How busy a die is, in steps of ten percent: finer than that, two measurements of the same work
// differ. Who has chosen the die will work, and counts as if he did already.
std::uint64_t busy_steps(const DieLoad& die) { return die.busy_percent / 10 + 10 * die.newcomers; }

// What is left for one more, should all that have come take equal shares: a die that is free but
// claimed does not beat every other for as long as its claimants load.
std::uint64_t share_bytes(const DieLoad& die) { return die.free_bytes / (die.newcomers + 1); }

std::uint64_t present(const DieLoad& die) { return die.processes + die.newcomers; }

bool has_more_room(const DieLoad& left, const DieLoad& right) {
  return std::tuple(share_bytes(right), present(left)) <
         std::tuple(share_bytes(left), present(right));
}

bool is_less_busy(const DieLoad& left, const DieLoad& right) {
  return std::tuple(busy_steps(left), present(left), share_bytes(right)) <
         std::tuple(busy_steps(right), present(right), share_bytes(left));
}

}  // namespace

std::size_t choose_die(Processes way, std::span<const DieLoad> dies,
                       std::optional<std::size_t> last) {
  if (way == Processes::round_robin) return last ? (*last + 1) % dies.size() : 0;
  const auto better = way == Processes::most_free ? has_more_room : is_less_busy;
  std::size_t best = 0;
  for (std::size_t i = 1; i < dies.size(); ++i)
    if (better(dies[i], dies[best])) best = i;
  return best;
}

}  // namespace barswap::policy

#include "policy/route.hpp"

#include <algorithm>
#include <bit>

namespace barswap::policy {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }
bool opens(std::uint32_t open, std::size_t die) { return (open >> die & 1u) != 0; }

std::array<std::uint64_t, kDiesMax> sum_of(std::span<const Stretch> named) {
  std::array<std::uint64_t, kDiesMax> sum{};
  for (const Stretch& stretch : named)
    for (std::size_t die = 0; die < sum.size(); ++die) sum[die] += stretch.on[die];
  return sum;
}

// The one that holds most; of equals `at`, else the first.
std::size_t best_of(const std::array<std::uint64_t, kDiesMax>& sum, std::uint32_t open,
                    std::size_t at) {
  std::size_t best = opens(open, at) ? at : static_cast<std::size_t>(std::countr_zero(open));
  for (std::size_t die = 0; die < sum.size(); ++die)
    if (opens(open, die) && sum[die] > sum[best]) best = die;
  return best;
}

}  // namespace

std::uint64_t Route::missed_bytes(Die die, std::uint32_t open, std::span<const Stretch> named) {
  const auto sum = sum_of(named);
  return sum[best_of(sum, open, slot(die))] - sum[slot(die)];
}

// What did not come to use while the chain was there comes along no more.
void Route::begin_stay(Die die, Advice& advice) {
  ++stay_;
  Tolls& tolls = tolls_[slot(die)];
  auto& along = along_[slot(die)];
  std::erase_if(along, [&](const Stretch& stretch) {
    const auto found = tolls.find(stretch.first);
    if (found != tolls.end() && found->second.named_bytes >= worth(stretch)) return false;
    if (found != tolls.end()) found->second.carried = false;
    return true;
  });
  for (const Stretch& stretch : along) advice.carry.push_back(stretch);
}

void Route::note(Die die, const Stretch& stretch, Advice& advice) {
  if (!stretch.movable || stretch.bytes <= kCarryLeast || stretch.bytes > kCarryMost) return;
  Tolls& tolls = tolls_[slot(die)];
  if (tolls.size() == kTollsMax && !tolls.contains(stretch.first)) tolls.clear();
  Toll& toll = tolls[stretch.first];
  if (toll.stay != stay_) {
    toll.stay = stay_;
    toll.far_bytes = toll.named_bytes = 0;
  }
  toll.named_bytes += stretch.bytes;
  std::uint64_t elsewhere = 0;
  for (std::size_t other = 0; other < stretch.on.size(); ++other)
    if (other != slot(die)) elsewhere += stretch.on[other];
  toll.far_bytes += elsewhere;
  if (elsewhere == 0 || toll.far_bytes >> toll.refusals < worth(stretch)) return;
  toll.far_bytes = 0;
  advice.carry.push_back(stretch);
  if (!toll.carried) along_[slot(die)].push_back(stretch);
  toll.carried = true;
}

Route::Advice Route::launch(Die at, std::uint32_t open, std::span<const Stretch> named) {
  Advice advice{at, {}};
  const auto sum = sum_of(named);
  const std::size_t best = best_of(sum, open, slot(at));
  if (!opens(open, slot(at)) || sum[best] - sum[slot(at)] > costs_.change_bytes)
    advice.die = Die{static_cast<int>(best)};
  if (advice.die != at) begin_stay(advice.die, advice);
  for (const Stretch& stretch : named) note(advice.die, stretch, advice);
  return advice;
}

void Route::refused(Die die, const Stretch& stretch) {
  constexpr std::uint8_t kMost = 24;
  const auto found = tolls_[slot(die)].find(stretch.first);
  if (found == tolls_[slot(die)].end()) return;
  found->second.refusals = std::min<std::uint8_t>(found->second.refusals + 1, kMost);
  found->second.carried = false;
  std::erase_if(along_[slot(die)],
                [&](const Stretch& other) { return other.first == stretch.first; });
}

}  // namespace barswap::policy

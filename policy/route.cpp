#include "policy/route.hpp"

#include <algorithm>
#include <bit>
#include <utility>

namespace barswap::policy {
namespace {

using Sums = std::array<std::uint64_t, kDiesMax>;

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }
bool opens(std::uint32_t open, std::size_t die) { return (open >> die & 1u) != 0; }

void add(Sums& sums, const Stretch& stretch) {
  for (std::size_t die = 0; die < sums.size(); ++die) sums[die] += stretch.on[die];
}

// The one that holds most; of equals `at`, else the first.
std::size_t best_of(const Sums& sums, std::uint32_t open, std::size_t at) {
  std::size_t best = opens(open, at) ? at : static_cast<std::size_t>(std::countr_zero(open));
  for (std::size_t die = 0; die < sums.size(); ++die)
    if (opens(open, die) && sums[die] > sums[best]) best = die;
  return best;
}

std::uint64_t elsewhere(Die die, const Stretch& stretch) {
  std::uint64_t sum = 0;
  for (std::size_t other = 0; other < stretch.on.size(); ++other)
    if (other != slot(die)) sum += stretch.on[other];
  return sum;
}

}  // namespace

std::uint64_t Route::missed_bytes(Die die, std::uint32_t open, std::span<const Stretch> named) {
  Sums sums{};
  for (const Stretch& stretch : named) add(sums, stretch);
  return sums[best_of(sums, open, slot(die))] - sums[slot(die)];
}

bool Route::draws(const Stretch& stretch) { return !stretch.packed && stretch.bytes > kDrawOver; }

// It was named shortly before, so it is no data that is read once in a while.
bool Route::handed_on(const Stretch& stretch) {
  if (seen_.size() >= kKnownMost && !seen_.contains(stretch.first)) seen_.clear();
  Seen& seen = seen_[stretch.first];
  const bool lately = seen.launch != 0 && launches_ - seen.launch <= kNear;
  const bool near = std::exchange(seen.as_before, false) || lately;
  seen.launch = launches_;
  const bool handed_on = near && launches_ >= seen.refused_until && stretch.bytes <= kCarryMost;
  seen.handed_on += handed_on ? 1 : 0;
  return handed_on;
}

void Route::again() {
  for (auto& [first, seen] : seen_) {
    seen.as_before = std::exchange(seen.handed_on, 0) >= kHandedOn;
    seen.launch = 0;
  }
}

// What did not come to use while the chain was there comes along no more.
void Route::begin_stay(Die die, Advice& advice) {
  ++stays_;
  auto& tolls = tolls_[slot(die)];
  auto& along = along_[slot(die)];
  std::erase_if(along, [&](const Stretch& stretch) {
    const auto found = tolls.find(stretch.first);
    if (found != tolls.end() && found->second.named_bytes >= worth(stretch)) return false;
    if (found != tolls.end()) found->second.carried = false;
    return true;
  });
  advice.carry.insert(advice.carry.end(), along.begin(), along.end());
}

void Route::note(Die die, const Stretch& stretch, Advice& advice) {
  auto& tolls = tolls_[slot(die)];
  if (tolls.size() >= kKnownMost && !tolls.contains(stretch.first)) tolls.clear();
  Toll& toll = tolls[stretch.first];
  if (toll.stay != stays_) {
    toll.stay = stays_;
    toll.far_bytes = toll.named_bytes = 0;
  }
  const std::uint64_t far_bytes = elsewhere(die, stretch);
  toll.named_bytes += stretch.bytes;
  toll.far_bytes += far_bytes;
  if (far_bytes == 0 || toll.far_bytes < worth(stretch)) return;
  toll.far_bytes = 0;
  advice.carry.push_back(stretch);
  if (!toll.carried) along_[slot(die)].push_back(stretch);
  toll.carried = true;
}

Route::Advice Route::launch(Die at, std::uint32_t open, std::span<const Stretch> named,
                            const Room& room) {
  ++launches_;
  Advice advice{at, {}, {}};
  Sums data{};
  std::uint64_t along = 0;  // a bit for each of the first
  for (std::size_t i = 0; i < named.size() && i < 64; ++i) {
    if (named[i].packed || named[i].bytes < kCarryFrom) continue;
    if (handed_on(named[i])) along |= std::uint64_t{1} << i;
    else if (draws(named[i])) add(data, named[i]);
  }
  const std::size_t best = best_of(data, open, slot(at));
  if (!opens(open, slot(at)) || data[best] - data[slot(at)] > costs_.change_bytes)
    advice.die = Die{static_cast<int>(best)};
  if (advice.die != at) {
    begin_stay(advice.die, advice);
    advice.settle = affinity_.changes(launches_, at, advice.die, room);
  }
  for (std::size_t i = 0; i < named.size() && i < 64; ++i) {
    if ((along >> i & 1u) != 0) note(advice.die, named[i], advice);
    else if (draws(named[i])) affinity_.names(named[i]);
  }
  return advice;
}

Route::Advice Route::graph(Die home, std::span<const Often> named) {
  ++launches_;
  Advice advice{home, {}, {}};
  for (const Often& often : named) {
    const std::uint64_t far_bytes = elsewhere(home, often.stretch);
    const bool small = often.stretch.packed || often.stretch.bytes < kCarryFrom;
    const bool seldom = often.times < kOften || far_bytes == 0;
    if (small || seldom || often.stretch.bytes > kCarryMost) continue;
    if (launches_ < seen_[often.stretch.first].refused_until) continue;
    if (often.times * far_bytes >= worth(often.stretch)) advice.carry.push_back(often.stretch);
  }
  return advice;
}

void Route::refused(Die die, const Stretch& stretch) {
  Seen& seen = seen_[stretch.first];
  seen.refused_until = launches_ + (kRest << seen.refusals);
  if (seen.refusals < kDoublings) ++seen.refusals;
  const auto found = tolls_[slot(die)].find(stretch.first);
  if (found != tolls_[slot(die)].end()) found->second.carried = false;
  std::erase_if(along_[slot(die)],
                [&](const Stretch& other) { return other.first == stretch.first; });
}

}  // namespace barswap::policy

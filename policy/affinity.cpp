#include "policy/affinity.hpp"

#include <algorithm>
#include <utility>

namespace barswap::policy {

void Affinity::names(const Stretch& stretch) {
  if (bytes_ > kLittle) return;
  const auto same = [&](const Stretch& other) { return other.first == stretch.first; };
  if (std::any_of(data_.begin(), data_.end(), same)) return;
  data_.push_back(stretch);
  bytes_ += stretch.bytes;
}

// Once more in a later pass, and not moved too often already.
bool Affinity::ripe(std::uint64_t launch, const Stretch& stretch) {
  if (known_.size() >= kKnownMost && !known_.contains(stretch.first)) known_.clear();
  Known& known = known_[stretch.first];
  if (known.detours == 0 || launch - known.launch > kPass) {
    known.launch = launch;
    if (known.detours < kDetours) ++known.detours;
  }
  return known.detours >= kDetours && known.moves < kMovesMost;
}

void Affinity::stayed(const Stretch& stretch) {
  const auto found = known_.find(stretch.first);
  if (found != known_.end() && found->second.moves > 0) --found->second.moves;
}

std::vector<Stretch> Affinity::changes(std::uint64_t launch, Die from, Die to, const Room& room) {
  const auto here = static_cast<std::size_t>(index_of(from));
  const auto there = static_cast<std::size_t>(index_of(to));
  const bool detour = at_ == from && from_ == to && bytes_ > 0 && bytes_ <= kLittle;
  std::vector<Stretch> out = std::exchange(data_, {});
  bool all = detour;
  if (detour)
    for (const Stretch& stretch : out) all = ripe(launch, stretch) && all;
  const bool one_way = moved_ != 0 && launch - moved_ <= kOneWay;
  const bool fits = room[there] >= bytes_ + kSpare;
  if (!all || !fits || (one_way ? way_ != to : room[there] < room[here])) out.clear();
  for (const Stretch& stretch : out) {
    Known& known = known_[stretch.first];
    known.detours = 0;
    ++known.moves;
  }
  if (!out.empty()) {
    moved_ = launch;
    way_ = to;
  }
  from_ = from;
  at_ = to;
  bytes_ = 0;
  return out;
}

}  // namespace barswap::policy

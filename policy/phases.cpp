#include "policy/phases.hpp"

#include <algorithm>

namespace barswap::policy {
namespace {
// A noisy cycle that was lost for a while is known again long before so many of its launches have
// come, and does not get a second name.
constexpr std::uint32_t kStrangersMin = 32;
}  // namespace

Phases::Phase* Phases::find(Name name) {
  if (name == 0) return nullptr;
  for (Phase& phase : phases_)
    if (phase.name == name) return &phase;
  return nullptr;
}

// In the place of the one that has not run for the longest time.
Phases::Phase& Phases::make() {
  Phase& phase = *std::min_element(
      phases_.begin(), phases_.end(),
      [](const Phase& left, const Phase& right) { return left.used < right.used; });
  phase = {};
  phase.anchors.fill(~std::uint64_t{0});
  do ++last_name_;
  while (last_name_ == 0 || find(last_name_) != nullptr);
  phase.name = last_name_;
  return phase;
}

// A new cycle may be an old one whose launches have been forgotten. One anchor may differ: it may
// have been a launch that does not return, as one with a growing grid.
bool Phases::recognise(Phase& phase) {
  phase.compared = true;
  for (Phase& other : phases_) {
    if (other.name == 0 || &other == &phase || !other.compared) continue;
    std::size_t same = 0;
    for (std::size_t i = 0; i < kAnchors; ++i)
      same += other.anchors[i] == phase.anchors[i] && ~phase.anchors[i] != 0 ? 1 : 0;
    if (same + 1 < kAnchors) continue;
    other.used = phase.used;
    phase = {};
    current_ = other.name;
    return true;
  }
  return false;
}

bool Phases::follow(Name seen_in, std::uint64_t pair, std::uint64_t period, bool sure) {
  bool recognised = false;
  Phase* phase = find(seen_in);
  if (phase != nullptr) recognised = current_ != seen_in;
  else phase = find(current_);
  strangers_ = phase == nullptr ? strangers_ + 1 : 0;
  if (phase == nullptr && (!sure || strangers_ < kStrangersMin)) return false;
  if (phase == nullptr) phase = &make();
  current_ = phase->name;
  phase->used = ++clock_;
  std::uint64_t& anchor = phase->anchors[pair >> 62];
  anchor = std::min(anchor, pair);
  if (++phase->launches > period && !phase->compared) recognised |= recognise(*phase);
  return recognised;
}

}  // namespace barswap::policy

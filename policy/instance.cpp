#include "policy/instance.hpp"

#include <algorithm>

#include "policy/recall.hpp"

namespace barswap::policy {
namespace {

// The same step as between hot and cold pages; half of it to fall back, so that nothing flickers.
constexpr std::uint32_t kTimesAsOften = 4, kTimesStill = 2;
constexpr std::uint32_t kUsesMin = 8;
// In launches: a range that is named once in a cycle must outlive the longest one that can be
// learnt.
constexpr std::uint32_t kFadeEvery = 1u << 17;

}  // namespace

void Instances::weigh() {
  sorted_.clear();
  for (const auto& [id, known] : ranges_) sorted_.push_back(known.uses);
  const auto middle = sorted_.begin() + static_cast<std::ptrdiff_t>(sorted_.size() / 2);
  std::nth_element(sorted_.begin(), middle, sorted_.end());
  usual_ = std::max<std::uint32_t>(*middle, 1);
}

void Instances::fade() {
  for (auto known = ranges_.begin(); known != ranges_.end();) {
    known->second.uses /= 2;
    known = known->second.uses == 0 ? ranges_.erase(known) : std::next(known);
  }
}

std::optional<std::uint64_t> Instances::of(std::uint64_t variant,
                                           std::span<const RangeId> ranges) {
  if (until_fading_-- == 0) {
    fade();
    until_fading_ = kFadeEvery;
  }
  std::uint64_t instance = scatter(variant);
  bool told = false;
  for (const RangeId id : ranges) {
    Known& known = ranges_[id];
    ++known.uses;
    const std::uint32_t bound = (known.common ? kTimesStill : kTimesAsOften) * usual_;
    known.common = known.uses >= kUsesMin && known.uses > bound;
    if (known.common) continue;
    instance = scatter(instance ^ id);
    told = true;
  }
  // As seldom as each range could have been named once: weighing then costs no more than naming.
  named_ += ranges.size();
  if (named_ > ranges_.size()) {
    weigh();
    named_ = 0;
  }
  return told ? std::optional(instance) : std::nullopt;
}

}  // namespace barswap::policy

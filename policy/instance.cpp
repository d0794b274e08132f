#include "policy/instance.hpp"

#include <algorithm>

#include "policy/median.hpp"
#include "policy/recall.hpp"

namespace barswap::policy {
namespace {

// Weights of a training step are named several times, an activation's buffer by every layer. A
// quarter of it to fall back, so that nothing flickers when the counts are halved.
constexpr std::uint64_t kTimesAsOften = 16, kFallsBack = 4;
// More than this share of the ranges is no exception.
constexpr std::size_t kShareOfRanges = 4;
// Times that most are named until all counts are halved. What was usual in another phase says
// little, and buffers that came late must not wait until they have caught up with it.
constexpr std::uint32_t kRemembered = 4;
// In launches: a range that is named once in a cycle must outlive the longest that can be learnt.
constexpr std::uint64_t kFadeEvery = std::uint64_t{1} << 17;

}  // namespace

// Named more than once, and not for the last time long ago by its own measure: the ranges of a
// model that rests, and data that come by once, say nothing of what is usual.
bool Instances::lively(const Known& known) const {
  constexpr std::uint64_t kGaps = 8, kLaunches = 64;
  if (known.uses < 2) return false;
  return launches_ - known.last <= kGaps * known.gap() + kLaunches;
}

// The median of the lively ones, and of those named once as well if they are to count; 0 if none.
std::uint32_t Instances::usual(bool once) {
  uses_.clear();
  for (const auto& [id, known] : ranges_)
    if (lively(known) || (once && known.uses == 1)) uses_.push_back(known.uses);
  return median_or(uses_, 0);
}

void Instances::weigh() {
  // With those named once: in the first cycle that is all but the common ones.
  if (usual(true) >= kRemembered) fade();
  const std::uint64_t bound = kTimesAsOften * std::max(usual(false), kRemembered);
  bound_ = kNever;
  if (uses_.empty()) return;
  const auto above = static_cast<std::size_t>(
      std::count_if(uses_.begin(), uses_.end(), [&](std::uint32_t uses) { return uses > bound; }));
  if (above <= uses_.size() / kShareOfRanges) bound_ = bound;
}

void Instances::fade() {
  for (auto entry = ranges_.begin(); entry != ranges_.end();) {
    Known& known = entry->second;
    const std::uint64_t gap = known.gap();
    known.uses /= 2;
    known.first = known.last - (known.uses > 1 ? gap * (known.uses - 1) : 0);
    entry = known.uses == 0 ? ranges_.erase(entry) : std::next(entry);
  }
}

std::optional<std::uint64_t> Instances::of(std::uint64_t variant,
                                           std::span<const RangeId> ranges) {
  if (++launches_ % kFadeEvery == 0) fade();
  std::uint64_t instance = scatter(variant);
  bool told = false;
  for (const RangeId id : ranges) {
    Known& known = ranges_[id];
    if (known.uses++ == 0) known.first = launches_;
    known.last = launches_;
    known.common = known.uses > (known.common ? bound_ / kFallsBack : bound_);
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

bool Instances::common(RangeId id) const {
  const auto found = ranges_.find(id);
  return found != ranges_.end() && found->second.common;
}

}  // namespace barswap::policy

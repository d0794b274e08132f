#include "session/foresight.hpp"

#include <algorithm>

#include "base/clock.hpp"

namespace barswap::session {
namespace {

// Others move pages too.
constexpr std::uint32_t kSurveyEvery = 256;
constexpr std::uint32_t kRest = 64;
// What one exchange brings in: enough that draining the device for it weighs little.
constexpr std::uint64_t kLeastBytes = 64_MiB, kMostBytes = 1_GiB;

}  // namespace

std::uint64_t Foresight::host_bytes(std::span<const policy::RangeId> ranges) const {
  std::uint64_t sum = 0;
  for (const policy::RangeId id : ranges) {
    const auto found = std::lower_bound(
        held_.begin(), held_.end(), id,
        [](const policy::RangeFacts& facts, policy::RangeId wanted) { return facts.id < wanted; });
    if (found != held_.end() && found->id == id) sum += found->host_bytes;
  }
  return sum;
}

// Any two ranges, now and then, whoever needs them: what the rules must survive.
policy::Exchange Foresight::at_random(Die die) {
  if (random_() % 8 != 0) return {};
  held_ = pager_.survey(die);
  if (held_.empty()) return {};
  policy::Exchange exchange;
  const auto part = [&] {
    const policy::RangeFacts& facts = held_[random_() % held_.size()];
    return policy::Part{facts.id, 1 + random_() % facts.bytes};
  };
  exchange.in.push_back(part());
  exchange.out.push_back(part());
  return exchange;
}

policy::Exchange Foresight::due(policy::LaunchKey key, Die die,
                                std::span<const policy::RangeId> ranges) {
  // What is captured does not run now, and beside a capture nothing moves.
  if (pager_.contexts().capturing()) return {};
  Lock lock(mutex_);
  if (!die_) die_ = die;
  if (*die_ != die) return {};
  if (!turns_) turns_ = std::make_unique<policy::Turns>(plan_);
  if (until_survey_-- == 0) {
    held_ = pager_.survey(die);
    until_survey_ = kSurveyEvery;
  }
  const std::uint64_t missing_bytes = host_bytes(ranges);
  turns_->launch(key, ranges, missing_bytes, now_ns());
  if (pager_.settings().chaos) return at_random(die);
  if (resting_ > 0) --resting_;
  if (turns_->stripe_due()) {
    held_ = pager_.survey(die);
    return turns_->stripe(held_);
  }
  if (missing_bytes == 0 || resting_ > 0 || !turns_->moving()) return {};
  held_ = pager_.survey(die);
  const std::uint64_t most_bytes =
      std::clamp(pager_.frames().budget(die) / 8, kLeastBytes, kMostBytes);
  policy::Exchange exchange = turns_->choose(held_, most_bytes);
  if (exchange.in.empty()) resting_ = kRest;
  return exchange;
}

void Foresight::launch(policy::LaunchKey key, Die die, std::span<const policy::RangeId> ranges) {
  policy::Exchange exchange = due(key, die, ranges);
  if (exchange.in.empty() && !exchange.stripe) return;
  const bool made = !exchange.in.empty() && pager_.exchange(die, exchange);
  Lock lock(mutex_);
  turns_->exchanged(exchange, made);
  if (!made) resting_ = kRest;
  held_ = pager_.survey(die);
}

}  // namespace barswap::session

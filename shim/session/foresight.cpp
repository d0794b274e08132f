#include "session/foresight.hpp"

#include <algorithm>

#include "barswap/log.hpp"
#include "base/clock.hpp"

namespace barswap::session {
namespace {

// Others move pages too.
constexpr std::uint32_t kSurveyEvery = 256;
// In launches: after nothing could be chosen; and after something was refused, doubled each time.
// Most of what refuses is over in a moment, and what is missing is read in place until then.
constexpr std::uint32_t kRest = 64, kRefusedRest = 4, kRestDoublings = 14;

const char* text_of(policy::Trial::Mode mode) {
  switch (mode) {
    case policy::Trial::Mode::streaming: return "what is on the host is read in place";
    case policy::Trial::Mode::preparing:
      return "turns are worth a trial, once host frames are made";
    case policy::Trial::Mode::trying: return "ranges take turns, on trial";
    case policy::Trial::Mode::moving: return "ranges take turns";
  }
  return "";
}

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
  held_ = pager_.survey(die, pager::Pager::With::places);
  if (held_.empty()) return {};
  const policy::RangeFacts& in = held_[random_() % held_.size()];
  const policy::RangeFacts& out = held_[random_() % held_.size()];
  policy::Exchange exchange;
  exchange.in.push_back({in.id, 1 + random_() % in.bytes});
  exchange.out.push_back({out.id, 1 + random_() % out.bytes});
  exchanging_ = true;
  return exchange;
}

policy::Exchange Foresight::due(const Launch& launch, bool& turns_over) {
  const Die die = launch.die;
  // What is captured does not run now, and beside a capture nothing moves.
  if (pager_.contexts().capturing()) return {};
  Lock lock(mutex_);
  if (!die_) die_ = die;
  if (*die_ != die) return {};
  if (!turns_) {
    turns_ = std::make_unique<policy::Turns>(
        plan_, pager_.settings().beside ? policy::Beside::work : policy::Beside::nothing);
    turns_->prepared(!pager_.settings().keep_copies);
  }
  if (until_survey_-- == 0) {
    held_ = pager_.survey(die, pager::Pager::With::places);
    until_survey_ = kSurveyEvery;
  }
  const std::uint64_t missing_bytes = host_bytes(launch.ranges);
  turns_->launch(launch.site, launch.variant, launch.ranges, missing_bytes, now_ns());
  if (const policy::Trial::Mode mode = turns_->mode(); mode != mode_) {
    mode_ = mode;
    BARSWAP_LOG(debug, "session", "launch %llu, cycles of %llu: %s",
                static_cast<unsigned long long>(turns_->cycle().sequence().recorded()),
                static_cast<unsigned long long>(turns_->cycle().sequence().period()),
                text_of(mode));
  }
  if (turns_->preparing()) turns_->prepared(pager_.ready_for_copies());
  if (resting_ > 0) --resting_;
  if (exchanging_) return {};
  if (pager_.settings().chaos) return at_random(die);
  if (spare_ && !turns_->moving()) {
    turns_over = true;
    spare_ = false;
    turns_->prepared(!pager_.settings().keep_copies);
  }
  if (resting_ > 0) return {};
  const bool stripe = turns_->stripe_due();
  if (!stripe && !turns_->turn_due(missing_bytes)) return {};
  held_ = pager_.survey(die, stripe ? pager::Pager::With::heat : pager::Pager::With::places);
  policy::Exchange exchange =
      stripe ? turns_->stripe(held_)
             : turns_->choose(held_, policy::turn_bytes(pager_.frames().budget(die)));
  exchanging_ = !exchange.in.empty() && !exchange.later;
  if (exchange.spare_bytes > 0 && !spare_) {
    spare_ = true;
    (void)pager_.ready_for_copies();
  }
  if (exchanging_) return exchange;
  if (stripe) turns_->exchanged(exchange, false);
  else if (missing_bytes != 0) resting_ = kRest;
  return {};
}

void Foresight::launch(const Launch& launch) {
  const Die die = launch.die;
  bool turns_over = false;
  policy::Exchange exchange = due(launch, turns_over);
  if (turns_over) pager_.no_more_turns(die);
  if (exchange.in.empty()) return;
  const bool made = pager_.exchange(die, exchange);
  Lock lock(mutex_);
  exchanging_ = false;
  turns_->exchanged(exchange, made);
  refusals_ = made ? 0 : refusals_ + 1;
  if (!made) resting_ = kRefusedRest << std::min(refusals_, kRestDoublings);
  held_ = pager_.survey(die, pager::Pager::With::places);
}

}  // namespace barswap::session

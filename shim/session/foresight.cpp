#include "session/foresight.hpp"

#include <algorithm>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "base/futex.hpp"
#include "session/door.hpp"
#include "stats/stats.hpp"

namespace barswap::session {
namespace {

// In launches. Others move pages too.
constexpr std::uint32_t kSurveyEvery = 256;
// In launches: after nothing could be chosen; and after something was refused, doubled each time.
// Most of what refuses is over in a moment, and what is missing is read in place until then.
constexpr std::uint32_t kRest = 64, kRefusedRest = 4, kRestDoublings = 14;
constexpr std::uint64_t kAsideRestNs = 1'000'000'000;
// In turns: after one failed that a thread of ours was to make.
constexpr std::uint32_t kByHandDoublings = 6;

bool names_any(std::span<const policy::RangeId> ranges, std::span<const policy::RangeId> some) {
  return std::any_of(ranges.begin(), ranges.end(), [&](policy::RangeId id) {
    return std::find(some.begin(), some.end(), id) != some.end();
  });
}

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

// The count comes first: what changes meanwhile is looked at again.
void Foresight::survey(pager::Pager::With with) {
  surveyed_at_ = pager_.changes();
  held_ = pager_.survey(*die_, with);
}

const policy::RangeFacts* Foresight::find(policy::RangeId id) const {
  return policy::find(held_, id);
}

bool Foresight::finds_all(std::span<const policy::RangeId> ranges) const {
  bool all = true;
  for (const policy::RangeId id : ranges) all = all && find(id);
  return all;
}

// A range that is new may lie on the host. One that is never surveyed, since a rule says where it
// lies, is looked for in vain, and ever more seldom.
void Foresight::look(const Launch& launch) {
  const bool unknown =
      until_survey_ + unknown_every_ <= kSurveyEvery && !finds_all(launch.ranges);
  if (until_survey_ == 0 || unknown || pager_.changes() != surveyed_at_) {
    survey();
    until_survey_ = kSurveyEvery;
    if (unknown)
      unknown_every_ = finds_all(launch.ranges) ? kUnknownEvery
                                                : std::min(2 * unknown_every_, kSurveyEvery);
  }
  --until_survey_;
}

policy::OnHost Foresight::on_host(std::span<const policy::RangeId> ranges) const {
  policy::OnHost host;
  for (std::size_t i = 0; i < ranges.size(); ++i)
    if (const policy::RangeFacts* facts = find(ranges[i])) host.add(i, facts->host_bytes);
  return host;
}

// Any two ranges, now and then, whoever needs them: what the rules must survive.
policy::Exchange Foresight::at_random() {
  if (random_() % 8 != 0) return {};
  survey();
  if (held_.empty()) return {};
  const policy::RangeFacts& in = held_[random_() % held_.size()];
  const policy::RangeFacts& out = held_[random_() % held_.size()];
  policy::Exchange exchange;
  exchange.in.push_back({in.id, 1 + random_() % in.bytes});
  exchange.out.push_back({out.id, 1 + random_() % out.bytes});
  exchanging_ = true;
  return exchange;
}

// True: there is something to exchange, and this thread is about it.
bool Foresight::choose(bool stripe, policy::Turns::When when, policy::Exchange& exchange) {
  using With = pager::Pager::With;
  survey(stripe ? With::heat : With::places);
  exchange = stripe
                 ? turns_->stripe(held_)
                 : turns_->choose(held_, policy::turn_bytes(pager_.frames().budget(*die_)), when);
  exchanging_ = !exchange.in.empty() && !exchange.later;
  if (exchange.spare_bytes > 0) {
    spare_ = true;
    if (exchange.keeps) (void)pager_.ready_for_copies();
  }
  return exchanging_;
}

// Whoever has waited asks again, since a turn may not have brought everything.
Foresight::Step Foresight::plan(const Launch& launch, policy::Exchange& exchange) {
  if (closing_.load(std::memory_order_relaxed)) return Step::go_on;
  const std::uint64_t missing_bytes = on_host(launch.ranges).bytes;
  if (exchanging_) return aside_ && missing_bytes != 0 ? Step::wait : Step::go_on;
  if (pager_.settings().chaos) {
    exchange = at_random();
    return exchange.in.empty() ? Step::go_on : Step::exchange;
  }
  if (resting_ > 0) return Step::go_on;
  const bool stripe = turns_->stripe_due();
  const bool reached = turns_->moving() && names_any(launch.ranges, brought_);
  if (reached) brought_.clear();
  if (!stripe && !reached && !turns_->turn_due(missing_bytes)) return Step::go_on;
  // What nobody names yet is worth no drain.
  if (!stripe && missing_bytes == 0 && !may_turn_aside()) return Step::go_on;
  const auto when = reached ? policy::Turns::When::at_once : policy::Turns::When::spaced;
  if (choose(stripe, when, exchange)) {
    if (stripe || !may_turn_aside()) return Step::exchange;
    aside_ = exchange;
    turner_.ring();
    return missing_bytes != 0 ? Step::wait : Step::go_on;
  }
  if (stripe) turns_->exchanged(exchange, false);
  else if (missing_bytes != 0 && turns_->moving()) resting_ = kRest;
  return Step::go_on;
}

Foresight::Step Foresight::record(const Launch& launch, policy::Exchange& exchange,
                                  bool& turns_over) {
  const Die die = launch.die;
  // What is captured does not run now, and beside a capture nothing moves.
  if (pager_.contexts().capturing()) return Step::go_on;
  Lock lock(mutex_);
  if (!die_) die_ = die;
  if (*die_ != die) return Step::go_on;
  if (!turns_) {
    const bool aside = pager_.settings().beside && pager_.settings().worker;
    turns_ = std::make_unique<policy::Turns>(
        plan_, aside ? policy::Beside::work : policy::Beside::nothing);
    turns_->prepared(!pager_.settings().keep_copies);
    // Long before the first turn, which may begin while this thread has calls in hand that do not
    // wait for anybody as long as nobody asks what is named.
    if (pager_.settings().beside) pager_.start_flights();
  }
  look(launch);
  turns_->link(pager_.link_bytes_per_ns());
  turns_->launch(launch.site, launch.variant, launch.ranges, on_host(launch.ranges), now_ns());
  if (const policy::Trial::Mode mode = turns_->mode(); mode != mode_) {
    mode_ = mode;
    BARSWAP_LOG(debug, "session", "launch %llu, cycles of %llu: %s",
                static_cast<unsigned long long>(turns_->cycle().sequence().recorded()),
                static_cast<unsigned long long>(turns_->cycle().sequence().period()),
                text_of(mode));
  }
  if (turns_->spread() != spread_) {
    spread_ = !spread_;
    pager_.spread_stands(*die_, spread_);
  }
  if (turns_->preparing()) turns_->prepared(pager_.ready_for_copies());
  if (resting_ > 0) --resting_;
  if (spare_ && !exchanging_ && !turns_->turning()) {
    turns_over = true;
    spare_ = false;
    turns_->prepared(!pager_.settings().keep_copies);
  }
  const Step step = plan(launch, exchange);
  if (step == Step::wait) ++waiting_;
  return step;
}

void Foresight::end_exchange(const policy::Exchange& exchange, bool made) {
  exchanging_ = false;
  turns_->exchanged(exchange, made);
  refusals_ = made ? 0 : refusals_ + 1;
  if (!made) resting_ = kRefusedRest << std::min(refusals_, kRestDoublings);
  survey();
}

std::optional<Sample> Foresight::launch(const Launch& launch) {
  bool turns_over = false;
  policy::Exchange exchange;
  start_turner();
  await_time(launch);
  Step step = record(launch, exchange, turns_over);
  if (turns_over) pager_.no_more_turns(launch.die);
  if (step == Step::wait) step = wait(launch, exchange);
  const bool made = step == Step::exchange && pager_.exchange(launch.die, exchange);
  Lock lock(mutex_);
  if (step == Step::exchange) {
    // Where that is refused as well, it was not for want of a drain.
    by_hand_ = made && by_hand_ > 0 ? by_hand_ - 1 : 0;
    end_exchange(exchange, made);
  }
  return sample(launch);
}

// As it is submitted now. The places are looked at anew, since a sample counts for long.
std::optional<Sample> Foresight::sample(const Launch& launch) {
  if (launch.samples == Samples::none || !turns_ || *die_ != launch.die || exchanging_ ||
      pager_.contexts().capturing())
    return std::nullopt;
  policy::Reuse& reuse = turns_->reuse();
  // Of a range that is never surveyed nobody knows where it lies.
  if (!reuse.wants_time(launch.variant, on_host(launch.ranges)) || !finds_all(launch.ranges))
    return std::nullopt;
  survey();
  if (!finds_all(launch.ranges)) return std::nullopt;
  const Sample out{launch.variant, on_host(launch.ranges)};
  if (!reuse.wants_time(out.kernel, out.host)) return std::nullopt;
  reuse.expect(out.kernel);
  return out;
}

void Foresight::take_times() {
  stopwatch_.collect();
  for (const Stopwatch::Timed& timed : stopwatch_.take()) {
    Lock lock(mutex_);
    if (turns_)
      turns_->reuse().timed(timed.sample.kernel, timed.sample.host, timed.elapsed_ns);
    BARSWAP_LOG(debug, "session", "kernel %llx: %llu us with %llu MiB of its ranges %x on the host",
                static_cast<unsigned long long>(timed.sample.kernel),
                static_cast<unsigned long long>(timed.elapsed_ns / 1000),
                static_cast<unsigned long long>(timed.sample.host.bytes / 1_MiB),
                timed.sample.host.which);
  }
}

// Whoever waits may keep others from submitting what the die waits for, so that all waits together
// are bounded as well.
void Foresight::await_time(const Launch& launch) {
  constexpr std::uint64_t kOneNs = 200'000'000, kAllNs = 1'000'000'000, kLookNs = 20'000;
  constexpr std::uint64_t kShare = 50;
  // Beside a capture an event may not be asked.
  if (!stopwatch_.samples() || pager_.contexts().capturing()) return;
  take_times();
  if (launch.samples == Samples::none) return;
  const std::uint64_t start_ns = now_ns();
  // What was not used long ago is not saved up.
  const std::uint64_t earned_ns = (start_ns - start_ns_) / kShare;
  std::uint64_t awaited_ns = awaited_ns_.load(std::memory_order_relaxed);
  if (awaited_ns + kAllNs < earned_ns)
    awaited_ns_.compare_exchange_strong(awaited_ns, earned_ns - kAllNs);
  bool waited = false;
  for (;;) {
    {
      Lock lock(mutex_);
      if (!turns_ || !turns_->reuse().undecided(launch.variant, on_host(launch.ranges))) break;
    }
    const std::uint64_t elapsed_ns = now_ns() - start_ns;
    if (elapsed_ns > kOneNs || closing_.load(std::memory_order_relaxed) ||
        awaited_ns_.load(std::memory_order_relaxed) + elapsed_ns > earned_ns + kAllNs ||
        pager_.contexts().capturing() || pager_.hurried())
      break;
    waited = true;
    sleep_ns(kLookNs);
    take_times();
  }
  if (!waited) return;
  awaited_ns_.fetch_add(now_ns() - start_ns, std::memory_order_relaxed);
  stats::add(stats::live().stalls, 1);
  stats::add(stats::live().stall_ns, now_ns() - start_ns);
}

// For the turns that bring what the launch names; each is bounded. What then is still missing is
// read in place.
Foresight::Step Foresight::wait(const Launch& launch, policy::Exchange& exchange) {
  constexpr int kTurnsMax = 4;
  constexpr std::uint64_t kLimitNs = 10'000'000;  // against a wake-up that was lost
  const std::uint64_t start_ns = now_ns();
  Step step = Step::wait;
  for (int turns = 0; step == Step::wait; ++turns) {
    std::uint32_t seen = 0;
    {
      Lock lock(mutex_);
      seen = turned_.load(std::memory_order_relaxed);
      step = turns < kTurnsMax ? plan(launch, exchange) : Step::go_on;
      if (step != Step::wait) --waiting_;
    }
    while (step == Step::wait && turned_.load(std::memory_order_acquire) == seen &&
           !closing_.load(std::memory_order_relaxed))
      futex_wait(turned_, seen, kLimitNs);
  }
  stats::add(stats::live().stalls, 1);
  stats::add(stats::live().stall_ns, now_ns() - start_ns);
  return step;
}

bool Foresight::may_turn_aside() const { return by_hand_ == 0 && turner_.running(); }

// Under no lock: what the C library needs for a thread it may take from the program's heap.
void Foresight::start_turner() {
  const pager::Settings& settings = pager_.settings();
  if (!settings.beside || !settings.worker || turner_.running()) return;
  // What a tool submits from inside our calls must not wait for the turn that they are part of.
  const auto begin = [](void*) { ++door_depth; };
  const auto turn = [](void* self) {
    static_cast<Foresight*>(self)->turn_aside();
    return kAsideRestNs;
  };
  turner_.start({"barswap-turns", begin, turn, this});
}

void Foresight::turn_aside() {
  for (;;) {
    policy::Exchange exchange;
    Die die{0};
    {
      Lock lock(mutex_);
      if (!aside_ || closing_.load(std::memory_order_relaxed)) return;
      exchange = *aside_;
      die = *die_;
    }
    const std::vector<policy::Part> asked = exchange.in;
    const bool made = pager_.exchange(die, exchange, pager::Pager::Drains::none);
    {
      Lock lock(mutex_);
      aside_.reset();
      // That it could not be made here says nothing of the launching thread's.
      if (made) end_exchange(exchange, true);
      else exchanging_ = false;
      bool left = false;
      for (const policy::Part& part : exchange.in) left = left || on_host({&part.id, 1}).bytes > 0;
      failures_ = made ? 0 : failures_ + 1;
      // The first may have met a passing cause: a call in hand that may sleep, the mover at work.
      if (made) by_hand_ = left ? 1 : 0;
      else by_hand_ = failures_ < 2 ? 0 : 1u << std::min(failures_ - 1, kByHandDoublings);
      brought_.clear();
      if (made && !left)
        for (const policy::Part& part : asked) brought_.push_back(part.id);
      // Who waits for the link finds the next turn under way.
      policy::Exchange next;
      if (waiting_ > 0 && !brought_.empty() && turns_->moving() && resting_ == 0 &&
          !closing_.load(std::memory_order_relaxed) &&
          choose(false, policy::Turns::When::at_once, next)) {
        brought_.clear();
        aside_ = next;
      }
      turned_.fetch_add(1, std::memory_order_release);
    }
    futex_wake(turned_);
  }
}

void Foresight::close() {
  closing_.store(true, std::memory_order_relaxed);
  turned_.fetch_add(1, std::memory_order_release);
  futex_wake(turned_);
  turner_.stop(3);
}

}  // namespace barswap::session

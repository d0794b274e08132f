#include "policy/turns.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "policy/median.hpp"
#include "policy/place.hpp"

namespace barswap::policy {
namespace {

constexpr CycleLimits kLimits{16384, 65536, 4096};
// Launches that one exchange looks ahead at most.
constexpr std::size_t kAheadMax = 1024;
constexpr std::uint64_t kWhole = ~std::uint64_t{0};
// Cycles that differ by less than this share of their launches are alike.
constexpr std::uint64_t kAlikeShare = 8;
constexpr std::uint64_t kLeastStripeBytes = std::uint64_t{64} << 20;

// Their size if it is not there.
std::size_t index_of(std::span<const RangeFacts> held, RangeId id) {
  const RangeFacts* found = find(held, id);
  return found ? static_cast<std::size_t>(found - held.data()) : held.size();
}

// The most of it that is not more than so many bytes.
std::uint64_t in_pages(const RangeFacts& facts, double bytes) {
  const auto most_bytes = std::min(static_cast<std::uint64_t>(bytes), facts.bytes);
  if (facts.page_bytes == 0 || most_bytes == facts.bytes) return most_bytes;
  return most_bytes / facts.page_bytes * facts.page_bytes;
}

}  // namespace

const RangeFacts* find(std::span<const RangeFacts> held, RangeId id) {
  const auto found = std::lower_bound(
      held.begin(), held.end(), id,
      [](const RangeFacts& facts, RangeId wanted) { return facts.id < wanted; });
  return found == held.end() || found->id != id ? nullptr : &*found;
}

std::uint64_t turn_bytes(std::uint64_t budget_bytes) {
  constexpr std::uint64_t kLeastBytes = std::uint64_t{64} << 20;
  constexpr std::uint64_t kMostBytes = std::uint64_t{256} << 20;
  return std::clamp(budget_bytes / 32, kLeastBytes, kMostBytes);
}

Turns::Turns(Plan plan, Beside beside)
    : plan_(plan), beside_(beside), cycle_(kLimits), fetches_(cycle_.sequence().capacity()),
      moments_(fetches_.size()) {}

void Turns::launch(std::uint64_t site, std::uint64_t variant, std::span<const RangeId> ranges,
                   const OnHost& host, std::uint64_t now_ns) {
  named_.assign(ranges.begin(), ranges.end());
  ++taken_;
  const auto turn = cycle_.trusted() ? Reuse::Turn::batched : Reuse::Turn::alone;
  fetch_ = reuse_.launch(variant, host, turn) && plan_ != Plan::stream;
  variant_ = variant;
  host_ = host;
  const auto instance = instances_.of(variant, ranges);
  untold_ = instance ? 0 : untold_ + 1;
  if (!instance) {
    host_bytes_ += host.bytes;
    return;
  }
  const std::uint64_t position = cycle_.record({site, *instance}, ranges);
  fetches_[position % fetches_.size()] = reuse_.often(variant);
  moments_[position % moments_.size()] = {now_ns, host_bytes_};
  measure(position, now_ns);
  host_bytes_ += host.bytes;
}

void Turns::link(double bytes_per_ns) {
  link_.measured(bytes_per_ns);
  reuse_.link(link_);
}

// For as long as the next may take to come round: two cycles, if one is known. That of graphs, for
// which alone nothing comes in, is a launch or two.
bool Turns::turning() const {
  constexpr std::uint64_t kUnknown = 1024;
  const Sequence& sequence = cycle_.sequence();
  if (moving()) return true;
  if (fetched_ == 0) return false;
  if (!cycle_.trusted() || sequence.period() == 0) return taken_ - fetched_ <= kUnknown;
  // What names only what is common is not of the cycle.
  return sequence.recorded() - fetched_at_ <= 2 * sequence.period();
}

// A whole cycle lies behind when as many launches have come as the last one looked at had, and the
// present one came so many ago. What a long cycle is called may change in its midst and back, and
// parts of it may not be known at all: only its ends count.
void Turns::measure(std::uint64_t position, std::uint64_t now_ns) {
  const Sequence& sequence = cycle_.sequence();
  const Phases::Name name = cycle_.trusted() ? sequence.phase() : Phases::Name{0};
  const std::uint64_t period = sequence.period();
  if (name == 0 || period == 0) return;
  // Just after a change the way back to the last occurrence looks like a long cycle, and in noise
  // it may lead over several.
  const auto [shorter, longer] = std::minmax(period, cycle_launches_);
  const bool alike = longer - shorter <= shorter / kAlikeShare;
  const std::uint64_t passed = position - measured_at_;
  if (alike ? passed < cycle_launches_
            : period > cycle_launches_ && passed <= cycle_launches_ + cycle_launches_ / kAlikeShare)
    return;
  measured_at_ = position;
  cycle_launches_ = period;
  if (!alike || period >= moments_.size() || position < disturbed_at_ + period) return;
  const Moment& begun = moments_[(position - period) % moments_.size()];
  judge(name, {period, now_ns - begun.time_ns, host_bytes_ - begun.host_bytes});
}

void Turns::judge(Phases::Name name, const Whole& whole) {
  Phase& phase = phase_of(name);
  // A graph and the launches that it was made of may share a name, and no more.
  const auto [shorter, longer] = std::minmax(phase.launches, whole.launches);
  if (phase.launches != 0 && longer > 2 * shorter) {
    phase.trial.restart();
    phase.lose_spread(0);
    phase.spread_bytes = 0;
    phase.worse = phase.good = phase.refusals = 0;
  }
  phase.launches = whole.launches;
  // A pause of the program makes one cycle long.
  phase.elapsed_ns =
      phase.waited == 0 ? whole.elapsed_ns : std::min(phase.elapsed_ns, whole.elapsed_ns);
  phase.host_bytes = whole.host_bytes;
  const bool moved = phase.trial.moves();
  const bool streamed = phase.trial.mode() == Trial::Mode::streaming;
  // Once it has begun to prepare, a trial goes on whatever becomes of the spread. Beside what comes
  // in for single launches there is none.
  if (phase.spread != Phase::Spread::due || !streamed || turning())
    phase.trial.cycle({whole.elapsed_ns, whole.host_bytes, ready_, swept_bytes_, link_});
  if (moved && !phase.trial.moves()) phase.lose_spread(0);
  if (streamed && phase.spread == Phase::Spread::done) compare(phase, whole.host_bytes);
  if (!moved && !turning() && phase.spread != Phase::Spread::done) ++phase.waited;
  const bool look = phase.spread == Phase::Spread::due ||
                    (phase.spread == Phase::Spread::deferred && phase.waited >= phase.look_at);
  // A trial that is about to begin would undo it, and so does what comes in for single launches.
  stripe_due_ = plan_ == Plan::automatic && look &&
                phase.trial.mode() == Trial::Mode::streaming && !turning();
  due_phase_ = name;
}

// A spread that is lost is not made again at once: two cycles are waited for, and after each that
// did not last, twice as many.
void Turns::compare(Phase& phase, std::uint64_t host_bytes) {
  constexpr std::uint32_t kWorseMax = 2, kDoublingsMax = 10, kRepaid = 8;
  if (phase.spread_bytes == 0) phase.spread_bytes = host_bytes + 1;
  const std::uint64_t bound =
      phase.spread_bytes + std::max(phase.spread_bytes / 4, kLeastStripeBytes);
  const bool worse = host_bytes > bound;
  phase.worse = worse ? phase.worse + 1 : 0;
  phase.good += worse ? 0 : 1;
  if (phase.worse < kWorseMax << std::min(phase.returns, kDoublingsMax)) return;
  phase.returns = phase.good < kRepaid ? phase.returns + 1 : 0;
  phase.lose_spread(phase.worse);
  phase.worse = phase.good = 0;
}

Turns::Phase& Turns::phase_of(Phases::Name name) {
  Phase* oldest = phases_.data();
  for (Phase& phase : phases_) {
    if (phase.name == name) {
      phase.used = ++uses_;
      return phase;
    }
    if (phase.used < oldest->used) oldest = &phase;
  }
  *oldest = {};
  oldest->name = name;
  oldest->used = ++uses_;
  return *oldest;
}

const Turns::Phase* Turns::known() const {
  const Phases::Name name = cycle_.sequence().phase();
  for (const Phase& phase : phases_)
    if (name != 0 && phase.name == name) return &phase;
  return nullptr;
}

const Trial* Turns::trial() const {
  const Phase* phase = known();
  return phase == nullptr ? nullptr : &phase->trial;
}

bool Turns::spread() const {
  const Phase* phase = known();
  return follows() && phase != nullptr && phase->spread == Phase::Spread::done && phase->placed;
}

Trial::Mode Turns::mode() const {
  const Trial* known = trial();
  return plan_ == Plan::automatic && known != nullptr ? known->mode() : Trial::Mode::streaming;
}

bool Turns::preparing() const {
  return mode() == Trial::Mode::preparing || (!moving() && turning());
}

// Where nothing has told for long where the cycle is, no plan holds.
bool Turns::follows() const {
  constexpr std::uint64_t kUntoldMin = 1024;
  return cycle_.trusted() && untold_ <= std::max(kUntoldMin, cycle_.sequence().period());
}

bool Turns::moving() const {
  if (plan_ == Plan::stream || !follows()) return false;
  if (plan_ == Plan::move) return true;
  const Trial* known = trial();
  return known != nullptr && known->moves();
}

bool Turns::turn_due(std::uint64_t host_bytes) const {
  if (!moving()) return fetch_ && host_bytes != 0;
  return host_bytes != 0 || (beside_ == Beside::work && spacing_ != 0 &&
                             cycle_.sequence().recorded() - spaced_from_ >= spacing_);
}

// What leaves in a turn is what was just used. So, where each turn waits for a launch that misses
// something, all that is missing stays side by side in the cycle: the link rests while the rest is
// worked on, and that work is done before the link is. A turn that is made early leaves its gap
// here instead, and the next cycle finds it here.
Exchange Turns::choose(std::span<const RangeFacts> held, std::uint64_t most_bytes, When when) {
  Exchange out;
  out.phase = cycle_.sequence().phase();
  const std::uint64_t recorded = cycle_.sequence().recorded();
  std::uint64_t missing_bytes = 0;
  for (const RangeFacts& facts : held)
    if (facts.movable && cycle_.named(facts.id)) missing_bytes += facts.host_bytes;
  spacing_ = cycle_.sequence().period() * most_bytes / std::max(missing_bytes, most_bytes);
  spaced_from_ = recorded;
  // What is needed soon must fit: what does not would only send away what is needed sooner.
  std::uint64_t room_bytes = 0, needed_bytes = 0;
  for (const RangeFacts& facts : held) room_bytes += facts.bytes - facts.host_bytes;
  std::vector<bool> needed(held.size());
  std::vector<std::size_t> latest;  // needed by the launch looked at
  const auto need = [&](RangeId id) {
    const std::size_t index = index_of(held, id);
    if (index == held.size() || needed[index]) return;
    needed[index] = true;
    latest.push_back(index);
    needed_bytes += held[index].bytes;
    if (held[index].host_bytes == 0 || !held[index].movable) return;
    out.in.push_back({id, kWhole});
    out.in_bytes += held[index].host_bytes;
  };
  for (const RangeId id : named_) need(id);
  const bool all = moving();
  if (!all) {
    swept_bytes_ = 0;
    for (const RangeFacts& facts : held)
      if (facts.movable && cycle_.named(facts.id)) swept_bytes_ += facts.bytes;
    out.keeps = ready_ || beside_ == Beside::work;
    // Only what leaves room for the launches to come.
    if (needed_bytes > room_bytes / 2) {
      reuse_.refused(variant_);
      return {};
    }
    // What nearly every launch names stays from now on; most of them may read it in place, but all
    // of them together read it often.
    for (const RangeFacts& facts : held)
      if (instances_.common(facts.id) && facts.host_bytes > 0 &&
          needed_bytes + facts.bytes <= room_bytes / 2)
        need(facts.id);
  }
  // Of the launch taken last.
  const std::size_t now = out.in.size();
  const std::uint64_t now_bytes = out.in_bytes;
  const std::vector<bool> needed_now = needed;
  const bool early = all && beside_ == Beside::work && when == When::spaced && out.in.empty();
  std::uint64_t looked_at = 0;
  std::vector<std::uint64_t> ahead(kAheadMax);
  ahead.resize(cycle_.trusted() ? cycle_.sequence().foretell(ahead) : 0);
  // A launch may name ranges that are gone, but not many.
  std::vector<RangeId> named(2 * held.size() + 64);
  for (const std::uint64_t position : ahead) {
    if (!all && !fetches_[position % fetches_.size()]) continue;
    const std::size_t count = cycle_.named_at(position, named);
    const std::size_t before = out.in.size();
    const std::uint64_t before_bytes = out.in_bytes;
    latest.clear();
    for (std::size_t i = 0; i < count; ++i) need(named[i]);
    // It is named soon enough, at a place as good as this.
    if (early && before == 0 && !out.in.empty() && looked_at < spacing_) {
      spaced_from_ = recorded - (spacing_ - spacing_ / 4);
      return {};
    }
    ++looked_at;
    // More than asked for would not find room in one batch.
    const bool over = before_bytes > 0 && out.in_bytes > most_bytes;
    if (over || needed_bytes > room_bytes) {
      out.in.resize(before);
      out.in_bytes = before_bytes;
      for (const std::size_t index : latest) needed[index] = false;
    }
    if (over || needed_bytes > room_bytes || out.in_bytes >= most_bytes) break;
  }

  std::vector<Candidate> leaving;
  std::uint64_t leaving_bytes = 0;
  const auto let_go = [&] {
    leaving.clear();
    leaving_bytes = 0;
    for (std::size_t i = 0; i < held.size(); ++i) {
      if (needed[i] || !held[i].movable || held[i].host_bytes == held[i].bytes ||
          !cycle_.named(held[i].id) || instances_.common(held[i].id))
        continue;
      leaving.push_back({held[i].id, 0, 0});
      leaving_bytes += held[i].bytes - held[i].host_bytes;
    }
  };
  let_go();
  // What is expected may never come, and the launch taken last is here. Where it does come it is
  // brought back, as if nobody knew.
  if (leaving_bytes < now_bytes) {
    if (!all && !reuse_.gains(variant_, host_, Reuse::Turn::alone)) {
      reuse_.refused(variant_);
      return {};
    }
    out.in.resize(now);
    out.in_bytes = now_bytes;
    needed = needed_now;
    let_go();
  }
  cycle_.furthest(leaving);
  for (const Candidate& candidate : leaving) out.out.push_back({candidate.range, kWhole});
  if (!all && !out.in.empty() && out.out.empty()) reuse_.refused(variant_);
  if (out.in.empty() || out.out.empty()) return {};
  constexpr std::uint64_t kSpareShare = 16;
  out.spare_bytes = std::min(most_bytes, room_bytes / kSpareShare);
  return out;
}

// How often the last cycle named each.
std::vector<std::uint32_t> Turns::uses_in_cycle(std::span<const RangeFacts> held) const {
  std::vector<std::uint32_t> uses(held.size());
  const Sequence& sequence = cycle_.sequence();
  std::vector<RangeId> named(2 * held.size() + 64);
  const std::uint64_t recorded = sequence.recorded();
  for (std::uint64_t back = 1; back <= std::min(sequence.period(), recorded); ++back) {
    const std::size_t count = cycle_.named_at(recorded - back, named);
    if (count == 0) return {};
    for (std::size_t i = 0; i < count; ++i)
      if (const std::size_t index = index_of(held, named[i]); index < held.size()) ++uses[index];
  }
  return uses;
}

// How many bytes more of a cycle can cross the link beside others, since a launch reads some of
// what it names and writes the rest: of what it has on the host all but the largest part, which is
// what it does one way or the other.
double Turns::both_ways(std::span<const RangeFacts> held, const Exchange& exchange) const {
  std::vector<double> now(held.size()), then(held.size());
  for (std::size_t i = 0; i < held.size(); ++i)
    now[i] = then[i] = static_cast<double>(held[i].host_bytes);
  for (const Part& part : exchange.in)
    then[index_of(held, part.id)] -= static_cast<double>(part.bytes);
  for (const Part& part : exchange.out)
    then[index_of(held, part.id)] += static_cast<double>(part.bytes);
  const Sequence& sequence = cycle_.sequence();
  const std::uint64_t recorded = sequence.recorded();
  std::vector<RangeId> named(2 * held.size() + 64);
  double gained = 0;
  for (std::uint64_t back = 1; back <= std::min(sequence.period(), recorded); ++back) {
    const std::size_t count = cycle_.named_at(recorded - back, named);
    double sum = 0, most_now = 0, most_then = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t index = index_of(held, named[i]);
      if (index == held.size()) continue;
      sum += then[index] - now[index];
      most_now = std::max(most_now, now[index]);
      most_then = std::max(most_then, then[index]);
    }
    gained += sum - (most_then - most_now);
  }
  return gained;
}

// Of the heat of each, around the median.
std::vector<int> Turns::steps_of(std::span<const RangeFacts> held) {
  std::vector<std::uint32_t> heats;
  for (const RangeFacts& facts : held) heats.push_back(facts.heat);
  std::vector<int> steps;
  const std::uint32_t usual = median_or(heats, 1);
  for (const RangeFacts& facts : held) steps.push_back(heat_step(facts.heat, usual));
  return steps;
}

Exchange Turns::stripe(std::span<const RangeFacts> held) {
  Exchange out;
  out.stripe = true;
  out.phase = cycle_.sequence().phase();
  const std::vector<std::uint32_t> uses = uses_in_cycle(held);
  if (uses.size() != held.size()) return out;
  swept_bytes_ = 0;
  std::vector<std::size_t> order;
  std::uint64_t room_bytes = 0;
  for (std::size_t i = 0; i < held.size(); ++i) {
    if (!held[i].movable || !cycle_.named(held[i].id)) continue;
    order.push_back(i);
    room_bytes += held[i].bytes - held[i].host_bytes;
    swept_bytes_ += held[i].bytes;
  }
  // Counts that fade within a cycle would say when a range was named, not how often.
  constexpr std::uint64_t kLaunchesMax = 1024;
  const std::vector<int> steps = cycle_.sequence().period() <= kLaunchesMax
                                     ? steps_of(held)
                                     : std::vector<int>(held.size(), 0);
  const auto worth = [&](std::size_t index) {
    const bool common = instances_.common(held[index].id);
    return std::pair(common ? std::numeric_limits<int>::max() : steps[index], uses[index]);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return worth(a) > worth(b); });
  std::uint64_t all_bytes = room_bytes;
  for (std::size_t first = 0; first < order.size();) {
    std::size_t end = first;
    std::uint64_t equal_bytes = 0;
    for (; end < order.size() && worth(order[end]) == worth(order[first]); ++end)
      equal_bytes += held[order[end]].bytes;
    const double share =
        std::min(1.0, static_cast<double>(room_bytes) / static_cast<double>(equal_bytes));
    double left_bytes = 0;  // of shares of those before, which are no whole pages
    for (; first < end; ++first) {
      const RangeFacts& facts = held[order[first]];
      const double exact_bytes = static_cast<double>(facts.bytes) * share + left_bytes;
      const std::uint64_t wanted_bytes = in_pages(facts, exact_bytes);
      left_bytes = exact_bytes - static_cast<double>(wanted_bytes);
      const std::uint64_t here_bytes = facts.bytes - facts.host_bytes;
      if (wanted_bytes > here_bytes) {
        out.in.push_back({facts.id, wanted_bytes - here_bytes});
        out.in_bytes += wanted_bytes - here_bytes;
      } else if (here_bytes > wanted_bytes) {
        out.out.push_back({facts.id, here_bytes - wanted_bytes});
      }
    }
    room_bytes -= std::min(room_bytes, equal_bytes);
  }
  // Rounding to pages is not worth a drain. Buffers that nobody names any more may be little, and
  // lie where what is read over and over would.
  if (out.in_bytes < std::max(kLeastStripeBytes, all_bytes / 128)) {
    out.in.clear();
    out.out.clear();
    return out;
  }
  const auto phase = std::find_if(phases_.begin(), phases_.end(), [&](const Phase& one) {
    return one.name == out.phase && out.phase != 0;
  });
  out.later = phase == phases_.end() || !repaid(out, *phase, held, uses, steps);
  return out;
}

// Nobody knows how long a program goes on. A spread that is made once the cycles so far would have
// repaid it costs, all in all, some twice what the best choice would have cost.
bool Turns::repaid(const Exchange& exchange, const Phase& phase,
                   std::span<const RangeFacts> held, std::span<const std::uint32_t> uses,
                   std::span<const int> steps) const {
  // All in bytes over the link. What is moved goes out and in, with a drain for each batch: as
  // measured, three times what the link alone would need.
  constexpr double kMoving = 3;
  const auto reads = [&](std::size_t index) {
    const double heat = std::pow(4.0, std::max(0, steps[index]));
    return uses[index] == 0 ? 0 : std::max(static_cast<double>(uses[index]), heat);
  };
  const auto sum = [&](const std::vector<Part>& parts) {
    double bytes = 0;
    for (const Part& part : parts)
      bytes += reads(index_of(held, part.id)) * static_cast<double>(part.bytes);
    return bytes;
  };
  double local = 0, host = 0;
  for (std::size_t i = 0; i < held.size(); ++i) {
    local += reads(i) * static_cast<double>(held[i].bytes - held[i].host_bytes);
    if (uses[i] > 0) host += static_cast<double>(held[i].host_bytes);
  }
  // Where the link rests for a part of the cycle, an even share lets it work beside the rest:
  // beside reading HBM, 75 times as fast; and, as far as the time of the cycle says that there is
  // more than the link, beside computing and launching. How much of that it can hide nobody knows.
  constexpr double kBesideReading = 1.0 / 75, kBesideComputing = 1.0 / 4;
  const auto crossed = static_cast<double>(phase.host_bytes);
  const double other = static_cast<double>(phase.elapsed_ns) * link_.bytes_per_ns() - crossed;
  const double beside = std::max(local * kBesideReading,
                                 std::clamp(other, 0.0, crossed) * kBesideComputing);
  // Whether what lies side by side is read here and written there is a guess as well.
  constexpr double kBothWays = 1.0 / 2;
  const auto moved = static_cast<double>(exchange.in_bytes);
  const double saved = sum(exchange.in) - sum(exchange.out) +
                       kBothWays * both_ways(held, exchange) +
                       beside * std::min(1.0, moved / std::max(host, 1.0));
  return saved * static_cast<double>(phase.waited) >= kMoving * moved;
}

void Turns::exchanged(const Exchange& exchange, bool made) {
  if (exchange.stripe) stripe_due_ = false;
  else if (made && !moving()) {
    fetched_ = taken_;
    fetched_at_ = cycle_.sequence().recorded();
    reuse_.accepted(variant_);
  }
  if (exchange.phase == 0) return;
  Phase& phase = phase_of(exchange.phase);
  if (!exchange.stripe) {
    const bool moved = phase.trial.moves();
    if (moved) phase.trial.exchanged(made);
    if (moved && !phase.trial.moves()) phase.lose_spread(0);
    return;
  }
  // One that is refused comes again with the next cycle; whoever always refuses is let alone.
  constexpr std::uint32_t kRefusalsMax = 16;
  if (exchange.later) {
    phase.spread = Phase::Spread::deferred;
    phase.look_at = phase.waited + std::max<std::uint64_t>(1, phase.waited / 4);
    return;
  }
  disturbed_at_ = cycle_.sequence().recorded();
  phase.refusals = made || exchange.in.empty() ? 0 : phase.refusals + 1;
  phase.spread = Phase::Spread::due;
  if (phase.refusals != 0 && phase.refusals < kRefusalsMax) return;
  phase.spread = Phase::Spread::done;
  phase.placed = made;
  phase.waited = 0;
  phase.trial.spread();
  phase.spread_bytes = 0;
}

}  // namespace barswap::policy

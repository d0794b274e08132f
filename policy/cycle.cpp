#include "policy/cycle.hpp"

#include <algorithm>
#include <bit>

namespace barswap::policy {
namespace {

// Ranges that share a bucket; a full one forgets the range that was touched longest ago.
constexpr std::size_t kWays = 8;
// One insertion in so many counts as a use, so that the warm set follows a program that changes
// (bimodal insertion; the share is that of its authors).
constexpr std::uint64_t kWarmEvery = 32;
// Ranks under it are those of cold insertions, which go downwards: the latest leaves first.
constexpr std::uint64_t kWarmest = std::uint64_t{1} << 63;
constexpr double kTrustFrom = 0.5;
constexpr std::uint64_t kNever = ~std::uint64_t{0};

std::size_t rounded(std::size_t limit) {
  return std::bit_ceil(std::clamp(limit, kWays, std::size_t{1} << 31));
}

}  // namespace

Cycle::Cycle(const CycleLimits& limits)
    : sequence_(limits.launches),
      launches_(sequence_.capacity()),
      uses_(rounded(limits.uses)),
      ranges_(rounded(limits.ranges)),
      use_mask_(uses_.size() - 1) {}

const Cycle::Range* Cycle::find(RangeId id) const {
  const std::size_t bucket = scatter(id) & (ranges_.size() - 1) & ~(kWays - 1);
  for (std::size_t way = 0; way < kWays; ++way) {
    const Range& range = ranges_[bucket + way];
    if (range.touched != 0 && range.id == id) return &range;
  }
  return nullptr;
}

Cycle::Range& Cycle::find_or_make(RangeId id) {
  Range* range = find(id);
  if (range == nullptr) {
    const auto bucket = ranges_.begin() + static_cast<std::ptrdiff_t>(
                                              scatter(id) & (ranges_.size() - 1) & ~(kWays - 1));
    range = &*std::min_element(
        bucket, bucket + kWays,
        [](const Range& left, const Range& right) { return left.touched < right.touched; });
    *range = {};
    range->id = id;
    insert(*range);
  }
  range->touched = ++touches_;
  return *range;
}

void Cycle::insert(Range& range) {
  ++insertions_;
  const bool warm = scatter(insertions_) % kWarmEvery == 0;
  range.rank = warm ? kWarmest + ++touches_ : kWarmest - insertions_;
  range.fetched = true;
}

void Cycle::fetched(RangeId id) {
  insert(find_or_make(id));
}

bool Cycle::remembered(std::uint64_t number) const {
  return number != 0 && number <= uses_made_ && uses_made_ - number < uses_.size();
}

void Cycle::use(Range& range, std::uint64_t position) {
  const std::uint64_t before = remembered(range.newest) ? range.newest : 0;
  if (before != 0 && use_of(before).position == position) return;  // named twice
  const std::uint64_t number = ++uses_made_;
  Use& made = use_of(number);
  made = {range.id, position, 0, 0};
  // The place of the new use may have been that of the one before it.
  if (remembered(before)) {
    made.back = static_cast<std::uint32_t>(number - before);
    use_of(before).forth = made.back;
  }
  range.newest = number;
  // The first use after a fetch is the one that it was fetched for.
  if (!range.fetched) range.rank = kWarmest + touches_;
  range.fetched = false;
}

std::uint64_t Cycle::record(LaunchKey key, std::span<const RangeId> ranges,
                            std::uint64_t duration_ns) {
  const std::uint64_t position = sequence_.record(key);
  launches_[position & (launches_.size() - 1)] = {uses_made_ + 1, now_ns_};
  now_ns_ += duration_ns;
  for (const RangeId id : ranges) use(find_or_make(id), position);
  return position;
}

// The range's first use after the position, or 0. The search begins where the last one ended: the
// cursor moves by single steps, so it seldom passes more than one use.
std::uint64_t Cycle::first_after(Range& range, std::uint64_t position) {
  if (!remembered(range.newest) || use_of(range.newest).position <= position) return 0;
  std::uint64_t number = remembered(range.seen) ? range.seen : range.newest;
  while (use_of(number).position <= position) number += use_of(number).forth;
  while (true) {
    const std::uint64_t before = number - use_of(number).back;
    if (before == number || !remembered(before) || use_of(before).position <= position) break;
    number = before;
  }
  range.seen = number;
  return number;
}

std::optional<NextUse> Cycle::next_use_in(Range& range, std::uint64_t cursor) {
  const std::uint64_t number = first_after(range, cursor);
  if (number == 0) return std::nullopt;
  const std::uint64_t position = use_of(number).position;
  const auto start_of = [&](std::uint64_t at) {
    return launches_[at & (launches_.size() - 1)].start_ns;
  };
  return NextUse{position - cursor, start_of(position) - start_of(cursor + 1)};
}

std::optional<NextUse> Cycle::next_use(RangeId id) {
  const auto cursor = sequence_.cursor();
  Range* range = find(id);
  if (!cursor || range == nullptr) return std::nullopt;
  const auto next = next_use_in(*range, *cursor);
  if (next) return next;
  const auto earlier = sequence_.before(*cursor);
  return earlier ? next_use_in(*range, *earlier) : std::nullopt;
}

bool Cycle::trusted() const {
  return sequence_.locked() && sequence_.confidence() >= kTrustFrom;
}

Candidate Cycle::judged(RangeId id, bool by_cycle) {
  if (by_cycle) {
    const auto next = next_use(id);
    return next ? Candidate{id, next->time_ns, next->launches} : Candidate{id, kNever, kNever};
  }
  const Range* range = find(id);
  return {id, range == nullptr ? kNever : kNever - 1 - range->rank, 0};
}

void Cycle::furthest(std::span<Candidate> candidates) {
  const bool by_cycle = trusted();
  for (Candidate& candidate : candidates) candidate = judged(candidate.range, by_cycle);
  std::sort(candidates.begin(), candidates.end(),
            [](const Candidate& left, const Candidate& right) {
              return left.far != right.far ? left.far > right.far : left.then > right.then;
            });
}

std::size_t Cycle::named_at(std::uint64_t position, std::span<RangeId> ranges) const {
  if (!sequence_.at(position)) return 0;
  std::uint64_t number = launches_[position & (launches_.size() - 1)].first_use;
  std::size_t count = 0;
  for (; count < ranges.size() && remembered(number); ++number, ++count) {
    if (use_of(number).position != position) break;
    ranges[count] = use_of(number).range;
  }
  return count;
}

}  // namespace barswap::policy

#include "policy/cycle.hpp"

#include <doctest/doctest.h>

#include <unordered_map>
#include <unordered_set>

#include "traces.hpp"

namespace barswap::policy {
namespace {

using traces::below;
using traces::key;
using traces::Random;

constexpr CycleLimits kLimits{4096, 16384, 1024};

// A cycle of `count` launches; launch i names range i + 1 and takes i + 1 nanoseconds.
void record_cycle(Cycle& cycle, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    const RangeId range = i + 1;
    cycle.record(key(1, i % 10, i), {&range, 1}, i + 1);
  }
}

std::vector<RangeId> order_of(Cycle& cycle, const std::vector<RangeId>& ranges) {
  std::vector<Candidate> candidates;
  for (const RangeId range : ranges) candidates.push_back({range, 0, 0});
  cycle.furthest(candidates);
  std::vector<RangeId> order;
  for (const Candidate& candidate : candidates) order.push_back(candidate.range);
  return order;
}

TEST_CASE("the next use is that of the last cycle") {
  Cycle cycle(kLimits);
  CHECK_FALSE(cycle.next_use(1).has_value());
  record_cycle(cycle, 100);
  record_cycle(cycle, 100);
  record_cycle(cycle, 100);
  REQUIRE(cycle.trusted());
  std::uint64_t time_ns = 0;
  for (RangeId range = 1; range <= 100; ++range) {
    const auto next = cycle.next_use(range);
    REQUIRE(next.has_value());
    CHECK(next->launches == range);
    CHECK(next->time_ns == time_ns);
    time_ns += range;
  }
  CHECK_FALSE(cycle.next_use(101).has_value());
}

TEST_CASE("a range that the cycle has stopped naming has no next use") {
  Cycle cycle(kLimits);
  const RangeId old = 999;
  cycle.record(key(2, 0), {&old, 1});
  for (int i = 0; i < 5; ++i) record_cycle(cycle, 100);
  CHECK_FALSE(cycle.next_use(old).has_value());
  CHECK(order_of(cycle, {1, old, 100, 50}) == std::vector<RangeId>{old, 100, 50, 1});
}

TEST_CASE("a range that was left out once is still expected") {
  Cycle cycle(kLimits);
  for (int i = 0; i < 3; ++i) record_cycle(cycle, 100);
  for (std::uint64_t i = 0; i < 100; ++i) {
    const RangeId range = i + 1;
    if (i != 40) cycle.record(key(1, i % 10, i), {&range, 1});
  }
  const auto next = cycle.next_use(41);
  REQUIRE(next.has_value());
  CHECK(next->launches == 41);
}

TEST_CASE("without durations the order is that of launches") {
  Cycle cycle(kLimits);
  for (int i = 0; i < 3; ++i)
    for (std::uint64_t j = 0; j < 50; ++j) {
      const RangeId range = j;
      cycle.record(key(1, j), {&range, 1});
    }
  CHECK(order_of(cycle, {3, 1, 49, 20}) == std::vector<RangeId>{49, 20, 3, 1});
}

TEST_CASE("a launch's ranges are told") {
  Cycle cycle(kLimits);
  const std::array<RangeId, 4> named = {7, 8, 7, 9};
  const std::uint64_t position = cycle.record(key(1, 1), named);
  cycle.record(key(1, 2), {});
  std::array<RangeId, 8> ranges{};
  REQUIRE(cycle.named_at(position, ranges) == 3);
  CHECK(ranges[0] == 7);
  CHECK(ranges[1] == 8);
  CHECK(ranges[2] == 9);
  CHECK(cycle.named_at(position, std::span(ranges).first(2)) == 2);
  CHECK(cycle.named_at(position + 1, ranges) == 0);
  CHECK(cycle.named_at(position + 2, ranges) == 0);
}

// Sweeps of `count` ranges over `frames` frames; answers the misses of a sweep once warm.
double misses_of(bool learnable, std::uint64_t count, std::size_t frames) {
  Cycle cycle(kLimits);
  std::unordered_set<RangeId> resident;
  std::size_t misses = 0;
  std::uint64_t unique = 0;
  for (int sweep = 0; sweep < 60; ++sweep) {
    if (sweep == 20) misses = 0;
    for (RangeId range = 1; range <= count; ++range) {
      if (resident.count(range) == 0) {
        ++misses;
        if (resident.size() == frames)
          resident.erase(order_of(cycle, {resident.begin(), resident.end()}).front());
        resident.insert(range);
        cycle.fetched(range);
      }
      cycle.record(learnable ? key(1, range % 10, range) : key(2, 0, ++unique), {&range, 1});
    }
    REQUIRE((cycle.trusted() == learnable || sweep < 3));
  }
  return static_cast<double>(misses) / 40;
}

TEST_CASE("a learnt sweep misses as little as can be") {
  // One more than do not fit: the range that is fetched needs a frame too.
  CHECK(misses_of(true, 100, 80) <= 21);
  CHECK(misses_of(true, 100, 50) <= 51);
}

TEST_CASE("a sweep that is not learnt misses little more") {
  // By recency alone it would miss all 100.
  CHECK(misses_of(false, 100, 80) <= 23);
  CHECK(misses_of(false, 100, 50) <= 57.5);
}

TEST_CASE("without a cursor what was used again leaves last") {
  Cycle cycle(kLimits);
  std::uint64_t unique = 0;
  const auto use = [&](RangeId range) { cycle.record(key(2, 0, ++unique), {&range, 1}); };
  for (RangeId range = 1; range <= 4; ++range) {
    cycle.fetched(range);
    use(range);
  }
  use(2);
  use(1);
  CHECK(order_of(cycle, {1, 2, 3, 4, 99}) == std::vector<RangeId>{99, 4, 3, 2, 1});
}

TEST_CASE("one insertion in 32 is warm") {
  Cycle cycle({256, 256, 16384});
  std::vector<RangeId> ranges;
  for (RangeId range = 1; range <= 3200; ++range) ranges.push_back(range);
  for (const RangeId range : ranges) cycle.fetched(range);
  // Cold ones leave latest first, then come the warm ones, oldest first.
  const std::vector<RangeId> order = order_of(cycle, ranges);
  std::size_t cold = 1;
  while (cold < order.size() && order[cold] < order[cold - 1]) ++cold;
  CHECK(order.size() - cold >= 60);
  CHECK(order.size() - cold <= 140);
  CHECK(std::is_sorted(order.begin() + static_cast<std::ptrdiff_t>(cold), order.end()));
}

// Held against a plain search of what was recorded.
TEST_CASE("next uses are those of a plain search, whatever comes") {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    CAPTURE(seed);
    Random random(seed);
    Cycle cycle({1024, 16384, 4096});
    std::vector<std::vector<RangeId>> named;
    std::uint64_t time_ns = 0;
    std::vector<std::uint64_t> starts;
    const traces::Trace trace = traces::edited(
        [&] {
          traces::Trace all;
          for (int i = 0; i < 20; ++i)
            for (const LaunchKey& launch : traces::model(below(random, 2), 12, 10))
              all.push_back(launch);
          return all;
        }(),
        {0.05, 0.05, 0.05}, seed);
    for (const LaunchKey& launch : trace) {
      std::vector<RangeId> ranges;
      for (std::uint64_t i = below(random, 4); i > 0; --i)
        ranges.push_back(scatter(launch.instance + i) % 60);
      const std::uint64_t duration_ns = below(random, 100);
      cycle.record(launch, ranges, duration_ns);
      named.push_back(ranges);
      starts.push_back(time_ns);
      time_ns += duration_ns;
      const auto search = [&](std::uint64_t cursor, RangeId range) -> std::optional<NextUse> {
        for (std::uint64_t at = cursor + 1; at < named.size(); ++at)
          if (std::find(named[at].begin(), named[at].end(), range) != named[at].end())
            return NextUse{at - cursor, starts[at] - starts[cursor + 1]};
        return std::nullopt;
      };
      const RangeId range = below(random, 60);
      const auto next = cycle.next_use(range);
      std::optional<NextUse> expected;
      if (const auto cursor = cycle.sequence().cursor()) {
        expected = search(*cursor, range);
        const auto before = cycle.sequence().before(*cursor);
        if (!expected && before) expected = search(*before, range);
      }
      REQUIRE(next.has_value() == expected.has_value());
      if (!next) continue;
      REQUIRE(next->launches == expected->launches);
      REQUIRE(next->time_ns == expected->time_ns);
    }
  }
}

TEST_CASE("what does not fit is forgotten and nothing else happens") {
  Random random(3);
  Cycle cycle({256, 64, 32});
  for (int i = 0; i < 20'000; ++i) {
    std::vector<RangeId> ranges;
    for (std::uint64_t n = below(random, i % 1000 == 0 ? 200 : 6); n > 0; --n)
      ranges.push_back(below(random, 100));
    cycle.record(key(1, static_cast<std::uint64_t>(i) % 40), ranges, below(random, 9));
    if (below(random, 4) == 0) cycle.fetched(below(random, 100));
    const auto next = cycle.next_use(below(random, 100));
    if (next) REQUIRE(next->launches <= 256);
    std::array<RangeId, 300> told{};
    REQUIRE(cycle.named_at(static_cast<std::uint64_t>(i), told) <= 64);
  }
  std::vector<RangeId> all;
  for (RangeId range = 0; range < 100; ++range) all.push_back(range);
  std::vector<RangeId> order = order_of(cycle, all);
  std::sort(order.begin(), order.end());
  CHECK(order == all);
}

}  // namespace
}  // namespace barswap::policy

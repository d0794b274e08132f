// Which die a process gets that sees one alone.
#include "policy/choose_die.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace barswap::policy {
namespace {

constexpr auto kMostFree = Processes::most_free;
constexpr auto kRoundRobin = Processes::round_robin;
constexpr auto kLeastBusy = Processes::least_busy;

std::size_t choose(Processes way, const std::vector<DieLoad>& dies,
                   std::optional<std::size_t> last = {}) {
  return choose_die(way, dies, last);
}

// So many processes start at once: each sees the claims of those before it, and no memory taken.
std::vector<std::size_t> crowd(Processes way, std::vector<DieLoad> dies, int processes) {
  std::vector<std::size_t> chosen;
  std::optional<std::size_t> last;
  for (int i = 0; i < processes; ++i) {
    last = choose(way, dies, last);
    ++dies[*last].newcomers;
    chosen.push_back(*last);
  }
  return chosen;
}

TEST_CASE("the die with most free memory, whatever its size") {
  CHECK(choose(kMostFree, {{10_GiB}, {30_GiB}, {20_GiB}}) == 1);
  CHECK(choose(kMostFree, {{10_GiB}}) == 0);
  // What is at work there does not count, if only memory is asked for.
  CHECK(choose(kMostFree, {{10_GiB, 0, 0}, {11_GiB, 100, 9}}) == 1);
}

TEST_CASE("of equals the one with fewer processes, then the first") {
  CHECK(choose(kMostFree, {{10_GiB, 0, 2}, {10_GiB, 0, 1}, {10_GiB, 0, 1}}) == 1);
  CHECK(choose(kMostFree, {{10_GiB}, {10_GiB}}) == 0);
  CHECK(choose(kLeastBusy, {{10_GiB}, {10_GiB}}) == 0);
  CHECK(choose(kMostFree, {{0}, {0}}) == 0);
}

TEST_CASE("who has claimed a die will take a share of it") {
  CHECK(choose(kMostFree, {{80_GiB, 0, 0, 1}, {79_GiB}}) == 1);
  // Half of a large die is more than a small one.
  CHECK(choose(kMostFree, {{80_GiB, 0, 0, 1}, {10_GiB}}) == 0);
  CHECK(choose(kMostFree, {{80_GiB, 0, 0, 8}, {10_GiB}}) == 1);
}

TEST_CASE("those that start together spread") {
  // A little more is free on the third, as it always is somewhere.
  const std::vector<DieLoad> four = {{79_GiB}, {79_GiB}, {80_GiB}, {79_GiB}};
  CHECK(crowd(kMostFree, four, 4) == std::vector<std::size_t>{2, 0, 1, 3});
  CHECK(crowd(kLeastBusy, four, 4) == std::vector<std::size_t>{2, 0, 1, 3});
  CHECK(crowd(kRoundRobin, four, 4) == std::vector<std::size_t>{0, 1, 2, 3});
  const std::vector<DieLoad> two = {{79_GiB}, {80_GiB}};
  CHECK(crowd(kMostFree, two, 4) == std::vector<std::size_t>{1, 0, 1, 0});
  CHECK(crowd(kLeastBusy, two, 4) == std::vector<std::size_t>{1, 0, 1, 0});
  CHECK(crowd(kRoundRobin, two, 4) == std::vector<std::size_t>{0, 1, 0, 1});
}

TEST_CASE("the next die comes after the last, and after the last of all the first") {
  const std::vector<DieLoad> three(3);
  CHECK(choose(kRoundRobin, three) == 0);
  CHECK(choose(kRoundRobin, three, 0) == 1);
  CHECK(choose(kRoundRobin, three, 2) == 0);
  CHECK(choose(kRoundRobin, {{}}, 0) == 0);
}

TEST_CASE("the least busy die, then the one with fewest processes, then with most free") {
  CHECK(choose(kLeastBusy, {{80_GiB, 90, 1}, {10_GiB, 20, 3}}) == 1);
  CHECK(choose(kLeastBusy, {{10_GiB, 0, 1}, {5_GiB, 0, 0}}) == 1);
  CHECK(choose(kLeastBusy, {{10_GiB, 0, 1}, {20_GiB, 0, 1}}) == 1);
  // A difference that the next measurement would not show does not count.
  CHECK(choose(kLeastBusy, {{10_GiB, 3, 5}, {10_GiB, 5, 1}}) == 1);
  // A newcomer is as one that works all the time.
  CHECK(choose(kLeastBusy, {{10_GiB, 0, 0, 1}, {10_GiB, 90, 1}}) == 1);
  CHECK(choose(kLeastBusy, {{10_GiB, 0, 0, 1}, {10_GiB, 100, 2}}) == 0);
}

}  // namespace
}  // namespace barswap::policy

// Trials and turns: pages change places only where that was seen to pay, and then as seldom as can
// be.
#include "policy/turns.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <map>

#include "traces.hpp"

namespace barswap::policy {
namespace {

using traces::key;
using Mode = Trial::Mode;

constexpr std::uint64_t kGib = std::uint64_t{1} << 30;
constexpr std::uint64_t kMs = 1'000'000;

// Reads 3 GiB of the host in this time.
void pass(Trial& trial, int cycles, std::uint64_t elapsed_ns) {
  for (int i = 0; i < cycles; ++i) trial.cycle({elapsed_ns, 3 * kGib});
}

TEST_CASE("what is read once in place is left there") {
  Trial trial;
  pass(trial, 100, 63 * kMs);  // 51 GB/s
  CHECK(trial.mode() == Mode::streaming);
}

TEST_CASE("cycles submitted ahead of the die prove nothing") {
  Trial trial;
  pass(trial, 100, kMs);
  CHECK(trial.mode() == Mode::streaming);
}

TEST_CASE("a trial is kept if it was faster, and given up if it was not") {
  for (const bool faster : {true, false}) {
    Trial trial;
    pass(trial, 2, 500 * kMs);
    REQUIRE(trial.mode() == Mode::trying);
    pass(trial, 2, 900 * kMs);  // settling does not count
    REQUIRE(trial.mode() == Mode::trying);
    pass(trial, 2, faster ? 100 * kMs : 490 * kMs);
    CHECK(trial.moves() == faster);
  }
}

TEST_CASE("each failure makes the next trial rarer") {
  Trial trial;
  int trying = 0;
  std::vector<int> begins;
  for (int i = 0; i < 4000; ++i) {
    const bool before = trial.moves();
    pass(trial, 1, 500 * kMs);
    if (trial.moves() && !before) begins.push_back(i);
    trying += trial.moves() ? 1 : 0;
  }
  REQUIRE(begins.size() >= 4);
  for (std::size_t i = 2; i < begins.size(); ++i)
    CHECK(begins[i] - begins[i - 1] > 3 * (begins[i - 1] - begins[i - 2]) / 2);
  CHECK(trying < 4000 / 50);
}

TEST_CASE("a plan that got worse is given up, one bad cycle is not enough") {
  Trial trial;
  pass(trial, 2, 500 * kMs);
  pass(trial, 4, 100 * kMs);
  REQUIRE(trial.mode() == Mode::moving);
  pass(trial, 2, 800 * kMs);
  pass(trial, 1, 100 * kMs);
  CHECK(trial.mode() == Mode::moving);
  pass(trial, 3, 800 * kMs);
  CHECK(trial.mode() == Mode::streaming);
}

TEST_CASE("exchanges that are refused end it") {
  Trial trial;
  pass(trial, 2, 500 * kMs);
  for (int i = 0; i < 2; ++i) trial.exchanged(false);
  trial.exchanged(true);
  for (int i = 0; i < 2; ++i) trial.exchanged(false);
  CHECK(trial.moves());
  trial.exchanged(false);
  CHECK_FALSE(trial.moves());
}

// Ranges of equal size in a die that holds `room` of them; the rest begins on the host.
struct Die {
  explicit Die(Plan plan, std::uint64_t ranges, std::uint64_t room) : turns(plan) {
    for (RangeId id = 1; id <= ranges; ++id)
      held.push_back({id, kGib, id <= room ? 0 : kGib, true});
  }
  RangeFacts& of(RangeId id) { return held[id - 1]; }

  // Launches at link speed where its range is on the host, in a millisecond else.
  void launch(RangeId id, std::uint64_t reads) {
    turns.launch(key(1, id, id), {&id, 1}, of(id).host_bytes, now_ns);
    if (of(id).host_bytes != 0 && turns.moving()) {
      const Exchange exchange = turns.choose(held, 2 * kGib);
      std::size_t leaving = 0;
      for (const RangeId in : exchange.in) {
        if (leaving == exchange.out.size()) break;
        CHECK(exchange.out[leaving] != id);
        std::swap(of(in).host_bytes, of(exchange.out[leaving++]).host_bytes);
        ++moves;
        now_ns += 25 * kMs;
      }
      turns.exchanged(leaving > 0);
    }
    const bool remote = of(id).host_bytes != 0;
    remote_launches += remote ? 1 : 0;
    now_ns += remote ? reads * 21 * kMs : kMs;
  }

  Turns turns;
  std::vector<RangeFacts> held;
  std::uint64_t now_ns = 1, moves = 0, remote_launches = 0;
};

void sweep(Die& die, int passes, std::uint64_t reads) {
  for (int i = 0; i < passes; ++i)
    for (RangeId id = 1; id <= die.held.size(); ++id) die.launch(id, reads);
}

TEST_CASE("a sweep that reads often takes turns, and moves hardly more than it must") {
  for (const Plan plan : {Plan::automatic, Plan::move}) {
    Die die(plan, 24, 18);
    sweep(die, 20, 8);
    REQUIRE(die.turns.moving());
    die.moves = die.remote_launches = 0;
    sweep(die, 10, 8);
    CHECK(die.remote_launches == 0);
    // Six of 24 do not fit, and what comes in early takes one place more.
    CHECK(die.moves <= 10 * 8);
    CHECK(die.moves >= 10 * 6);
  }
}

TEST_CASE("a sweep that reads once moves nothing") {
  Die die(Plan::automatic, 24, 18);
  sweep(die, 40, 1);
  CHECK(die.moves == 0);
}

TEST_CASE("the policy's word stands") {
  Die die(Plan::stream, 24, 18);
  sweep(die, 40, 8);
  CHECK(die.moves == 0);
}

TEST_CASE("no range is needed and sent away at once, and nothing moves in vain") {
  Turns turns(Plan::move);
  std::vector<RangeId> all{1, 2, 3};
  for (int i = 0; i < 200; ++i)
    turns.launch(key(1, 1, 1), all, kGib, static_cast<std::uint64_t>(i));
  REQUIRE(turns.moving());
  // Everything is named at once: nothing can make place.
  std::vector<RangeFacts> held{{1, kGib, 0, true}, {2, kGib, 0, true}, {3, kGib, kGib, true}};
  CHECK(turns.choose(held, kGib).in.empty());
  // Something that nobody names can.
  held.push_back({9, kGib, 0, true});
  const Exchange exchange = turns.choose(held, kGib);
  CHECK(exchange.in == std::vector<RangeId>{3});
  CHECK(exchange.out == std::vector<RangeId>{9});
  // Unless it must stay.
  held.back().movable = false;
  CHECK(turns.choose(held, kGib).in.empty());
}

}  // namespace
}  // namespace barswap::policy

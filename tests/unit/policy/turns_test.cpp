// Trials and turns: pages change places only where that was seen to pay, and then as seldom as can
// be.
#include "policy/turns.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <map>
#include <random>
#include <span>

#include "traces.hpp"

namespace barswap::policy {
namespace {

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
    pass(trial, 3, 500 * kMs);
    REQUIRE(trial.mode() == Mode::trying);
    pass(trial, 2, 900 * kMs);  // settling does not count
    REQUIRE(trial.mode() == Mode::trying);
    pass(trial, 2, faster ? 100 * kMs : 490 * kMs);
    CHECK(trial.moves() == faster);
  }
}

TEST_CASE("a trial that costs much is given up before it is judged") {
  Trial trial;
  for (int i = 0; i < 3; ++i) trial.cycle({200 * kMs, 3 * kGib, true, 60 * kGib});
  REQUIRE(trial.mode() == Mode::trying);
  pass(trial, 5, 390 * kMs);
  CHECK(trial.moves());
  pass(trial, 1, 390 * kMs);
  CHECK_FALSE(trial.moves());
}

TEST_CASE("one pause of the program ends no trial") {
  Trial trial;
  for (int i = 0; i < 3; ++i) trial.cycle({200 * kMs, 3 * kGib, true, 60 * kGib});
  REQUIRE(trial.mode() == Mode::trying);
  pass(trial, 1, 60'000 * kMs);
  CHECK(trial.moves());
  pass(trial, 1, 60'000 * kMs);
  CHECK(trial.moves());
  pass(trial, 1, 60'000 * kMs);
  CHECK_FALSE(trial.moves());
}

TEST_CASE("a pause of the program is no slow cycle") {
  Trial trial;
  for (int i = 0; i < 50; ++i) {
    pass(trial, 7, 63 * kMs);
    pass(trial, 1, 500 * kMs);
    CHECK(trial.mode() == Mode::streaming);
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
  pass(trial, 3, 500 * kMs);
  pass(trial, 4, 100 * kMs);
  REQUIRE(trial.mode() == Mode::moving);
  pass(trial, 2, 800 * kMs);
  pass(trial, 1, 100 * kMs);
  CHECK(trial.mode() == Mode::moving);
  pass(trial, 3, 800 * kMs);
  CHECK(trial.mode() == Mode::streaming);
}

TEST_CASE("what was only submitted wins no trial and saves no plan") {
  Trial trial;
  pass(trial, 3, 500 * kMs);
  pass(trial, 2, 900 * kMs);
  REQUIRE(trial.mode() == Mode::trying);
  pass(trial, 1, kMs / 10);
  pass(trial, 2, 900 * kMs);
  CHECK(trial.mode() == Mode::streaming);

  Trial won;
  pass(won, 3, 500 * kMs);
  pass(won, 4, 100 * kMs);
  REQUIRE(won.mode() == Mode::moving);
  for (int i = 0; i < 20; ++i) {
    pass(won, 2, 900 * kMs);
    pass(won, 1, kMs / 10);
  }
  CHECK(won.mode() == Mode::streaming);
}

TEST_CASE("exchanges that are refused end it") {
  Trial trial;
  pass(trial, 3, 500 * kMs);
  for (int i = 0; i < 5; ++i) trial.exchanged(false);
  trial.exchanged(true);
  for (int i = 0; i < 5; ++i) trial.exchanged(false);
  CHECK(trial.moves());
  trial.exchanged(false);
  CHECK_FALSE(trial.moves());
}

TEST_CASE("a trial waits for what it needs, and then measures anew") {
  const auto unready = [](Trial& trial, int cycles, std::uint64_t elapsed_ns) {
    for (int i = 0; i < cycles; ++i) trial.cycle({elapsed_ns, 3 * kGib, false});
  };
  Trial trial;
  unready(trial, 20, 500 * kMs);
  CHECK(trial.mode() == Mode::preparing);
  CHECK_FALSE(trial.moves());
  // Another program by now: the old figure must not win the trial for it.
  pass(trial, 40, 63 * kMs);
  CHECK(trial.mode() == Mode::streaming);
  pass(trial, 4, 500 * kMs);
  CHECK(trial.mode() == Mode::trying);
  // What never comes is not waited for for ever.
  Trial alone;
  unready(alone, 100, 500 * kMs);
  CHECK(alone.mode() != Mode::preparing);
}

TEST_CASE("what a trial needs is made once turns could have repaid it") {
  const auto unready = [](Trial& trial, int cycles, std::uint64_t elapsed_ns) {
    for (int i = 0; i < cycles; ++i) trial.cycle({elapsed_ns, 3 * kGib, false, 12 * kGib});
  };
  // 12 GiB are made in 4 s; at their best turns save 60 ms a cycle here.
  Trial trial;
  unready(trial, 40, 120 * kMs);
  CHECK(trial.mode() == Mode::streaming);
  unready(trial, 40, 120 * kMs);
  CHECK(trial.mode() == Mode::preparing);
  // Another phase owes nothing to what this one saw.
  trial.restart();
  unready(trial, 40, 120 * kMs);
  CHECK(trial.mode() == Mode::streaming);
  // A cycle that takes many times as long as the link leaves no doubt.
  Trial clear;
  unready(clear, 4, 500 * kMs);
  CHECK(clear.mode() == Mode::preparing);
}

TEST_CASE("a trial is not judged before all that takes turns has come in once") {
  Trial trial;
  for (int i = 0; i < 3; ++i) trial.cycle({500 * kMs, 3 * kGib, true, 12 * kGib});
  REQUIRE(trial.mode() == Mode::trying);
  pass(trial, 6, 900 * kMs);
  pass(trial, 2, 100 * kMs);
  CHECK(trial.mode() == Mode::moving);
}

// Ranges of equal size in a die that holds `room` of them; the rest begins on the host.
struct Die {
  explicit Die(Plan plan, std::uint64_t ranges, std::uint64_t room, Beside beside = Beside::nothing)
      : turns(plan, beside) {
    for (RangeId id = 1; id <= ranges; ++id)
      held.push_back({id, kGib, id <= room ? 0 : kGib, true});
  }
  RangeFacts& of(RangeId id) {
    return *std::find_if(held.begin(), held.end(),
                         [&](const RangeFacts& facts) { return facts.id == id; });
  }
  OnHost on_host(std::span<const RangeId> ids) {
    OnHost host;
    for (std::size_t i = 0; i < ids.size(); ++i) host.add(i, of(ids[i]).host_bytes);
    return host;
  }

  void launch(RangeId id, std::uint64_t reads) { launch(id, {&id, 1}, reads); }
  // Reads what lies on the host over the link, and takes a millisecond at least.
  void launch(std::uint64_t variant, std::span<const RangeId> ids, std::uint64_t reads) {
    turns.launch(1, variant, ids, on_host(ids), now_ns);
    const bool stripe = turns.stripe_due();
    if (stripe || turns.turn_due(on_host(ids).bytes)) {
      const Exchange exchange = stripe ? turns.stripe(held) : turns.choose(held, turn_bytes);
      CHECK(exchange.stripe == stripe);
      if (!exchange.in.empty()) turns_at.push_back(turns.cycle().sequence().recorded());
      if (stripe || !exchange.in.empty())
        turns.exchanged(exchange, !exchange.later && change(exchange));
    }
    const OnHost read = on_host(ids);
    const std::uint64_t elapsed_ns = std::max(kMs, reads * 21 * kMs * read.bytes / kGib);
    remote_launches += read.bytes != 0 ? 1 : 0;
    now_ns += elapsed_ns;
    if (!times || !turns.reuse().wants_time(variant, read)) return;
    turns.reuse().expect(variant);
    turns.reuse().timed(variant, read, elapsed_ns);
  }
  bool change(const Exchange& exchange) {
    stripes += exchange.stripe && !exchange.in.empty() ? 1 : 0;
    for (const Part& out : exchange.out) {
      if (free_bytes >= exchange.in_bytes) break;
      RangeFacts& facts = of(out.id);
      const std::uint64_t bytes = std::min(out.bytes, facts.bytes - facts.host_bytes);
      facts.host_bytes += bytes;
      free_bytes += bytes;
    }
    for (const Part& in : exchange.in) {
      RangeFacts& facts = of(in.id);
      const std::uint64_t bytes = std::min({in.bytes, facts.host_bytes, free_bytes});
      facts.host_bytes -= bytes;
      free_bytes -= bytes;
      bytes_in += bytes;
      now_ns += 25 * kMs * bytes / kGib;
    }
    return !exchange.in.empty();
  }

  Turns turns;
  std::vector<RangeFacts> held;
  std::uint64_t turn_bytes = 2 * kGib;
  bool times = false;  // launches are timed where that is wanted
  std::vector<std::uint64_t> turns_at;  // launches
  std::uint64_t now_ns = 1, bytes_in = 0, free_bytes = 0, remote_launches = 0, stripes = 0;
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
    die.bytes_in = die.remote_launches = 0;
    sweep(die, 10, 8);
    CHECK(die.remote_launches == 0);
    // Six of 24 do not fit, and what comes in early takes one place more.
    CHECK(die.bytes_in <= 10 * 8 * kGib);
    CHECK(die.bytes_in >= 10 * 6 * kGib);
    CHECK(die.stripes == 0);
  }
}

// What is missing lies side by side at first, at the end of the cycle: 24 of 96.
TEST_CASE("where work goes on beside turns, these are as far apart as can be") {
  for (const Beside beside : {Beside::work, Beside::nothing}) {
    constexpr std::uint64_t kRanges = 96;
    Die die(Plan::move, kRanges, 72, beside);
    sweep(die, 6, 8);
    die.bytes_in = die.remote_launches = 0;
    die.turns_at.clear();
    sweep(die, 10, 8);
    std::uint64_t widest = 0;
    for (std::size_t i = 1; i < die.turns_at.size(); ++i)
      widest = std::max(widest, die.turns_at[i] - die.turns_at[i - 1]);
    if (beside == Beside::work) CHECK(widest <= 2 * kRanges / 12);
    else CHECK(widest > kRanges / 2);
    CHECK(die.remote_launches == 0);
    CHECK(die.bytes_in <= 10 * 27 * kGib);
  }
}

// The same weights at two batch sizes, as eager code runs them: a product, and what works on its
// output. The output of the pass before is held, so that its buffer changes with each pass.
TEST_CASE("a batch that reads often takes turns soon after one that reads once") {
  constexpr std::uint64_t kWeights = 96, kBuffer = kGib / 16;
  constexpr RangeId kOutput = 200, kBuffers = 201;
  for (const int before : {0, 20, 200}) {
    CAPTURE(before);
    Die die(Plan::automatic, kWeights, 72);
    sweep(die, before, 1);
    CHECK_FALSE(die.turns.moving());
    die.held.push_back({kOutput, kBuffer, 0, true});
    for (RangeId id = kBuffers; id < kBuffers + 3; ++id) die.held.push_back({id, kBuffer, 0, true});
    for (std::uint64_t pass = 0; pass < 12; ++pass)
      for (RangeId id = 1; id <= kWeights; ++id) {
        const RangeId there = kBuffers, here = kBuffers + 1 + pass % 2;
        const RangeId from = id % 2 == 0 ? here : there, to = id % 2 == 0 ? there : here;
        die.launch(2, std::array{id, from, kOutput}, 8);
        die.launch(3, std::array{kOutput, to}, 8);
      }
    CHECK(die.turns.moving());
    CHECK(die.turns.cycle().sequence().period() == kWeights);
  }
}

TEST_CASE("a sweep that reads once is spread evenly once that is repaid, and then left alone") {
  Die die(Plan::automatic, 24, 18);
  // Only HBM that is read beside the link is gained: 1/75 of 18 GiB a cycle, for 4.5 GiB moved.
  sweep(die, 60, 1);
  CHECK(die.stripes == 0);
  sweep(die, 240, 1);
  CHECK(die.stripes == 1);
  CHECK(die.bytes_in < 6 * kGib);
  for (const RangeFacts& facts : die.held)
    CHECK(static_cast<double>(facts.host_bytes) == doctest::Approx(kGib / 4).epsilon(0.01));
}

// A sweep from one into the other and back. Halves of both cross the link both ways at once.
TEST_CASE("what one launch reads and writes is spread soon, so that the link works both ways") {
  Die die(Plan::automatic, 2, 1);
  const auto sweeps = [&](int pairs) {
    for (int i = 0; i < pairs; ++i) {
      die.launch(1, std::array<RangeId, 2>{1, 2}, 1);
      die.launch(1, std::array<RangeId, 2>{2, 1}, 1);
    }
  };
  // A cycle as short as this one is learnt after some 40 launches.
  sweeps(15);
  CHECK(die.stripes == 0);
  CHECK_FALSE(die.turns.spread());
  sweeps(15);
  CHECK(die.stripes == 1);
  CHECK(die.turns.spread());
  for (const RangeFacts& facts : die.held)
    CHECK(static_cast<double>(facts.host_bytes) == doctest::Approx(kGib / 2).epsilon(0.01));
  sweeps(100);
  CHECK(die.stripes == 1);
}

TEST_CASE("of ranges that are one page each, every fourth stays on the host") {
  Die die(Plan::automatic, 24, 18);
  for (RangeFacts& facts : die.held) facts.page_bytes = facts.bytes;
  sweep(die, 300, 1);
  CHECK(die.stripes == 1);
  std::uint64_t away = 0;
  for (std::size_t i = 0; i < die.held.size(); ++i) {
    const RangeFacts& facts = die.held[i];
    CHECK((facts.host_bytes == 0 || facts.host_bytes == facts.bytes));
    away += facts.host_bytes > 0 ? 1 : 0;
    CHECK(away >= i / 4);
    CHECK(away <= i / 4 + 1);
  }
  CHECK(away == 6);
}

TEST_CASE("what is read again and again in place is soon in HBM") {
  Die die(Plan::automatic, 24, 18);
  const auto pass = [&] {
    for (RangeId id = 1; id <= 24; ++id)
      for (int again = 0; again < (id > 20 ? 6 : 1); ++again) die.launch(id, 1);
  };
  for (int i = 0; i < 8; ++i) pass();
  CHECK(die.stripes == 1);
  for (RangeId id = 21; id <= 24; ++id) CHECK(die.of(id).host_bytes == 0);
}

TEST_CASE("a trial is prepared to its end, whatever becomes of the spread meanwhile") {
  Die die(Plan::automatic, 24, 18);
  const auto pass = [&](std::uint64_t reads) {
    for (RangeId id = 1; id <= 24; ++id)
      for (int again = 0; again < (id > 20 ? 6 : 1); ++again) die.launch(id, reads);
  };
  for (int i = 0; i < 8; ++i) pass(1);
  REQUIRE(die.stripes == 1);
  die.turns.prepared(false);
  for (int i = 0; i < 8; ++i) pass(8);
  REQUIRE(die.turns.mode() == Mode::preparing);
  // Others take HBM: what the cycle reads over the link grows.
  for (RangeId id = 21; id <= 24; ++id) die.of(id).host_bytes = kGib;
  for (int i = 0; i < 8; ++i) pass(8);
  die.turns.prepared(true);
  for (int i = 0; i < 20; ++i) pass(8);
  CHECK(die.turns.moving());
}

TEST_CASE("a graph that reads often says nothing of the launches that it was made of") {
  Die die(Plan::automatic, 24, 18);
  std::vector<RangeId> all;
  for (const RangeFacts& facts : die.held) all.push_back(facts.id);
  die.turns.prepared(false);
  for (int pass = 0; pass < 40; ++pass) die.launch(7, all, 8);
  die.turns.prepared(true);
  sweep(die, 6, 1);
  die.bytes_in = 0;
  sweep(die, 60, 1);
  CHECK_FALSE(die.turns.moving());
  CHECK(die.bytes_in < 6 * kGib);
}

TEST_CASE("what a graph names once and works on often is spread last") {
  Turns turns(Plan::automatic);
  std::vector<RangeFacts> held;
  std::vector<RangeId> all;
  for (RangeId id = 1; id <= 24; ++id) {
    held.push_back({id, kGib, id <= 18 ? 0 : kGib, true,
                    id <= 22 ? 15 + static_cast<std::uint32_t>(id % 2) : 900});
    all.push_back(id);
  }
  for (std::uint64_t pass = 1; !turns.stripe_due() && pass < 50; ++pass)
    turns.launch(1, 1, all, {6 * kGib, 1}, pass * 500 * kMs);
  REQUIRE(turns.stripe_due());
  const Exchange exchange = turns.stripe(held);
  std::map<RangeId, std::uint64_t> in;
  for (const Part& part : exchange.in) in[part.id] = part.bytes;
  CHECK((in[23] == kGib && in[24] == kGib));
  for (RangeId id = 19; id <= 22; ++id)
    CHECK(static_cast<double>(in[id]) == doctest::Approx(16.0 / 22 * kGib).epsilon(0.01));
}

TEST_CASE("models that run in turn have HBM in turn, from the third cycle of each stay on") {
  Die die(Plan::automatic, 30, 12);
  for (int stay = 0; stay < 9; ++stay) {
    const RangeId first = 1 + static_cast<RangeId>(stay % 3) * 10;
    for (int pass = 0; pass < 20; ++pass) {
      if (pass == (stay < 3 ? 8 : 4)) die.remote_launches = 0;
      for (RangeId id = first; id < first + 10; ++id) die.launch(id, 1);
    }
    CAPTURE(stay);
    CHECK(die.remote_launches == 0);
  }
  // Once for each stay, whole.
  CHECK(die.bytes_in <= 9 * 10 * kGib);
}

TEST_CASE("stays that are too short for it cost few spreads") {
  for (const int passes : {4, 5, 6}) {
    CAPTURE(passes);
    Die die(Plan::automatic, 20, 10);
    for (int stay = 0; stay < 200; ++stay)
      for (int pass = 0; pass < passes; ++pass) {
        const RangeId first = 1 + static_cast<RangeId>(stay % 2) * 10;
        for (RangeId id = first; id < first + 10; ++id) die.launch(id, 1);
      }
    CHECK(die.stripes <= 20);
  }
}

TEST_CASE("a spread that is refused comes again, but not for ever") {
  Turns turns(Plan::automatic);
  std::vector<RangeFacts> held;
  for (RangeId id = 1; id <= 6; ++id) held.push_back({id, kGib, id <= 3 ? 0 : kGib, true});
  int due = 0;
  const auto cycles = [&](int count, bool made) {
    for (int pass = 0; pass < count; ++pass)
      for (RangeId launch = 1; launch <= 15; ++launch) {
        const RangeId id =
            launch <= 3 ? launch : 4 + launch / 4 % 3;  // those on the host four times
        turns.launch(1, id, {&id, 1}, {kGib, 1}, static_cast<std::uint64_t>(pass) * kMs);
        if (!turns.stripe_due()) continue;
        ++due;
        turns.exchanged(turns.stripe(held), made);
      }
  };
  cycles(20, false);
  CHECK(due > 3);
  cycles(200, false);
  CHECK(due == 16);
}

TEST_CASE("a launch may name any number of ranges") {
  Turns turns(Plan::automatic);
  std::vector<RangeId> all;
  std::vector<RangeFacts> held;
  for (RangeId id = 1; id <= 200; ++id) {
    all.push_back(id);
    held.push_back({id, kGib, id <= 100 ? 0 : kGib, true});
  }
  for (int pass = 0; pass < 200 && !turns.stripe_due(); ++pass)
    turns.launch(1, 1, all, {100 * kGib, 1}, static_cast<std::uint64_t>(pass) * kMs);
  REQUIRE(turns.stripe_due());
  const Exchange exchange = turns.stripe(held);
  CHECK(exchange.in.size() == 100);
  for (const Part& part : exchange.in) CHECK(part.bytes == kGib / 2);
  for (const Part& part : exchange.out) CHECK(part.bytes == kGib / 2);
}

TEST_CASE("what a cycle names more often stays whole, what it does not name goes") {
  Turns turns(Plan::automatic);
  const RangeId once = 11;
  turns.launch(2, 2, {&once, 1}, {}, 1);
  for (int pass = 0; pass < 20 && !turns.stripe_due(); ++pass)
    for (RangeId id = 1; id <= 6 && !turns.stripe_due(); ++id) {
      const RangeId named[] = {id, 10};
      turns.launch(1, id, named, {kGib, 1}, static_cast<std::uint64_t>(pass) * kMs);
    }
  REQUIRE(turns.stripe_due());
  // Four of eight fit: 10 is named by all, 11 no more, and 12 is not known.
  std::vector<RangeFacts> held;
  for (RangeId id = 1; id <= 6; ++id) held.push_back({id, kGib, id <= 3 ? 0 : kGib, true});
  held.push_back({10, kGib, kGib, true});
  held.push_back({11, kGib, 0, true});
  held.push_back({12, kGib, 0, true});
  const Exchange exchange = turns.stripe(held);
  for (const Part& in : exchange.in) CHECK((in.id == 10) == (in.bytes == kGib));
  CHECK(exchange.in.front() == Part{10, kGib});
  CHECK(exchange.out.back() == Part{11, kGib});
  CHECK(exchange.in.size() == 4);
  CHECK(exchange.out.size() == 4);
  // Nearly so already: nothing to do.
  held = {{1, kGib, kGib / 2, true}, {2, kGib, kGib / 2 + (1 << 20), true}};
  CHECK(turns.stripe(held).in.empty());
}

TEST_CASE("what one kernel reads often comes in before anything repeats") {
  for (const std::uint64_t reads : {1, 8}) {
    Die die(Plan::automatic, 24, 18);
    die.times = true;
    std::mt19937 random(5);
    for (int i = 0; i < 200; ++i) die.launch(100, std::array<RangeId, 1>{1 + random() % 24}, reads);
    CHECK(die.turns.mode() == Mode::streaming);
    CHECK((die.bytes_in > 0) == (reads > 1));
    CHECK(die.turns.turning() == (reads > 1));
    die.remote_launches = 0;
    for (int i = 0; i < 100; ++i) die.launch(100, std::array<RangeId, 1>{1 + random() % 24}, reads);
    CHECK((die.remote_launches == 0) == (reads > 1));
    // Once the program does something else, over and over, nothing is left free for the next.
    std::vector<RangeId> all;
    for (RangeId id = 1; id <= 24; ++id) all.push_back(id);
    for (int i = 0; i < 80; ++i) die.launch(200, all, 1);
    CHECK(die.turns.cycle().sequence().period() == 1);
    CHECK_FALSE(die.turns.turning());
  }
}

TEST_CASE("the policy of reading in place holds for kernels that read often, too") {
  Die die(Plan::stream, 24, 18);
  die.times = true;
  for (int i = 0; i < 200; ++i) die.launch(100, std::array<RangeId, 1>{1 + i * 7 % 24ull}, 8);
  CHECK(die.bytes_in == 0);
}

TEST_CASE("a launch that would fill HBM alone brings nothing in") {
  Die die(Plan::automatic, 24, 18);
  die.times = true;
  std::mt19937 random(5);
  for (int i = 0; i < 100; ++i) {
    std::vector<RangeId> ids;
    for (RangeId id = 1; id <= 24; ++id)
      if (random() % 24 < 13) ids.push_back(id);
    if (ids.size() > 9) die.launch(100, ids, 8);
  }
  CHECK(die.bytes_in == 0);
  CHECK_FALSE(die.turns.turning());
}

TEST_CASE("what nearly all launches name comes in with what one of them reads often") {
  Die die(Plan::automatic, 24, 18);
  die.times = true;
  std::mt19937 random(5);
  // 24 lies on the host, and is read once by each launch of a kernel of which nobody is brought in.
  for (int i = 0; i < 600; ++i) {
    die.launch(200, std::array<RangeId, 2>{1 + random() % 18, 24}, 1);
    if (i >= 400) die.launch(100, std::array<RangeId, 1>{19 + random() % 4}, 8);
  }
  CHECK(die.of(24).host_bytes == 0);
}

// HBM holds two thirds of two models; each runs some cycles of the same kernel. What a model that
// returns needs comes in once: it does not take the places of its own.
TEST_CASE("a model that is known comes in within a cycle") {
  constexpr std::uint64_t kWeights = 48;
  for (const std::uint64_t cycles : {12, 5, 30}) {
    CAPTURE(cycles);
    Die die(Plan::automatic, 3 * kWeights, kWeights + 8);
    die.times = true;
    for (std::uint64_t phase = 0; phase < 9; ++phase)
      for (std::uint64_t cycle = 0; cycle < cycles; ++cycle) {
        die.bytes_in = 0;
        for (RangeId id = 1; id <= kWeights; ++id)
          die.launch(100, std::array<RangeId, 1>{phase % 3 * kWeights + id}, 8);
        if (phase < 6) continue;
        CAPTURE(phase);
        CAPTURE(cycle);
        // Once it is measured, some may be spread.
        CHECK(die.bytes_in <= (cycle == 0 ? kWeights + 4 : cycle == 1 ? 4 : 8) * kGib);
      }
  }
}

// All that HBM holds is expected soon, as long as the last cycle is believed in.
TEST_CASE("a launch that nobody expected comes in before what was expected") {
  constexpr RangeId kRanges = 24, kNew = 50, kUnnamed = 100;
  Turns turns(Plan::move);
  std::uint64_t now_ns = 0;
  const auto sweep_of = [&](int cycles, RangeId first, RangeId last) {
    for (int cycle = 0; cycle < cycles; ++cycle)
      for (RangeId id = first; id <= last; ++id)
        turns.launch(1, id, {&id, 1}, {}, now_ns += kMs);
  };
  sweep_of(10, 1, kRanges);
  sweep_of(10, kRanges + 1, 2 * kRanges);
  // Taken to be there for two cycles more.
  sweep_of(1, 1, kRanges / 2);
  REQUIRE(turns.cycle().trusted());
  std::vector<RangeFacts> held;
  for (RangeId id = 1; id <= kRanges; ++id) held.push_back({id, kGib, 0, true});
  held.push_back({kNew, kGib, kGib, true});
  held.push_back({kUnnamed, 2 * kGib, 0, true});
  turns.launch(1, kNew, {&kNew, 1}, {kGib, 1}, now_ns += kMs);
  const Exchange exchange = turns.choose(held, 2 * kGib);
  CHECK(exchange.in == std::vector<Part>{{kNew, ~std::uint64_t{0}}});
  REQUIRE(!exchange.out.empty());
  // What is needed last leaves first.
  CHECK(exchange.out.front().id >= kRanges / 2);
  CHECK(exchange.out.front().id <= kRanges / 2 + 2);
}

TEST_CASE("a cycle whose midst is another each time is spread all the same") {
  Die die(Plan::automatic, 48, 36);
  std::mt19937 random(5);
  for (int pass = 0; pass < 100; ++pass) {
    std::vector<RangeId> ids;
    for (RangeId id = 1; id <= 48; ++id) ids.push_back(id);
    std::shuffle(ids.begin() + 16, ids.begin() + 32, random);
    for (const RangeId id : ids) die.launch(id, 1);
  }
  CHECK(die.stripes >= 1);
  CHECK(die.stripes <= 3);
}

TEST_CASE("the policy's word stands") {
  Die die(Plan::stream, 24, 18);
  sweep(die, 40, 8);
  CHECK(die.bytes_in == 0);
}

TEST_CASE("no range is needed and sent away at once, and nothing moves in vain") {
  Turns turns(Plan::move);
  std::vector<RangeId> all{1, 2, 3};
  for (int i = 0; i < 200; ++i)
    turns.launch(1, 1, all, {kGib, 1}, static_cast<std::uint64_t>(i));
  REQUIRE(turns.moving());
  // Everything is named at once: nothing can make place.
  std::vector<RangeFacts> held{{1, kGib, 0, true}, {2, kGib, 0, true}, {3, kGib, kGib, true}};
  CHECK(turns.choose(held, kGib).in.empty());
  // Something that nobody ever named stays, too: nobody knows whether it is used.
  held.push_back({9, kGib, 0, true});
  CHECK(turns.choose(held, kGib).in.empty());
  // What is named no more leaves.
  const RangeId once = 9;
  turns.launch(2, 2, {&once, 1}, {}, 200);
  for (int i = 0; i < 50; ++i) turns.launch(1, 1, all, {kGib, 1}, static_cast<std::uint64_t>(i));
  const Exchange exchange = turns.choose(held, kGib);
  REQUIRE(exchange.in.size() == 1);
  CHECK(exchange.in.front().id == 3);
  REQUIRE(exchange.out.size() == 1);
  CHECK(exchange.out.front().id == 9);
  // Unless it must stay.
  held.back().movable = false;
  CHECK(turns.choose(held, kGib).in.empty());
}

}  // namespace
}  // namespace barswap::policy

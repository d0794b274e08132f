// Reuse: what launches take tells which kernels read often what lies on the host.
#include "policy/reuse.hpp"

#include <doctest/doctest.h>

namespace barswap::policy {
namespace {

constexpr std::uint64_t kMib = std::uint64_t{1} << 20, kMs = 1'000'000;
constexpr std::uint64_t kKernel = 7, kOther = 8;
constexpr auto kAlone = Reuse::Turn::alone;
constexpr std::uint32_t kInput = 1, kWeights = 2, kOutput = 4;

OnHost on(std::uint64_t bytes, std::uint32_t which = kInput) {
  return {bytes, bytes == 0 ? 0 : which};
}

// A launch as foresight makes it: what it misses comes in if that is advised, and it is timed if
// that is wanted. Answers whether it was brought in.
bool launch(Reuse& reuse, const OnHost& host, std::uint64_t in_place_ns,
            std::uint64_t resident_ns, Reuse::Turn turn = kAlone) {
  const bool fetched = reuse.launch(kKernel, host, turn);
  const OnHost now = fetched ? OnHost() : host;
  if (reuse.wants_time(kKernel, now)) {
    reuse.expect(kKernel);
    reuse.timed(kKernel, now, fetched ? resident_ns : in_place_ns);
  }
  return fetched;
}

int fetched_of(int launches, Reuse& reuse, const OnHost& host, std::uint64_t in_place_ns,
               std::uint64_t resident_ns, Reuse::Turn turn = kAlone) {
  int count = 0;
  for (int i = 0; i < launches; ++i)
    count += launch(reuse, host, in_place_ns, resident_ns, turn) ? 1 : 0;
  return count;
}

TEST_CASE("what is read once in place stays there") {
  Reuse reuse;
  CHECK(fetched_of(200, reuse, on(32 * kMib), 680'000, 20'000) == 0);
}

// 32 MiB over PCIe 4 take as long as reading them twice over PCIe 5.
TEST_CASE("on a slow link reading once takes longer, and stays in place") {
  constexpr std::uint64_t kOnceNs = 1'400'000;
  Link link;
  link.measured(13);  // beside other traffic
  link.measured(25);
  Reuse knows, learns;
  knows.link(link);
  CHECK(fetched_of(200, knows, on(32 * kMib), kOnceNs, 20'000) == 0);
  // What was taken for often before anything was measured comes in once more, and then no more.
  CHECK(fetched_of(20, learns, on(32 * kMib), kOnceNs, 20'000, Reuse::Turn::batched) > 10);
  learns.link(link);
  CHECK(fetched_of(200, learns, on(32 * kMib), kOnceNs, 20'000) <= 1);
}

TEST_CASE("the link is a bound from above, and never less than what it has shown") {
  Link link;
  const double unmeasured = link.bytes_per_ns();
  link.measured(0);
  CHECK(link.bytes_per_ns() == unmeasured);
  link.measured(0.95 * unmeasured);  // as its copies reach there
  CHECK(link.bytes_per_ns() == unmeasured);
  link.measured(25);
  CHECK(link.bytes_per_ns() == doctest::Approx(27.5));
  link.measured(400);
  CHECK(link.bytes_per_ns() == 400);
  CHECK(link.ns(4000) == doctest::Approx(10));
}

TEST_CASE("what is read often comes in, after one launch that is not timed and one that is") {
  Reuse reuse;
  CHECK(fetched_of(2, reuse, on(96 * kMib), 11 * kMs, 200'000) == 0);
  CHECK(fetched_of(16, reuse, on(96 * kMib), 11 * kMs, 200'000) == 15);  // one is timed once more
  CHECK(fetched_of(1000, reuse, on(96 * kMib), 11 * kMs, 200'000) == 1000);
  CHECK(fetched_of(1000, reuse, on(96 * kMib), 11 * kMs, 200'000) == 999);
  CHECK(reuse.often(kKernel));
  CHECK_FALSE(reuse.often(kOther));
}

TEST_CASE("a kernel that takes as long in HBM is brought in once, to know it, and no more") {
  Reuse reuse;
  CHECK(fetched_of(100, reuse, on(32 * kMib), 5 * kMs, 4'900'000) == 1);
  CHECK_FALSE(reuse.often(kKernel));
}

TEST_CASE("one passing delay is believed for a few launches") {
  Reuse reuse;
  CHECK(fetched_of(1, reuse, on(32 * kMib), 680'000, 20'000) == 0);
  CHECK(fetched_of(1, reuse, on(32 * kMib), 9 * kMs, 20'000) == 0);
  CHECK(fetched_of(300, reuse, on(32 * kMib), 680'000, 20'000) == 47);
  CHECK(fetched_of(2000, reuse, on(32 * kMib), 680'000, 20'000) == 0);
}

TEST_CASE("what stops reading often is left in place again") {
  Reuse reuse;
  CHECK(fetched_of(1000, reuse, on(32 * kMib), 3 * kMs, 20'000) >= 990);
  CHECK(fetched_of(1100, reuse, on(32 * kMib), 680'000, 20'000) < 1000);
  CHECK(fetched_of(1000, reuse, on(32 * kMib), 680'000, 20'000) == 0);
}

TEST_CASE("the look at what is brought in is one launch, whatever is submitted behind it") {
  Reuse reuse;
  CHECK(fetched_of(5, reuse, on(96 * kMib), 11 * kMs, 200'000) == 3);
  int in_place = 0;
  for (int i = 0; i < 40; ++i) {
    const bool fetched = reuse.launch(kKernel, on(96 * kMib), kAlone);
    in_place += fetched ? 0 : 1;
    // Whoever comes behind it would wait in a drain as well.
    CHECK(reuse.undecided(kKernel, on(96 * kMib)) == (fetched && in_place != 0));
    if (fetched) continue;
    CHECK(reuse.wants_time(kKernel, on(96 * kMib)));
    reuse.expect(kKernel);
  }
  CHECK(in_place == 1);
  reuse.timed(kKernel, on(96 * kMib), 0);
  CHECK_FALSE(reuse.undecided(kKernel, on(96 * kMib)));
}

TEST_CASE("a look of which nothing comes is tried again, ever more seldom") {
  Reuse reuse;
  CHECK(fetched_of(5, reuse, on(96 * kMib), 11 * kMs, 200'000) == 3);
  int in_place = 0;
  for (int i = 0; i < 4000; ++i) {
    if (reuse.launch(kKernel, on(96 * kMib), kAlone)) continue;
    ++in_place;
    if (i % 2 == 0) continue;  // it is not timed at all
    reuse.expect(kKernel);
    reuse.timed(kKernel, on(96 * kMib), 0);
  }
  CHECK(in_place >= 4);
  CHECK(in_place <= 10);
}

TEST_CASE("a kernel is looked at again, after twice as many launches each time") {
  Reuse reuse;
  int wanted = 0;
  for (int i = 0; i < 1000; ++i) {
    (void)reuse.launch(kKernel, on(32 * kMib), kAlone);
    if (!reuse.wants_time(kKernel, on(32 * kMib))) continue;
    ++wanted;
    reuse.expect(kKernel);
    reuse.timed(kKernel, on(32 * kMib), 680'000);
  }
  CHECK(wanted >= 5);
  CHECK(wanted <= 8);
  // Now another of its operands is on the host.
  CHECK(fetched_of(3000, reuse, on(32 * kMib), 9 * kMs, 20'000) > 0);
}

TEST_CASE("a turn for several launches pays sooner than one for a launch alone") {
  // 32 MiB are 0.61 ms over the link; in place they take 2.1 times as long.
  for (const auto turn : {Reuse::Turn::alone, Reuse::Turn::batched}) {
    Reuse reuse;
    const int fetched = fetched_of(100, reuse, on(32 * kMib), 1'350'000, 50'000, turn);
    CHECK(fetched == (turn == kAlone ? 1 : 97));
  }
}

// A product reads its input for every tile of its output, and its weights about once.
TEST_CASE("what is learnt of one operand says nothing of another, and something of both") {
  Reuse reuse;
  constexpr std::uint64_t kLinkNs = 680'000;  // of 32 MiB
  CHECK(fetched_of(50, reuse, on(32 * kMib, kWeights), kLinkNs, 20'000) == 0);
  CHECK(fetched_of(1, reuse, on(32 * kMib, kInput), 9 * kMs, 20'000) == 0);
  CHECK(fetched_of(100, reuse, on(32 * kMib, kInput), 9 * kMs, 20'000) == 99);
  // With both there it is brought in on trust, and looked at after a few launches.
  CHECK(fetched_of(16, reuse, on(64 * kMib, kInput | kWeights), 10 * kMs, 20'000) == 16);
  CHECK_FALSE(reuse.undecided(kKernel, on(64 * kMib, kInput | kWeights)));
  CHECK(fetched_of(100, reuse, on(64 * kMib, kInput | kWeights), 10 * kMs, 20'000) == 98);
  // Another look at the weights does not take back what is known of the input.
  CHECK(fetched_of(1000, reuse, on(32 * kMib, kWeights), kLinkNs, 20'000) == 0);
  CHECK(fetched_of(10, reuse, on(32 * kMib, kInput), 9 * kMs, 20'000) >= 9);
  // Of the output nothing is known yet.
  CHECK(fetched_of(1, reuse, on(32 * kMib, kOutput), kLinkNs, 20'000) == 0);
  CHECK_FALSE(reuse.wants_time(kKernel, on(32 * kMib, kOutput)));
  // With the input it comes in, at first; and is found to be left alone by itself.
  CHECK(fetched_of(10, reuse, on(64 * kMib, kInput | kOutput), 9 * kMs, 20'000) == 10);
  CHECK(fetched_of(100, reuse, on(32 * kMib, kOutput), kLinkNs, 20'000) == 0);
}

TEST_CASE("of a kernel with very many operands the first few places are told apart") {
  Reuse reuse;
  CHECK(fetched_of(20, reuse, on(32 * kMib, 1), 680'000, 20'000) == 0);
  for (std::uint32_t which = 2; which < 200; ++which)
    CHECK(fetched_of(1, reuse, on(32 * kMib, which), 680'000, 20'000) == 0);
  // All others count as one.
  CHECK(fetched_of(300, reuse, on(32 * kMib, 1000), 9 * kMs, 20'000) > 0);
  CHECK(fetched_of(10, reuse, on(32 * kMib, 2000), 9 * kMs, 20'000) >= 9);
  CHECK(fetched_of(10, reuse, on(32 * kMib, 1), 680'000, 20'000) == 0);
  // One of these that is read once does not take back what is known of another operand.
  Reuse many;
  CHECK(fetched_of(300, many, on(32 * kMib, 1), 9 * kMs, 20'000) >= 290);
  for (std::uint32_t bit = 1; bit < 12; ++bit)
    CHECK(fetched_of(40, many, on(32 * kMib, 1u << bit), 680'000, 20'000) == 0);
  CHECK(fetched_of(8, many, on(64 * kMib, 1 | 1u << 20), 9 * kMs, 20'000) == 8);
  OnHost host;
  for (std::size_t i = 0; i < 40; ++i) host.add(i, i % 2 * kMib);
  CHECK(host.bytes == 20 * kMib);
  CHECK(host.which == 0xaaaaaaaa);
}

TEST_CASE("a time is expected once, and given up after many launches") {
  Reuse reuse;
  (void)reuse.launch(kKernel, on(64 * kMib), kAlone);
  CHECK_FALSE(reuse.wants_time(kKernel, on(64 * kMib)));
  (void)reuse.launch(kKernel, on(64 * kMib), kAlone);
  REQUIRE(reuse.wants_time(kKernel, on(64 * kMib)));
  CHECK_FALSE(reuse.undecided(kKernel, on(64 * kMib)));
  reuse.expect(kKernel);
  CHECK_FALSE(reuse.wants_time(kKernel, on(64 * kMib)));
  CHECK(reuse.undecided(kKernel, on(64 * kMib)));
  CHECK_FALSE(reuse.undecided(kKernel, on(4 * kMib)));  // too little to be held for
  for (int i = 0; i < 1100; ++i) (void)reuse.launch(kOther, on(64 * kMib), kAlone);
  CHECK_FALSE(reuse.undecided(kKernel, on(64 * kMib)));
  CHECK(reuse.wants_time(kKernel, on(64 * kMib)));
}

TEST_CASE("little on the host is not timed, and a time of nothing is not taken") {
  Reuse reuse;
  for (int i = 0; i < 10; ++i) CHECK_FALSE(reuse.launch(kKernel, on(kMib), kAlone));
  CHECK_FALSE(reuse.wants_time(kKernel, on(kMib)));
  reuse.timed(kKernel, on(64 * kMib), 9 * kMs);  // of a kernel that is not known
  // One that is lost does not count, and another launch is timed in its place, some time later.
  for (int i = 0; i < 2; ++i) (void)reuse.launch(kKernel, on(64 * kMib), kAlone);
  int lost_for = 0;
  for (const std::uint64_t ns : {std::uint64_t{0}, 9 * kMs}) {
    for (; !reuse.wants_time(kKernel, on(64 * kMib)); ++lost_for)
      CHECK_FALSE(reuse.launch(kKernel, on(64 * kMib), kAlone));
    reuse.expect(kKernel);
    reuse.timed(kKernel, on(64 * kMib), ns);
  }
  CHECK(lost_for == 8);
  CHECK(reuse.launch(kKernel, on(64 * kMib), kAlone));
}

TEST_CASE("a kernel that is refused rests, longer each time") {
  Reuse reuse;
  CHECK(fetched_of(2, reuse, on(64 * kMib), 9 * kMs, 20'000) == 0);
  int advised = 0;
  for (int i = 0; i < 1000; ++i) {
    if (!reuse.launch(kKernel, on(64 * kMib), kAlone)) continue;
    ++advised;
    reuse.refused(kKernel);
  }
  CHECK(advised >= 4);
  CHECK(advised <= 7);
  for (int i = 0; i < 1024 && !reuse.launch(kKernel, on(64 * kMib), kAlone); ++i) {}
  reuse.accepted(kKernel);
  reuse.refused(kKernel);
  int rest = 0;
  while (!reuse.launch(kKernel, on(64 * kMib), kAlone)) ++rest;
  CHECK(rest <= 16);
}

}  // namespace
}  // namespace barswap::policy

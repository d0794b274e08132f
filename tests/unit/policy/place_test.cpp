#include "policy/place.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <random>

namespace barswap::policy {
namespace {

using Pages = std::vector<PageFacts>;

void add_range(Pages& pages, std::uint64_t order, std::uint32_t count, const PageFacts& kind = {}) {
  for (std::uint32_t i = 0; i < count; ++i) {
    PageFacts page = kind;
    page.range_order = order;
    page.page_index = i;
    page.pages_in_range = count;
    page.bytes = kind.bytes == 0 ? 8_MiB : kind.bytes;
    page.large = kind.large || (!kind.packed && count * page.bytes >= kLargeBytes);
    pages.push_back(page);
  }
}

PageFacts resident() {
  PageFacts page;
  page.resident = true;
  return page;
}

std::uint64_t bytes_of(const Pages& pages, const std::vector<std::size_t>& chosen) {
  std::uint64_t sum = 0;
  for (const std::size_t i : chosen) sum += pages[i].bytes;
  return sum;
}

std::vector<std::uint32_t> indices_of(const Pages& pages, const std::vector<std::size_t>& chosen,
                                      std::uint64_t order) {
  std::vector<std::uint32_t> indices;
  for (const std::size_t i : chosen)
    if (pages[i].range_order == order) indices.push_back(pages[i].page_index);
  std::sort(indices.begin(), indices.end());
  return indices;
}

// One range of each kind, in an order of allocation that would mislead.
Pages mixed() {
  Pages pages;
  PageFacts kind = resident();
  kind.packed = true;
  add_range(pages, 0, 2, kind);
  kind = resident();
  kind.wants_hbm = true;
  add_range(pages, 1, 8, kind);
  add_range(pages, 2, 2, resident());  // small
  add_range(pages, 3, 8, resident());  // large
  kind = resident();
  kind.wants_stream = true;
  add_range(pages, 4, 1, kind);
  return pages;
}

TEST_CASE("who leaves first") {
  const Pages pages = mixed();
  const std::vector<std::size_t> all = victims(pages, 21 * 8_MiB);
  REQUIRE(all.size() == 21);
  std::vector<std::uint64_t> orders;
  for (const std::size_t i : all)
    if (orders.empty() || orders.back() != pages[i].range_order)
      orders.push_back(pages[i].range_order);
  CHECK(orders == std::vector<std::uint64_t>{4, 3, 2, 0, 1});
}

TEST_CASE("small and packed pages stay while large ones can go") {
  const Pages pages = mixed();
  for (const std::size_t i : victims(pages, 9 * 8_MiB)) {
    CHECK(pages[i].range_order >= 3);
    CHECK_FALSE(pages[i].packed);
  }
}

TEST_CASE("nothing is asked, nothing leaves") {
  CHECK(victims(mixed(), 0).empty());
  CHECK(victims({}, 1_GiB).empty());
  CHECK(promotions({}, 1_GiB).empty());
  CHECK(promotions(mixed(), 1_GiB).empty());
}

TEST_CASE("if all together are not enough, all are named") {
  Pages pages = mixed();
  pages[0].pinned = true;
  pages[5].resident = false;
  CHECK(victims(pages, 100_GiB).size() == 19);
}

TEST_CASE("pinned pages and pages on the host are never named") {
  Pages pages;
  add_range(pages, 0, 16, resident());
  for (std::size_t i = 0; i < pages.size(); i += 2) pages[i].pinned = true;
  pages[1].resident = false;
  const auto chosen = victims(pages, 1_GiB);
  CHECK(chosen.size() == 7);
  for (const std::size_t i : chosen) CHECK((pages[i].resident && !pages[i].pinned));
}

TEST_CASE("half of a range leaves every other page, a quarter every fourth") {
  Pages pages;
  add_range(pages, 0, 64, resident());
  for (const std::uint32_t stride : {2U, 4U, 8U, 16U}) {
    const auto out = indices_of(pages, victims(pages, 64 / stride * 8_MiB), 0);
    REQUIRE(out.size() == 64 / stride);
    for (std::size_t i = 1; i < out.size(); ++i) CHECK(out[i] - out[i - 1] == stride);
  }
}

TEST_CASE("any share of any range leaves gaps that differ at most by two times") {
  for (const std::uint32_t count : {4U, 7U, 33U, 100U, 333U}) {
    Pages pages;
    add_range(pages, 0, count, resident());
    for (std::uint32_t wanted = 2; wanted <= count; ++wanted) {
      const auto out = indices_of(pages, victims(pages, wanted * 8_MiB), 0);
      REQUIRE(out.size() == wanted);
      std::uint32_t least = count, most = 0;
      for (std::size_t i = 1; i < out.size(); ++i) {
        least = std::min(least, out[i] - out[i - 1]);
        most = std::max(most, out[i] - out[i - 1]);
      }
      CAPTURE(count);
      CAPTURE(wanted);
      CHECK(most <= 2 * least);
    }
  }
}

TEST_CASE("large ranges give about the same share, whatever their size") {
  Pages pages;
  const std::uint32_t counts[] = {4, 40, 400};
  for (std::uint64_t order = 0; order < 3; ++order)
    add_range(pages, order, counts[order], resident());
  const auto chosen = victims(pages, 111 * 8_MiB);
  CHECK(indices_of(pages, chosen, 0).size() == 1);
  CHECK(indices_of(pages, chosen, 1).size() == 10);
  CHECK(indices_of(pages, chosen, 2).size() == 100);
}

TEST_CASE("on ties the older range goes first") {
  Pages pages;
  for (const std::uint64_t order : {5, 3, 9}) add_range(pages, order, 4, resident());
  const auto one = victims(pages, 8_MiB);
  REQUIRE(one.size() == 1);
  CHECK(pages[one[0]].range_order == 3);
  CHECK(indices_of(pages, victims(pages, 16_MiB), 5).size() == 1);
}

TEST_CASE("pages already out count for the share of their range") {
  Pages pages;
  add_range(pages, 0, 8, resident());
  add_range(pages, 1, 8, resident());
  for (std::size_t i = 0; i < 4; ++i) pages[2 * i].resident = false;
  const auto chosen = victims(pages, 4 * 8_MiB);
  CHECK(indices_of(pages, chosen, 0).empty());
  CHECK(indices_of(pages, chosen, 1) == std::vector<std::uint32_t>{0, 2, 4, 6});
}

TEST_CASE("a need that grows step by step ends where one step would") {
  Pages at_once, by_steps;
  for (Pages* pages : {&at_once, &by_steps}) {
    add_range(*pages, 0, 50, resident());
    add_range(*pages, 1, 31, resident());
  }
  for (const std::size_t i : victims(at_once, 40 * 8_MiB)) at_once[i].resident = false;
  for (int step = 0; step < 40; ++step)
    for (const std::size_t i : victims(by_steps, 8_MiB)) by_steps[i].resident = false;
  for (std::size_t i = 0; i < at_once.size(); ++i)
    CHECK(at_once[i].resident == by_steps[i].resident);
}

TEST_CASE("what leaves and comes back ends where it began") {
  Pages pages;
  add_range(pages, 0, 50, resident());
  add_range(pages, 1, 31, resident());
  for (const std::size_t i : victims(pages, 20 * 8_MiB)) pages[i].resident = false;
  const Pages before = pages;
  for (const std::size_t i : victims(pages, 10 * 8_MiB)) pages[i].resident = false;
  for (const std::size_t i : promotions(pages, 10 * 8_MiB)) pages[i].resident = true;
  for (std::size_t i = 0; i < pages.size(); ++i) CHECK(pages[i].resident == before[i].resident);
}

TEST_CASE("never more than needed: tails are let go when a whole page covers them") {
  Pages pages;
  PageFacts kind = resident();
  kind.large = true;
  kind.bytes = 2_MiB;
  add_range(pages, 0, 1, kind);
  kind.bytes = 8_MiB;
  add_range(pages, 1, 1, kind);
  const auto chosen = victims(pages, 8_MiB);
  REQUIRE(chosen.size() == 1);
  CHECK(pages[chosen[0]].range_order == 1);
  CHECK(bytes_of(pages, victims(pages, 9_MiB)) == 10_MiB);
}

TEST_CASE("of equals what is on the host comes back before what a peer has, of others the hotter") {
  Pages pages;
  PageFacts kind;
  add_range(pages, 0, 8, kind);
  for (std::size_t i = 0; i < 8; i += 2) pages[i].peer = true;
  auto chosen = promotions(pages, 4 * 8_MiB);
  CHECK(indices_of(pages, chosen, 0) == std::vector<std::uint32_t>{1, 3, 5, 7});
  for (std::size_t i = 0; i < 8; ++i) pages[i].heat = i == 2 ? 64 : 4;
  chosen = promotions(pages, 8_MiB);
  CHECK(indices_of(pages, chosen, 0) == std::vector<std::uint32_t>{2});
  // Small ones, too.
  Pages small;
  kind.bytes = 2_MiB;
  add_range(small, 0, 4, kind);
  small[3].peer = true;
  CHECK(promotions(small, 2_MiB) == std::vector<std::size_t>{2});
}

TEST_CASE("who comes back first") {
  Pages pages = mixed();
  for (PageFacts& page : pages) page.resident = false;
  const auto all = promotions(pages, 100_GiB);
  REQUIRE(all.size() == 20);
  std::vector<std::uint64_t> orders;
  for (const std::size_t i : all)
    if (orders.empty() || orders.back() != pages[i].range_order)
      orders.push_back(pages[i].range_order);
  CHECK(orders == std::vector<std::uint64_t>{0, 1, 2, 3});
}

TEST_CASE("no more comes back than fits, and a small page may use the rest") {
  Pages pages;
  add_range(pages, 0, 8);
  PageFacts tail;
  tail.bytes = 2_MiB;
  tail.large = true;
  add_range(pages, 1, 1, tail);
  const auto chosen = promotions(pages, 19_MiB);
  CHECK(bytes_of(pages, chosen) == 18_MiB);
  CHECK(promotions(pages, 1_MiB).empty());
}

TEST_CASE("pinned pages on the host stay there") {
  Pages pages;
  add_range(pages, 0, 2);
  pages[0].pinned = true;
  CHECK(promotions(pages, 1_GiB) == std::vector<std::size_t>{1});
}

// Any machine: what is named may go, no page is named twice, no page named could be left out, and
// no page leaves while one that must go before it stays.
TEST_CASE("the promises hold for many drawn dies") {
  for (std::uint32_t seed = 1; seed <= 300; ++seed) {
    CAPTURE(seed);
    std::mt19937 draw(seed);
    Pages pages;
    const std::uint32_t ranges = draw() % 12;
    for (std::uint32_t order = 0; order < ranges; ++order) {
      PageFacts kind;
      kind.packed = draw() % 5 == 0;
      kind.wants_stream = draw() % 6 == 0;
      kind.wants_hbm = draw() % 6 == 0;
      kind.bytes = (1 + draw() % 4) * 2_MiB;
      add_range(pages, draw() % 100, 1 + draw() % 40, kind);
    }
    for (PageFacts& page : pages) {
      page.resident = draw() % 3 != 0;
      page.pinned = draw() % 7 == 0;
    }
    const auto weight = [&](const PageFacts& page) {
      if (page.wants_stream) return 0;
      if (page.wants_hbm) return 4;
      if (page.packed) return 3;
      return page.large ? 1 : 2;
    };
    const std::uint64_t needed = draw() % 200 * 2_MiB;
    auto out = victims(pages, needed);
    const std::uint64_t freed = bytes_of(pages, out);
    std::map<int, bool> stays, leaves;
    for (std::size_t i = 0; i < pages.size(); ++i) {
      if (!pages[i].resident || pages[i].pinned) continue;
      const bool named = std::find(out.begin(), out.end(), i) != out.end();
      (named ? leaves : stays)[weight(pages[i])] = true;
    }
    for (const std::size_t i : out) {
      CHECK((pages[i].resident && !pages[i].pinned));
      if (freed >= needed) CHECK(freed - pages[i].bytes < needed);
    }
    if (freed < needed) CHECK(stays.empty());
    std::sort(out.begin(), out.end());
    CHECK(std::adjacent_find(out.begin(), out.end()) == out.end());

    auto in = promotions(pages, needed);
    CHECK(bytes_of(pages, in) <= needed);
    for (const std::size_t i : in)
      CHECK((!pages[i].resident && !pages[i].pinned && !pages[i].wants_stream));
    std::sort(in.begin(), in.end());
    CHECK(std::adjacent_find(in.begin(), in.end()) == in.end());
  }
}

TEST_CASE("twenty thousand pages are decided in milliseconds") {
  Pages pages;
  for (std::uint64_t order = 0; order < 200; ++order) add_range(pages, order, 100, resident());
  const auto start = std::chrono::steady_clock::now();
  CHECK(victims(pages, 10'000 * 8_MiB).size() == 10'000);
  const auto took = std::chrono::steady_clock::now() - start;
  // Twenty milliseconds in an unoptimised build; a quadratic method would take a minute.
  CHECK(took < std::chrono::seconds(2));
}

TEST_CASE("larger ranges take larger pages") {
  CHECK(page_bytes_of(2_MiB, 16_MiB) == 16_MiB);
  CHECK(page_bytes_of(30_MiB, 16_MiB) == 16_MiB);
  CHECK(page_bytes_of(32_MiB, 16_MiB) == 32_MiB);
  CHECK(page_bytes_of(254_MiB, 16_MiB) == 32_MiB);
  CHECK(page_bytes_of(256_MiB, 16_MiB) == 64_MiB);
  CHECK(page_bytes_of(256_MiB, 32_MiB) == 64_MiB);
  CHECK(page_bytes_of(64_GiB, 64_MiB) == 64_MiB);
  CHECK(page_bytes_of(64_GiB, 24_MiB) == 48_MiB);
  CHECK(page_bytes_of(~std::uint64_t{0}, 2_MiB) == 8_MiB);
}

TEST_CASE("what was allocated long ago is not kept room for") {
  constexpr std::uint64_t kHalfLife = 500'000'000, kSecond = 1'000'000'000;
  Recent recent;
  CHECK(recent.bytes(kSecond) == 0);
  recent.add(1_GiB, 10 * kSecond - 1);
  CHECK(recent.bytes(10 * kSecond) == 1_GiB);
  recent = Recent();
  recent.add(1_GiB, 10 * kSecond);
  CHECK(recent.bytes(10 * kSecond + kHalfLife / 2) == 1_GiB);
  CHECK(recent.bytes(10 * kSecond + kHalfLife) == 512_MiB);
  CHECK(recent.bytes(10 * kSecond + 3 * kHalfLife) == 128_MiB);
  CHECK(recent.bytes(10'000 * kSecond) == 0);
  recent.add(64_MiB, 10 * kSecond + 3 * kHalfLife);
  CHECK(recent.bytes(10 * kSecond + 3 * kHalfLife) == 192_MiB);
  // Little, but often, does not keep what came before it.
  for (std::uint64_t ms = 0; ms < 60'000; ms += 100)
    recent.add(1, 12 * kSecond + ms * 1'000'000);
  CHECK(recent.bytes(72 * kSecond) < 1_MiB);
  CHECK(recent.bytes(0) < 1_MiB);  // a clock of another thread may be a little behind
}

TEST_CASE("headroom") {
  const std::uint64_t budget = 8_GiB;
  CHECK(headroom_bytes(kAutomatic, budget, 0) == 64_MiB);
  CHECK(headroom_bytes(kAutomatic, budget, 300_MiB) == 300_MiB);
  CHECK(headroom_bytes(kAutomatic, budget, 5_GiB) == 1_GiB);
  CHECK(headroom_bytes(kAutomatic, 256_MiB, 0) == 32_MiB);
  CHECK(headroom_bytes(kAutomatic, 0, 5_GiB) == 0);
  CHECK(headroom_bytes(size_of(2_GiB), budget, 0) == 2_GiB);
  CHECK(headroom_bytes(size_of(0), budget, 1_GiB) == 0);
  CHECK(headroom_bytes(size_of(20_GiB), budget, 0) == 4_GiB);
  CHECK(headroom_bytes(share_of(0.25), budget, 0) == 2_GiB);
}

void heat(Pages& pages, std::uint64_t order, std::uint32_t uses) {
  for (PageFacts& page : pages)
    if (page.range_order == order) page.heat = uses;
}

TEST_CASE("what work names often changes places with what it rarely names") {
  Pages pages;
  add_range(pages, 1, 16, resident());
  add_range(pages, 2, 4, {});  // on the host
  heat(pages, 1, 10);
  SUBCASE("as hot as the rest: nothing moves") {
    heat(pages, 2, 39);
    CHECK(swaps(pages, 64_MiB).empty());
  }
  SUBCASE("several times as hot: all that fits at once comes in, and as much leaves") {
    heat(pages, 2, 40);
    const Swap swap = swaps(pages, 17_MiB);
    CHECK(indices_of(pages, swap.in, 2).size() == 2);
    CHECK(bytes_of(pages, swap.in) == bytes_of(pages, swap.out));
    // The pages that leave lie apart, so that each part of the range keeps its share.
    CHECK(indices_of(pages, swap.out, 1) == std::vector<std::uint32_t>{0, 8});
  }
  SUBCASE("the colder range makes place") {
    add_range(pages, 3, 16, resident());
    heat(pages, 2, 400);
    const Swap swap = swaps(pages, 64_MiB);
    CHECK(swap.in.size() == 4);
    CHECK(indices_of(pages, swap.out, 3).size() == 4);
  }
  SUBCASE("too few uses are no evidence") {
    heat(pages, 1, 0);
    heat(pages, 2, 3);
    CHECK(swaps(pages, 64_MiB).empty());
  }
  SUBCASE("what is pinned, small or wanted in HBM never makes place") {
    heat(pages, 2, 400);
    for (PageFacts& page : pages)
      if (page.resident) page.pinned = true;
    CHECK(swaps(pages, 64_MiB).empty());
    for (PageFacts& page : pages) page.pinned = false, page.wants_hbm = page.resident;
    CHECK(swaps(pages, 64_MiB).empty());
    for (PageFacts& page : pages) page.wants_hbm = false, page.large = !page.resident;
    CHECK(swaps(pages, 64_MiB).empty());
  }
  SUBCASE("no room, no swap") {
    heat(pages, 2, 400);
    CHECK(swaps(pages, 8_MiB - 1).empty());
  }
}

TEST_CASE("a little colder than most is not the hottest of all") {
  Pages pages;
  add_range(pages, 1, 16, resident());
  add_range(pages, 2, 4, {});
  add_range(pages, 3, 4, {});
  heat(pages, 1, 16);
  heat(pages, 2, 15);  // on the host, one use short of the usual
  heat(pages, 3, 400);
  CHECK(heat_step(15, 16) == 0);
  CHECK(heat_step(4, 16) == 0);
  CHECK(heat_step(3, 16) == -1);
  CHECK(heat_step(64, 16) == 1);
  const Swap swap = swaps(pages, 64_MiB);
  CHECK(indices_of(pages, swap.in, 3).size() == 4);
  CHECK(indices_of(pages, swap.in, 2).empty());
}

TEST_CASE("a swap gains, and a second one after it finds nothing to do") {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    Pages pages;
    for (std::uint64_t order = 0; order < 6; ++order) {
      PageFacts kind;
      kind.resident = random() % 2 == 0;
      kind.bytes = (1 + random() % 4) * 2_MiB;
      kind.large = random() % 4 != 0;
      add_range(pages, order, 1 + random() % 20, kind);
      heat(pages, order, random() % 3 == 0 ? random() % 1000 : random() % 20);
    }
    for (int turn = 0; turn < 400; ++turn) {
      const std::uint64_t room = 8_MiB + random() % 3 * 8_MiB;
      const Swap swap = swaps(pages, room);
      if (swap.empty()) break;
      REQUIRE(turn < 399);
      REQUIRE(bytes_of(pages, swap.in) <= room);
      REQUIRE(bytes_of(pages, swap.out) >= bytes_of(pages, swap.in));
      const auto worth = [&](const std::vector<std::size_t>& moved) {
        std::uint64_t sum = 0;
        for (const std::size_t i : moved) sum += pages[i].heat * pages[i].bytes;
        return sum;
      };
      // A page that leaves is at most a quarter as hot, and at most four times as large.
      REQUIRE(worth(swap.in) >= worth(swap.out));
      for (const std::size_t i : swap.in) {
        REQUIRE(!pages[i].resident);
        pages[i].resident = true;
      }
      for (const std::size_t i : swap.out) {
        REQUIRE(pages[i].resident);
        pages[i].resident = false;
      }
    }
  }
}

TEST_CASE("cold large pages leave first, hot ones come back first") {
  Pages pages;
  add_range(pages, 1, 8, resident());
  add_range(pages, 2, 8, resident());
  add_range(pages, 3, 8, resident());
  heat(pages, 1, 100);
  heat(pages, 2, 1000);
  heat(pages, 3, 2);
  const std::vector<std::size_t> leaving = victims(pages, 16 * 8_MiB);
  CHECK(indices_of(pages, leaving, 3).size() == 8);
  CHECK(indices_of(pages, leaving, 1).size() == 8);
  for (PageFacts& page : pages) page.resident = false;
  CHECK(indices_of(pages, promotions(pages, 8 * 8_MiB), 2).size() == 8);
}

}  // namespace
}  // namespace barswap::policy

// What the bench works out without a driver: its workloads, their bounds, their order, their rows.
#include <doctest/doctest.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

#include "tools/bench/bound.hpp"
#include "tools/bench/row.hpp"
#include "tools/bench/words.hpp"

using namespace barswap::bench;

namespace {

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::uint64_t kCap = 64 * kMib;
// Bytes a second: with 32 MiB over the cap, a pass at z takes half a second.
constexpr Rates kRates{128.0 * kMib, 256.0 * kMib, 160.0 * kMib, 64.0 * kMib, 32.0 * kMib};

Bound bound(const char* name, double native_s = 0.001) {
  return bound_of(make_workload(name, kCap, 1.5, true), kCap, kRates, native_s);
}

Row row_with(std::vector<double> bare_s, std::vector<double> ours_s) {
  Row row;
  row.workload = make_workload("sweep", kCap, 1.5, true);
  row.outcomes[Plan::bare] = {bare_s, {"a"}, {}};
  row.outcomes[Plan::barswap] = {ours_s, {"a"}, {}};
  return row;
}

std::uint64_t bytes_read(const Workload& workload) {
  std::uint64_t bytes = 0;
  for (const Step& step : workload.cycle)
    if (step.kind == Step::Kind::read)
      bytes += step.times * (step.bytes == 0 ? workload.range_bytes : step.bytes);
  return bytes;
}

}  // namespace

TEST_CASE("workloads hold what their ratio says, in whole ranges") {
  for (const std::string_view name : kWorkloads)
    for (const double ratio : {1.5, 2.0}) {
      const Workload workload = make_workload(name, kCap, ratio, true);
      CAPTURE(workload.name);
      CHECK(workload.range_bytes == 4 * kMib);
      const double held = static_cast<double>(workload.bytes());
      CHECK(held / kCap == doctest::Approx(workload.ratio));
      // The phases come in threes, so they may hold a little more.
      CHECK(workload.ratio >= ratio);
      CHECK(workload.ratio < ratio + 0.13);
      for (const Step& step : workload.cycle) {
        CHECK((step.in == kNoRange || step.in < workload.ranges));
        CHECK((step.io == kNoRange || step.io < workload.ranges));
      }
    }
  CHECK_THROWS_AS(make_workload("swep", kCap, 2, true), std::invalid_argument);
}

TEST_CASE("a workload that fits lies inside the cap") {
  CHECK(make_workload(kFits, kCap, kFitsRatio, true).bytes() < kCap);
}

TEST_CASE("cycles read what their crossing says") {
  for (const char* name : {"sweep", "reread", "phases"}) {
    const Workload workload = make_workload(name, kCap, 1.5, true);
    CAPTURE(workload.name);
    CHECK(static_cast<double>(bytes_read(workload)) ==
          workload.crossing.read * static_cast<double>(workload.bytes()));
  }
}

TEST_CASE("a stencil's cycle reads each range as a neighbour once and writes it once") {
  const Workload workload = make_workload("stencil", kCap, 1.5, true);
  std::vector<int> in(workload.ranges), io(workload.ranges);
  for (const Step& step : workload.cycle) {
    CHECK(step.in != step.io);
    ++in[step.in];
    ++io[step.io];
  }
  CHECK(std::count(in.begin(), in.end(), 1) == workload.ranges);
  CHECK(std::count(io.begin(), io.end(), 1) == workload.ranges);
  CHECK(workload.carries);
}

TEST_CASE("bounds by hand, 32 MiB over the cap") {
  CHECK(bound("sweep").over_bytes == 32 * kMib);
  CHECK(bound("sweep").in_place_s == doctest::Approx(0.5));
  CHECK(bound("sweep").moved_s == doctest::Approx(0.25));
  CHECK(bound("sweep").t_star_s == doctest::Approx(0.25));
  CHECK(bound("reread").in_place_s == doctest::Approx(4));
  CHECK(bound("reread").moved_s == doctest::Approx(0.25));
  CHECK(bound("phases").in_place_s == doctest::Approx(2));
  // Two reads at z take a second, and so does one write at w; both ways at once: 96 MiB at 160.
  CHECK(bound("stencil").in_place_s == doctest::Approx(1));
  CHECK(bound("stencil").moved_s == doctest::Approx(0.6));
  // Of a sixteenth of the rows, drawn with repetition, 6.06 % differ.
  CHECK(bound("gather").in_place_s == doctest::Approx(0.5 * 0.0605869).epsilon(1e-4));
  CHECK(bound("gather").t_star_s == bound("gather").in_place_s);
}

TEST_CASE("no bound is under the time in HBM, and what fits has no other") {
  CHECK(bound("sweep", 3).t_star_s == 3);
  CHECK(bound("stencil", 3).in_place_s == 3);
  const Bound fits = bound_of(make_workload(kFits, kCap, kFitsRatio, true), kCap, kRates, 0.01);
  CHECK(fits.over_bytes == 0);
  CHECK(fits.t_star_s == 0.01);
}

TEST_CASE("rounds take turns in their order, and what fits has no peers") {
  const Workload sweep = make_workload("sweep", kCap, 1.5, true);
  std::vector<Plan> there = order_of(sweep, 0);
  const std::vector<Plan> back = order_of(sweep, 1);
  CHECK(there.size() == 4);
  CHECK(there.front() == Plan::bare);
  std::reverse(there.begin(), there.end());
  CHECK(there == back);
  CHECK(order_of(sweep, 2) == order_of(sweep, 0));
  const Workload fits = make_workload(kFits, kCap, kFitsRatio, true);
  CHECK(order_of(fits, 0) == std::vector{Plan::bare, Plan::barswap});
}

TEST_CASE("ratios are medians of the rounds' ratios, not ratios of medians") {
  Row row = row_with({1, 2, 4}, {3, 4, 4});
  CHECK(row.over_bare(Plan::barswap) == 2);
  CHECK(row.cycle_s(Plan::barswap) == 4);
  row.bound.t_star_s = 2;
  CHECK(row.over_t_star(Plan::barswap) == 2);
  CHECK(row.cycle_s(Plan::in_place) == 0);
  CHECK(row_with({1, 2, 4}, {3, 4}).over_bare(Plan::barswap) == 0);
}

TEST_CASE("one other hash is enough") {
  Row row = row_with({1, 1}, {1, 1});
  row.outcomes[Plan::barswap].hashes = {"a", "a"};
  CHECK(row.hashes_agree());
  row.outcomes[Plan::barswap].hashes = {"a", "b"};
  CHECK_FALSE(row.hashes_agree());
  CHECK_FALSE(Row{}.hashes_agree());
}

TEST_CASE("a changed bit and an exchange of two pieces show in a sum") {
  const Piece piece = piece_at(7, 1), other = piece_at(8, 1);
  for (int bit = 0; bit < 32; ++bit) {
    const std::uint32_t mask = 1u << bit;
    CHECK(fold({piece.x ^ mask, piece.y, piece.z, piece.w}, 7) != fold(piece, 7));
    CHECK(fold({piece.x, piece.y ^ mask, piece.z, piece.w}, 7) != fold(piece, 7));
    CHECK(fold({piece.x, piece.y, piece.z ^ mask, piece.w}, 7) != fold(piece, 7));
    CHECK(fold({piece.x, piece.y, piece.z, piece.w ^ mask}, 7) != fold(piece, 7));
  }
  CHECK(fold(piece, 7) + fold(other, 8) != fold(other, 7) + fold(piece, 8));
}

#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

constexpr Die kDie{0};

TEST_CASE("the budget holds, and what comes back is warm") {
  Bench bench;
  pager::Frames& frames = bench.frames();
  frames.set_budget(kDie, 8_MiB);
  auto first = frames.take_hbm(kDie, 6_MiB, 0);
  REQUIRE(first);
  CHECK(frames.used(kDie) == 6_MiB);
  CHECK_FALSE(frames.take_hbm(kDie, 4_MiB, 0));
  CHECK_FALSE(frames.take_hbm(kDie, 2_MiB, 1_MiB));
  frames.give_back(*first);
  CHECK(frames.used(kDie) == 0);
  CHECK(frames.free_hbm(kDie) == 8_MiB);
  const driver::Handle handle = first->handle;
  auto again = frames.take_hbm(kDie, 6_MiB, 0);
  REQUIRE(again);
  CHECK(again->handle == handle);
  frames.give_back(*again);
  // A warm frame of another size makes place.
  auto other = frames.take_hbm(kDie, 4_MiB, 0);
  REQUIRE(other);
  CHECK(frames.totals().hbm_frames_bytes == 4_MiB);
  frames.destroy(*other);
  CHECK(bench.life.check_books().empty());
}

TEST_CASE("a refusal of the driver lowers the ceiling, not below half of the start") {
  support::Setting setting = support::small_setting();
  Bench bench(setting);
  pager::Frames& frames = bench.frames();
  frames.set_budget(kDie, 128_MiB);  // the die has half of that
  auto held = frames.take_hbm(kDie, 48_MiB, 0);
  REQUIRE(held);
  auto refused = frames.take_hbm(kDie, 48_MiB, 0);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().fault == Fault::out_of_memory);
  CHECK(frames.budget(kDie) == 64_MiB);
  frames.lower_budget(kDie, 60_MiB);
  CHECK(frames.budget(kDie) == 64_MiB);
  frames.destroy(*held);
  CHECK(bench.life.check_books().empty());
}

TEST_CASE("what is outside, and the tables of host pages, count against the budget") {
  Bench bench;
  pager::Frames& frames = bench.frames();
  frames.set_budget(kDie, 32_MiB);
  frames.outside_grew(kDie, 8_MiB);
  CHECK(frames.budget(kDie) == 24_MiB);
  frames.host_mapped(kDie, 512_MiB);
  CHECK(frames.budget(kDie) == 23_MiB);
  frames.host_mapped(kDie, -static_cast<std::int64_t>(512_MiB));
  frames.outside_shrank(kDie, 100_MiB);
  CHECK(frames.budget(kDie) == 32_MiB);
}

TEST_CASE("the host tier has a limit, which a buffer of ours may pass") {
  Bench bench;
  pager::Frames& frames = bench.frames();
  frames.set_host(true, policy::size_of(8_MiB));
  auto first = frames.take_host(kDie, 6_MiB);
  REQUIRE(first);
  CHECK_FALSE(frames.take_host(kDie, 4_MiB));
  auto buffer = frames.take_buffer(kDie, 4_MiB);
  REQUIRE(buffer);
  CHECK(frames.host_bytes() == 10_MiB);
  frames.destroy(*buffer);
  frames.give_back(*first);
  CHECK(frames.host_prepared() == 6_MiB);
  // A prepared frame of another size makes place.
  auto other = frames.take_host(kDie, 4_MiB);
  REQUIRE(other);
  CHECK(frames.host_bytes() == 4_MiB);
  frames.destroy(*other);
  frames.set_host(false, policy::size_of(8_MiB));
  CHECK(frames.host_limit() == 0);
  CHECK_FALSE(frames.take_host(kDie, 2_MiB));
  CHECK(bench.life.check_books().empty());
}

TEST_CASE("host frames are made as the driver allows, and without any there is no tier") {
  support::Setting setting = support::small_setting();
  setting.machine.host_numa = false;
  {
    Bench bench(setting);
    auto frame = bench.frames().take_host(kDie, 2_MiB);
    REQUIRE(frame);
    bench.frames().destroy(*frame);
  }
  setting.machine.host = false;
  Bench bench(setting);
  CHECK(bench.frames().host_limit() > 0);
  CHECK_FALSE(bench.frames().take_host(kDie, 2_MiB));
  CHECK(bench.frames().host_limit() == 0);
}

TEST_CASE("frames are prepared up to a target") {
  Bench bench;
  pager::Frames& frames = bench.frames();
  int made = 0;
  while (frames.prepare_host(kDie, 2_MiB, 7_MiB)) ++made;
  CHECK(made == 3);
  CHECK(frames.host_prepared() == 6_MiB);
  frames.release_all();
  CHECK(frames.host_bytes() == 0);
  CHECK(bench.life.check_books().empty());
}

}  // namespace

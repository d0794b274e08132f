// Pressure: when a die counts as short of HBM, and when it no longer does.
#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

support::Setting tight() {
  support::Setting setting = support::small_setting();
  setting.setup.options.vram_limit = policy::size_of(32_MiB);
  setting.setup.options.vram_headroom = policy::size_of(4_MiB);
  return setting;
}

// Whether a run that is freed now waits for the next request of its size.
bool keeps_runs(Bench& bench) {
  REQUIRE(cuMemFree_v2(bench.alloc(2_MiB)) == CUDA_SUCCESS);
  return bench.memory().release_cache(Die{0});
}

TEST_CASE("a die is pressed from its first spill until nothing is spilled and room is plenty") {
  Bench bench(tight());
  const CUdeviceptr first = bench.alloc(12_MiB);
  CHECK_FALSE(bench.pager().pressed(Die{0}));
  CHECK(keeps_runs(bench));
  const CUdeviceptr second = bench.alloc(12_MiB);
  const CUdeviceptr third = bench.alloc(16_MiB);
  REQUIRE(bench.pager().residency(bench.run_at(third)).host_bytes > 0);
  CHECK(bench.pager().pressed(Die{0}));
  // Nothing is spilled any more, but less is free than twice the headroom and a page.
  REQUIRE(cuMemFree_v2(third) == CUDA_SUCCESS);
  REQUIRE(bench.frames().free_hbm(Die{0}) == 8_MiB);
  CHECK(bench.pager().pressed(Die{0}));
  CHECK_FALSE(keeps_runs(bench));
  REQUIRE(cuMemFree_v2(second) == CUDA_SUCCESS);
  CHECK_FALSE(bench.pager().pressed(Die{0}));
  CHECK(keeps_runs(bench));
  // And again.
  const CUdeviceptr fourth = bench.alloc(40_MiB);
  CHECK(bench.pager().pressed(Die{0}));
  REQUIRE(cuMemFree_v2(first) == CUDA_SUCCESS);
  CHECK(bench.pager().pressed(Die{0}));
  REQUIRE(cuMemFree_v2(fourth) == CUDA_SUCCESS);
  CHECK_FALSE(bench.pager().pressed(Die{0}));
}

TEST_CASE("memory that the policy puts on the host presses nobody") {
  support::Setting setting = tight();
  policy::AllocationRule streamed;
  streamed.place = policy::Place::stream;
  streamed.size.lowest_bytes = 10_MiB;
  setting.setup.options.allocations.push_back(streamed);
  Bench bench(setting);
  const CUdeviceptr streams = bench.alloc(12_MiB);
  REQUIRE(bench.pager().residency(bench.run_at(streams)).host_bytes == 12_MiB);
  CHECK_FALSE(bench.pager().pressed(Die{0}));
  std::vector<CUdeviceptr> small;
  for (int i = 0; i < 5; ++i) small.push_back(bench.alloc(8_MiB));
  CHECK(bench.pager().pressed(Die{0}));
  for (const CUdeviceptr base : small) REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  CHECK_FALSE(bench.pager().pressed(Die{0}));
}

TEST_CASE("a parked run presses its die again when it is laid with spilled pages") {
  Bench bench(tight());
  pager::Pager& pager = bench.pager();
  const driver::Verbs& verbs = bench.session().verbs();
  (void)bench.alloc(2_MiB);
  pager::Birth request;
  request.bytes = 40_MiB;
  auto base = verbs.reserve(request.bytes);
  REQUIRE(base.has_value());
  request.base = *base;
  auto run = pager.birth(request);
  REQUIRE(run.has_value());
  CHECK(pager.pressed(Die{0}));
  auto parked = pager.try_park(*run);
  REQUIRE(parked.has_value());
  REQUIRE(*parked);
  // Its frames in HBM stay taken, so that there is no room to spare; with a larger budget there is.
  CHECK(pager.pressed(Die{0}));
  pager.set_budget(Die{0}, 60_MiB);
  (void)bench.alloc(2_MiB);
  CHECK_FALSE(pager.pressed(Die{0}));
  auto laid = pager.unpark(*run, *base);
  REQUIRE(laid.has_value());
  REQUIRE(*laid);
  CHECK(pager.pressed(Die{0}));
  REQUIRE(pager.try_bury(*run));
  CHECK_FALSE(pager.pressed(Die{0}));
}

}  // namespace

#include <set>

#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

TEST_CASE("small requests share pages, aligned and apart") {
  Bench bench;
  std::set<CUdeviceptr> bases;
  for (int i = 0; i < 200; ++i) {
    const CUdeviceptr base = bench.alloc(static_cast<std::uint64_t>(1 + i * 37));
    CHECK(base % 512 == 0);
    bases.insert(base);
  }
  CHECK(bases.size() == 200);
  CHECK(bench.life.machine().audit().mappings <= 2);
  const std::uint64_t held = bench.memory().held_bytes(Die{0});
  for (const CUdeviceptr base : bases) REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  CHECK(held > 0);
  CHECK(bench.memory().held_bytes(Die{0}) == 0);
  CHECK(bench.memory().count() == 0);
  CHECK(bench.life.bury().empty());
}

TEST_CASE("a range is found from its start to its last byte") {
  Bench bench;
  const CUdeviceptr base = bench.alloc(3_MiB + 5);
  const auto at = [&](std::uint64_t offset) {
    return bench.memory().find(static_cast<Address>(base + offset)).has_value();
  };
  CHECK(at(0));
  CHECK(at(3_MiB + 4));
  CHECK_FALSE(at(3_MiB + 5));
  CHECK(bench.memory().at(static_cast<Address>(base)).has_value());
  CHECK_FALSE(bench.memory().at(static_cast<Address>(base + 512)).has_value());
  CHECK(bench.memory().ours(static_cast<Address>(base)));
  CHECK_FALSE(bench.memory().ours(Address{4096}));
}

TEST_CASE("the program's mistakes get the driver's answer") {
  Bench bench;
  const CUdeviceptr base = bench.alloc(2_MiB);
  CUdeviceptr none = 0;
  CHECK(cuMemFree_v2(base + 512) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(CUdeviceptr{12345}) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemAlloc_v2(&none, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemAlloc_v2(nullptr, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemAlloc_v2(&none, ~std::size_t{0}) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(cuMemFree_v2(base) == CUDA_SUCCESS);
  CHECK(cuMemFree_v2(base) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a freed run serves the next request of its size") {
  Bench bench;
  const CUdeviceptr base = bench.alloc(6_MiB);
  REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  const std::uint64_t maps = bench.life.machine().audit().calls["cuMemMap"];
  CHECK(bench.alloc(6_MiB) == base);
  CHECK(bench.life.machine().audit().calls["cuMemMap"] == maps);
}

TEST_CASE("what is cached leaves when another size needs the room") {
  support::Setting setting = support::small_setting();
  setting.setup.options.vram_limit = policy::size_of(16_MiB);
  setting.setup.options.tiers_host_enable = false;
  Bench bench(setting);
  for (const std::uint64_t bytes : {12_MiB, 14_MiB, 10_MiB, 16_MiB}) {
    const CUdeviceptr base = bench.alloc(bytes);
    REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  }
  CHECK(bench.life.bury().empty());
}

// The second context's stream may still touch what the first one freed.
TEST_CASE("with two contexts nothing is used again before both were seen idle") {
  Bench bench(support::small_setting(2));
  REQUIRE(cuCtxSetCurrent(bench.contexts[1]) == CUDA_SUCCESS);
  const CUstream stream = bench.held_stream();
  REQUIRE(cuCtxSetCurrent(bench.contexts[0]) == CUDA_SUCCESS);
  const CUdeviceptr base = bench.alloc(4_MiB), small = bench.alloc(4096);
  REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  REQUIRE(cuMemFree_v2(small) == CUDA_SUCCESS);
  for (int i = 0; i < 10; ++i) {
    CHECK(bench.alloc(4_MiB) != base);
    CHECK(bench.alloc(4096) != small);
  }
  std::uint8_t byte = 0;
  CHECK(bench.life.peek(base, &byte, 1));  // still mapped
  bench.let_go();
  REQUIRE(cuCtxSetCurrent(bench.contexts[1]) == CUDA_SUCCESS);
  REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  REQUIRE(cuCtxSetCurrent(bench.contexts[0]) == CUDA_SUCCESS);
  bool again = false;
  for (int i = 0; i < 10; ++i) again = again || bench.alloc(4_MiB) == base;
  CHECK(again);
}

TEST_CASE("the arena grows, and goes with what was in it") {
  Bench bench;
  const std::size_t before = bench.life.machine().audit().reservations;
  memory::Memory memory(bench.session().verbs(), bench.pager(), 2_MiB, 8_MiB);
  const auto context = bench.session().caller().context;
  for (int i = 0; i < 5; ++i) {
    auto address = memory.allocate(6_MiB, context, Die{0}, policy::Place::automatic);
    REQUIRE(address);
    CHECK(memory.ours(*address));
  }
  CHECK(bench.life.machine().audit().reservations == before + 5);
  memory.clear();
  CHECK(bench.life.machine().audit().reservations == before);
  CHECK(memory.count() == 0);
}

TEST_CASE("a context takes its ranges with it") {
  Bench bench;
  const CUdeviceptr kept = bench.alloc(2_MiB);
  CUcontext context = nullptr;
  REQUIRE(cuCtxCreate_v2(&context, 0, 0) == CUDA_SUCCESS);
  const CUdeviceptr large = bench.alloc(3_MiB), small = bench.alloc(100);
  REQUIRE(bench.memory().count() == 3);
  REQUIRE(cuCtxDestroy_v2(context) == CUDA_SUCCESS);
  CHECK(bench.memory().count() == 1);
  CHECK(bench.memory().at(static_cast<Address>(kept)).has_value());
  CHECK_FALSE(bench.memory().at(static_cast<Address>(large)).has_value());
  CHECK_FALSE(bench.memory().at(static_cast<Address>(small)).has_value());
  CHECK(bench.life.bury().empty());
}

}  // namespace

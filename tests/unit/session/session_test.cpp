#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

std::size_t total() {
  std::size_t free = 0, all = 0;
  REQUIRE(cuMemGetInfo_v2(&free, &all) == CUDA_SUCCESS);
  return all;
}

std::size_t room() {
  std::size_t free = 0, all = 0;
  REQUIRE(cuMemGetInfo_v2(&free, &all) == CUDA_SUCCESS);
  return free;
}

TEST_CASE("the budget is what is free at the first context, less the reserve") {
  support::Setting setting = support::small_setting();
  setting.setup.options.vram_reserve_bytes = 4_MiB;
  setting.machine.context_bytes = 6_MiB;
  Bench bench(setting);
  (void)room();
  CHECK(bench.frames().budget(Die{0}) == 54_MiB);
}

TEST_CASE("a limit is kept, and one for a die wins") {
  support::Setting setting = support::small_setting(2);
  setting.setup.options.vram_limit = policy::size_of(20_MiB);
  setting.setup.options.dies_limit.push_back({{1, ""}, policy::size_of(30_MiB)});
  Bench bench(setting);
  (void)room();
  CHECK(bench.frames().budget(Die{0}) == 20_MiB);
  CHECK(bench.frames().budget(Die{1}) == 30_MiB);
}

TEST_CASE("advertise says what the program is told") {
  struct Case {
    policy::Amount advertise;
    std::uint64_t total_bytes;
  };
  const Case cases[] = {
      {policy::kAutomatic, 40_MiB},
      {{policy::Amount::Kind::physical}, 64_MiB},
      {{policy::Amount::Kind::virtual_}, 20_MiB + 128_MiB},
      {policy::size_of(77_MiB), 77_MiB},
  };
  for (const Case& one : cases) {
    support::Setting setting = support::small_setting();
    setting.setup.options.vram_limit = policy::size_of(20_MiB);
    setting.setup.options.vram_advertise = one.advertise;
    Bench bench(setting);
    CHECK(total() == one.total_bytes);
    std::size_t bytes = 0;
    REQUIRE(cuDeviceTotalMem_v2(&bytes, 0) == CUDA_SUCCESS);
    CHECK(bytes == one.total_bytes);
  }
}

TEST_CASE("free memory falls by what is held, and comes back") {
  Bench bench;
  const std::size_t before = room();
  const CUdeviceptr base = bench.alloc(6_MiB);
  CHECK(room() == before - 6_MiB);
  REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  CHECK(room() == before);
}

TEST_CASE("on a die that the policy leaves out the driver answers") {
  support::Setting setting = support::small_setting(2);
  setting.setup.options.dies_use.all = false;
  setting.setup.options.dies_use.dies.push_back({1, ""});
  Bench bench(setting);
  const CUdeviceptr plain = bench.alloc(2_MiB);
  CHECK_FALSE(bench.memory().ours(static_cast<Address>(plain)));
  REQUIRE(cuCtxSetCurrent(bench.contexts[1]) == CUDA_SUCCESS);
  CHECK(bench.memory().ours(static_cast<Address>(bench.alloc(2_MiB))));
  REQUIRE(cuMemFree_v2(plain) == CUDA_SUCCESS);
}

TEST_CASE("a machine that is beyond us is left alone, with the reason") {
  const auto why = [](auto change) {
    support::Setting setting = support::small_setting();
    change(setting.machine);
    support::Life life(setting);
    CHECK(life.session() == nullptr);
    return std::string(life.why_not());
  };
  CHECK(why([](sim::Config& machine) { machine.vmm = false; }).find("virtual memory") !=
        std::string::npos);
  CHECK(why([](sim::Config& machine) { machine.driver_version = 12010; }).find("12.2") !=
        std::string::npos);
}

TEST_CASE("copies between dies outlive the contexts that made the first ones") {
  Bench bench(support::small_setting(2));
  std::vector<std::uint8_t> bytes(9_MiB), got(9_MiB);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i >> 4);
  for (int turn = 0; turn < 3; ++turn) {
    bench.use(1);
    const CUdeviceptr there = bench.alloc(bytes.size());
    bench.use(0);
    const CUdeviceptr here = bench.alloc(bytes.size());
    REQUIRE(cuMemcpyHtoD_v2(here, bytes.data(), bytes.size()) == CUDA_SUCCESS);
    REQUIRE(cuMemcpyPeer(there, bench.contexts[1], here, bench.contexts[0], bytes.size()) ==
            CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(bench.contexts[1]) == CUDA_SUCCESS);
    std::fill(got.begin(), got.end(), std::uint8_t{0});
    REQUIRE(cuMemcpyDtoH_v2(got.data(), there, got.size()) == CUDA_SUCCESS);
    CHECK(got == bytes);
    REQUIRE(cuDevicePrimaryCtxReset_v2(1) == CUDA_SUCCESS);
  }
}

// Two dies, with a range of random-looking bytes on the first and one of zeros on the second.
struct Pair {
  static constexpr std::size_t kBytes = 9_MiB;

  Pair() : bench(support::small_setting(2)), bytes(kBytes), got(kBytes) {
    for (std::size_t i = 0; i < kBytes; ++i) bytes[i] = static_cast<std::uint8_t>(i >> 4 ^ i >> 13);
    use(1);
    there = bench.alloc(kBytes);
    REQUIRE(cuMemsetD8_v2(there, 0, kBytes) == CUDA_SUCCESS);
    use(0);
    here = bench.alloc(kBytes);
    REQUIRE(cuMemcpyHtoD_v2(here, bytes.data(), kBytes) == CUDA_SUCCESS);
    sync();
  }
  CUcontext context(int die) const { return bench.contexts[static_cast<std::size_t>(die)]; }
  void use(int die) const { REQUIRE(cuCtxSetCurrent(context(die)) == CUDA_SUCCESS); }
  void sync() const {
    for (const int die : {1, 0}) {
      use(die);
      REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    }
  }
  void enable(int accessor, int owner) const {
    use(accessor);
    REQUIRE(cuCtxEnablePeerAccess(context(owner), 0) == CUDA_SUCCESS);
  }
  bool arrived(CUdeviceptr at) {
    sync();
    std::fill(got.begin(), got.end(), std::uint8_t{0});
    REQUIRE(bench.life.peek(at, got.data(), kBytes));
    return got == bytes;
  }

  Bench bench;
  std::vector<std::uint8_t> bytes, got;
  CUdeviceptr here = 0, there = 0;
};

TEST_CASE("a copy between dies is ordered by its stream, whichever context is current") {
  for (const bool by_address : {false, true})
    for (const int of_stream : {0, 1})
      for (const int current : {0, 1}) {
        CAPTURE(by_address);
        CAPTURE(of_stream);
        CAPTURE(current);
        Pair pair;
        pair.use(of_stream);
        const CUstream stream = pair.bench.held_stream();
        pair.use(current);
        if (by_address)
          REQUIRE(cuMemcpyDtoDAsync_v2(pair.there, pair.here, Pair::kBytes, stream) ==
                  CUDA_SUCCESS);
        else
          REQUIRE(cuMemcpyPeerAsync(pair.there, pair.context(1), pair.here, pair.context(0),
                                    Pair::kBytes, stream) == CUDA_SUCCESS);
        // The copy waits for the stream, and the stream for the copy.
        for (int i = 0; i < 200; ++i) REQUIRE(cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
        std::uint8_t byte = 1;
        REQUIRE(pair.bench.life.peek(pair.there + 16, &byte, 1));
        CHECK(byte == 0);
        pair.bench.let_go();
        REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
        REQUIRE(pair.bench.life.peek(pair.there, pair.got.data(), Pair::kBytes));
        CHECK(pair.got == pair.bytes);
      }
}

TEST_CASE("a copy on one die runs there, whichever die its stream and the current context are of") {
  for (const int of_stream : {0, 1})
    for (const int current : {0, 1}) {
      CAPTURE(of_stream);
      CAPTURE(current);
      Pair pair;
      pair.use(0);
      const CUdeviceptr twin = pair.bench.alloc(Pair::kBytes);
      pair.use(of_stream);
      CUstream stream = nullptr;
      REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
      pair.use(current);
      CHECK(cuMemcpyDtoDAsync_v2(twin, pair.here, Pair::kBytes, stream) == CUDA_SUCCESS);
      CHECK(cuStreamSynchronize(stream) == CUDA_SUCCESS);
      CHECK(pair.arrived(twin));
    }
}

TEST_CASE("a capture holds a copy between dies only if its own die reaches both ranges") {
  for (const bool by_address : {false, true})
    for (const int enabled : {-1, 0, 1}) {
      CAPTURE(by_address);
      CAPTURE(enabled);
      Pair pair;
      if (enabled >= 0) pair.enable(enabled, 1 - enabled);
      pair.use(0);
      CUstream stream = nullptr;
      CUgraph graph = nullptr;
      REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
      const auto copy = [&] {
        return by_address ? cuMemcpyDtoDAsync_v2(pair.there, pair.here, Pair::kBytes, stream)
                          : cuMemcpyPeerAsync(pair.there, pair.context(1), pair.here,
                                              pair.context(0), Pair::kBytes, stream);
      };
      REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
      const CUresult captured = copy();
      const CUresult ended = cuStreamEndCapture(stream, &graph);
      CHECK_FALSE(pair.arrived(pair.there));
      if (enabled == 0) {
        CHECK(captured == CUDA_SUCCESS);
        REQUIRE(ended == CUDA_SUCCESS);
        CUgraphExec executable = nullptr;
        REQUIRE(cuGraphInstantiateWithFlags(&executable, graph, 0) == CUDA_SUCCESS);
        REQUIRE(cuGraphLaunch(executable, stream) == CUDA_SUCCESS);
      } else {
        CHECK(captured == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
        CHECK(ended == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        // No stream of ours is left in the capture.
        REQUIRE(copy() == CUDA_SUCCESS);
      }
      REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
      CHECK(pair.arrived(pair.there));
    }
}

TEST_CASE("what the driver keeps for the program makes the budget smaller") {
  Bench bench;
  const std::uint64_t before = (room(), bench.frames().budget(Die{0}));
  CUmemGenericAllocationHandle handle = 0;
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  REQUIRE(cuMemCreate(&handle, 4_MiB, &properties, 0) == CUDA_SUCCESS);
  CHECK(bench.frames().budget(Die{0}) == before - 4_MiB);
  REQUIRE(cuMemRelease(handle) == CUDA_SUCCESS);
  CHECK(bench.frames().budget(Die{0}) == before);
}

}  // namespace

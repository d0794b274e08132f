// Graphs on one die, launched slice by slice so that their ranges can take turns.
#include <atomic>
#include <thread>

#include "routed_program.hpp"

namespace {

using namespace barswap;
using routed_program::expected;
using support::Bench;

constexpr std::uint64_t kEach = 40_MiB;
constexpr std::size_t kRanges = 6;

support::Setting crowded() {
  support::Setting setting = support::small_setting();
  setting.machine.vram_bytes = 256_MiB;
  setting.machine.host_bytes = 512_MiB;
  setting.setup.options.tiers_host_limit = policy::size_of(400_MiB);
  setting.setup.options.vram_limit = policy::size_of(176_MiB);
  setting.setup.options.vram_headroom = policy::size_of(8_MiB);
  setting.setup.options.paging_plan = policy::Plan::move;
  setting.setup.options.paging_deadline_ms = 10'000;  // on a slow machine, too
  return setting;
}

// A kernel for each range, and a fill behind the first.
struct Program {
  explicit Program(const support::Setting& setting = crowded(), int die = -1)
      : bench(setting, die) {
    const std::string text = routed_program::kernels_text();
    REQUIRE(cuModuleLoadData(&module, text.c_str()) == CUDA_SUCCESS);
    REQUIRE(cuModuleGetFunction(&update, module, "barswap_xorshift_update") == CUDA_SUCCESS);
    REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    for (std::size_t i = 0; i < kRanges; ++i) {
      ranges.push_back(bench.alloc(kEach));
      REQUIRE(cuMemsetD32_v2(ranges[i], first(i), kEach / 4) == CUDA_SUCCESS);
    }
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    before = bench.life.machine().objects().execs.size();
    graphs = bench.life.machine().objects().graphs.size();
    REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
    for (const CUdeviceptr base : ranges) {
      launch(base);
      if (base == ranges[0])
        REQUIRE(cuMemsetD32Async(base + kEach / 2, 5, 64, stream) == CUDA_SUCCESS);
    }
    REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
    REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  }
  static std::uint32_t first(std::size_t range) { return static_cast<std::uint32_t>(range) + 1; }
  void launch(CUdeviceptr at, CUstream on) {
    std::uint64_t words = 64;
    std::uint32_t salt = 3;
    void* parameters[] = {&at, &words, &salt};
    REQUIRE(cuLaunchKernel(update, 1, 1, 1, 32, 1, 1, 0, on, parameters, nullptr) == CUDA_SUCCESS);
  }
  void launch(CUdeviceptr at) { launch(at, stream); }
  void run(int times) {
    for (int i = 0; i < times; ++i) {
      REQUIRE(cuGraphLaunch(exec, stream) == CUDA_SUCCESS);
      REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
    }
    launches += times;
  }
  std::vector<std::uint32_t> read(CUdeviceptr at) {
    std::vector<std::uint32_t> words(64);
    REQUIRE(cuMemcpyDtoH_v2(words.data(), at, 256) == CUDA_SUCCESS);
    return words;
  }
  bool right() {
    bool all = read(ranges[0] + kEach / 2) == std::vector<std::uint32_t>(64, 5);
    for (std::size_t i = 0; i < kRanges; ++i)
      all = all && read(ranges[i]) == expected(first(i), 64, launches);
    CHECK(bench.life.check_books() == "");
    return all;
  }
  // Executable graphs beside the program's.
  std::size_t ours() { return bench.life.machine().objects().execs.size() - before - 1; }
  static std::uint64_t turned_in() {
    return stats::get(stats::live().causes[static_cast<std::size_t>(Cause::turn)].bytes_in);
  }

  Bench bench;
  CUmodule module = nullptr;
  CUfunction update = nullptr;
  CUstream stream = nullptr;
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  std::vector<CUdeviceptr> ranges;
  std::size_t before = 0, graphs = 0;
  int launches = 0;
};

TEST_CASE("ranges of a graph take turns between its slices") {
  Program program;
  program.run(1);
  CHECK(program.ours() == 0);
  program.run(30);
  CHECK(program.ours() == kRanges);
  const std::uint64_t before = Program::turned_in();
  program.run(5);
  // What does not fit comes in once a pass.
  CHECK(Program::turned_in() - before >= 5 * (kRanges * kEach - 176_MiB));
  CHECK(program.right());
  REQUIRE(cuGraphExecDestroy(program.exec) == CUDA_SUCCESS);
  REQUIRE(cuGraphDestroy(program.graph) == CUDA_SUCCESS);
  CHECK(program.bench.life.machine().objects().execs.size() == program.before);
  CHECK(program.bench.life.machine().objects().graphs.size() == program.graphs);
}

TEST_CASE("graphs are launched in slices on whichever die the program uses") {
  support::Setting setting = crowded();
  setting.machine.dies = 2;
  setting.setup.options.tiers_peer_enable = false;
  Program program(setting, 1);
  program.run(20);
  CHECK(program.ours() == kRanges);
  CHECK(program.right());
}

// With the fill's page on the host, or on its way, too.
TEST_CASE("turns go on beside slices, which find their bytes") {
  for (const bool worker : {true, false}) {
    CAPTURE(worker);
    support::Setting setting = crowded();
    setting.machine.strict = false;
    setting.setup.worker = worker;
    setting.setup.options.tiers_host_prepare_bytes = 0;
    setting.setup.options.paging_overlap = policy::Overlap::reach;
    Program program(setting);
    const std::uint64_t before = stats::get(stats::live().beside_bytes);
    for (int i = 0; i < 16; ++i) {
      program.run(1);
      REQUIRE(cuMemsetD32Async(program.ranges[0] + kEach / 2, 6, 64, program.stream) ==
              CUDA_SUCCESS);
    }
    program.run(1);
    CHECK(program.ours() == kRanges);
    CHECK(stats::get(stats::live().beside_bytes) > before);
    CHECK(program.right());
  }
}

TEST_CASE("a graph stays one where slices would be of no use") {
  support::Setting setting = crowded();
  SUBCASE("all fits") { setting.setup.options.vram_limit = policy::size_of(256_MiB); }
  SUBCASE("pages stay where they are") { setting.setup.options.paging_plan = policy::Plan::stream; }
  Program program(setting);
  program.run(6);
  CHECK(program.ours() == 0);
  CHECK(program.right());
}

TEST_CASE("an update reaches the slice that it is for, and a graph updated often stays one") {
  Program program;
  program.run(5);
  REQUIRE(program.ours() == kRanges);
  CUgraphNode nodes[kRanges + 1];
  std::size_t count = std::size(nodes);
  REQUIRE(cuGraphGetNodes(program.graph, nodes, &count) == CUDA_SUCCESS);
  SUBCASE("of one kernel") {
    CUdeviceptr at = program.ranges[3] + 1024;
    std::uint64_t words = 64;
    std::uint32_t salt = 3;
    void* parameters[] = {&at, &words, &salt};
    CUDA_KERNEL_NODE_PARAMS kernel{};
    REQUIRE(cuGraphKernelNodeGetParams_v2(nodes[4], &kernel) == CUDA_SUCCESS);
    kernel.kernelParams = parameters;
    REQUIRE(cuGraphExecKernelNodeSetParams_v2(program.exec, nodes[4], &kernel) == CUDA_SUCCESS);
    program.run(3);
    CHECK(program.ours() == kRanges);
    CHECK(program.read(program.ranges[3]) == expected(4, 64, 5));
    CHECK(program.read(program.ranges[3] + 1024) == expected(4, 64, 3));
    CHECK(program.read(program.ranges[4]) == expected(5, 64, 8));
  }
  SUBCASE("of the whole") {
    CUgraphExecUpdateResultInfo info{};
    for (int i = 0; i < 4; ++i) {
      REQUIRE(cuGraphExecUpdate_v2(program.exec, program.graph, &info) == CUDA_SUCCESS);
      program.run(3);
    }
    CHECK(program.ours() == 0);
    CHECK(program.right());
  }
}

TEST_CASE("nothing of another thread comes between the slices of a graph") {
  Program program;
  program.run(5);
  REQUIRE(program.ours() == kRanges);
  // Read by the first kernel and the last: what another thread adds is seen by both or by neither.
  CUgraph pair = nullptr;
  REQUIRE(cuStreamBeginCapture_v2(program.stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  const CUdeviceptr shared = program.ranges[0] + 4096;
  REQUIRE(cuMemsetD32Async(shared, 1, 64, program.stream) == CUDA_SUCCESS);
  for (const CUdeviceptr base : program.ranges) program.launch(base);
  program.launch(shared);
  REQUIRE(cuStreamEndCapture(program.stream, &pair) == CUDA_SUCCESS);
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, pair, 0) == CUDA_SUCCESS);
  std::atomic<bool> over{false};
  std::thread other([&] {
    CHECK(cuCtxSetCurrent(program.bench.contexts[0]) == CUDA_SUCCESS);
    while (!over.load()) {
      CHECK(cuMemsetD32Async(shared, 77, 64, program.stream) == CUDA_SUCCESS);
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  for (int i = 0; i < 40; ++i) REQUIRE(cuGraphLaunch(exec, program.stream) == CUDA_SUCCESS);
  over.store(true);
  other.join();
  REQUIRE(cuStreamSynchronize(program.stream) == CUDA_SUCCESS);
  const std::uint32_t word = program.read(shared)[0];
  CHECK((word == 77 || word == expected(1, 1, 1)[0]));
  CHECK(program.ours() > kRanges);
}

TEST_CASE("a slice that is refused loses nothing, or says so") {
  Program program;
  program.run(5);
  REQUIRE(program.ours() == kRanges);
  SUBCASE("the first: the whole is launched as it is") {
    program.bench.life.machine().refuse("cuGraphLaunch", CUDA_ERROR_OUT_OF_MEMORY, 1, false);
    program.run(3);
    CHECK(program.ours() == 0);
    CHECK(program.right());
  }
  SUBCASE("a later one, for want of memory that is found") {
    program.bench.life.machine().refuse("cuGraphLaunch", CUDA_ERROR_OUT_OF_MEMORY, 3, false);
    program.run(3);
    CHECK(program.ours() == kRanges);
    CHECK(program.right());
  }
  SUBCASE("a later one, for good") {
    program.bench.life.machine().refuse("cuGraphLaunch", CUDA_ERROR_INVALID_VALUE, 3);
    CHECK(cuGraphLaunch(program.exec, program.stream) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(program.stream) != CUDA_SUCCESS);
    CHECK(cuGraphLaunch(program.exec, program.stream) != CUDA_SUCCESS);
  }
}

TEST_CASE("slices on several streams come one graph after another") {
  Program program;
  program.run(5);
  CUstream second = nullptr;
  REQUIRE(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  for (int i = 0; i < 12; ++i)
    REQUIRE(cuGraphLaunch(program.exec, i % 2 == 0 ? second : program.stream) == CUDA_SUCCESS);
  program.launches += 12;
  REQUIRE(cuStreamDestroy_v2(second) == CUDA_SUCCESS);
  program.run(2);
  CHECK(program.ours() == kRanges);
  CHECK(program.right());
}

TEST_CASE("a program that launches far ahead of a die that waits for it is not held") {
  support::Setting setting = crowded();
  setting.setup.options.paging_deadline_ms = 2;
  Program program(setting);
  program.run(5);
  REQUIRE(program.ours() == kRanges);
  const CUstream held = program.bench.held_stream();
  CUevent event = nullptr;
  REQUIRE(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING) == CUDA_SUCCESS);
  REQUIRE(cuEventRecord(event, held) == CUDA_SUCCESS);
  REQUIRE(cuStreamWaitEvent(program.stream, event, 0) == CUDA_SUCCESS);
  const auto sliced = [&] { return program.bench.life.machine().audit().calls["cuGraphLaunch"]; };
  const std::uint64_t before = sliced();
  constexpr int kAhead = 95;
  for (int i = 0; i < kAhead; ++i)
    REQUIRE(cuGraphLaunch(program.exec, program.stream) == CUDA_SUCCESS);
  program.launches += kAhead;
  // 512 slices, and then the graph as it is.
  CHECK(sliced() - before <= 512 + kAhead);
  CHECK(sliced() - before > 400);
  program.bench.let_go();
  REQUIRE(cuStreamSynchronize(program.stream) == CUDA_SUCCESS);
  program.run(3);
  CHECK(program.right());
}

// Its own event and clones are those of the context that lives on.
TEST_CASE("another context that ends leaves the graphs of the first one in their order") {
  Program program;
  program.run(5);
  REQUIRE(program.ours() == kRanges);
  CUcontext first = program.bench.contexts[0], other = nullptr;
  REQUIRE(cuGraphLaunch(program.exec, program.stream) == CUDA_SUCCESS);
  REQUIRE(cuCtxCreate_v2(&other, 0, 0) == CUDA_SUCCESS);
  REQUIRE(cuCtxDestroy_v2(other) == CUDA_SUCCESS);
  REQUIRE(cuCtxSetCurrent(first) == CUDA_SUCCESS);
  CUstream second = nullptr;
  REQUIRE(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  for (int i = 0; i < 6; ++i)
    REQUIRE(cuGraphLaunch(program.exec, i % 2 == 0 ? second : program.stream) == CUDA_SUCCESS);
  program.launches += 7;
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(program.ours() == kRanges);
  CHECK(program.right());
  REQUIRE(cuGraphExecDestroy(program.exec) == CUDA_SUCCESS);
  CHECK(program.bench.life.machine().objects().execs.size() == program.before);
}

TEST_CASE("slices keep the bytes whatever moves between them") {
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    CAPTURE(seed);
    support::Setting setting = crowded();
    setting.setup.chaos = true;
    setting.setup.chaos_seed = seed;
    Program program(setting);
    program.run(20);
    CHECK(program.ours() >= kRanges);
    CHECK(program.right());
  }
}

}  // namespace

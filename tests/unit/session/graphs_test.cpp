// Graphs whose kernels run on the dies that hold their bytes.
#include <atomic>
#include <cstring>
#include <thread>

#include "routed_program.hpp"

namespace {

using namespace barswap;
using namespace barswap::routed_program;

// A graph of the program's, and what there was before anything was made beside it.
struct Launched {
  explicit Launched(Program& program) : owner(program) {
    REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    executables = owner.life.machine().objects().execs.size();
    graphs = owner.life.machine().objects().graphs.size();
  }
  CUgraphExec make(CUgraph graph) {
    REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
    owner.before = Program::counts();
    return exec;
  }
  void run(int times, CUstream on) {
    for (int i = 0; i < times; ++i) REQUIRE(cuGraphLaunch(exec, on) == CUDA_SUCCESS);
    launches += times;
  }
  void run(int times) { run(times, stream); }
  bool nothing_left() {
    return owner.life.machine().objects().execs.size() == executables &&
           owner.life.machine().objects().graphs.size() == graphs;
  }

  Program& owner;
  CUstream stream = nullptr;
  CUgraphExec exec = nullptr;
  int launches = 0;
  std::size_t executables = 0, graphs = 0;
};

// Near, far, far, a fill of what is far, near: captured on a stream.
struct Captured : Launched {
  using Launched::Launched;
  CUgraph capture() {
    CUgraph graph = nullptr;
    REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
    REQUIRE(owner.launch(owner.near, 64, stream) == CUDA_SUCCESS);
    REQUIRE(owner.launch(owner.far, 64, stream) == CUDA_SUCCESS);
    REQUIRE(owner.launch(owner.far, 64, stream) == CUDA_SUCCESS);
    REQUIRE(cuMemsetD32Async(owner.far + 4096, 9, 64, stream) == CUDA_SUCCESS);
    REQUIRE(owner.launch(owner.near, 64, stream) == CUDA_SUCCESS);
    REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
    return graph;
  }
  std::vector<CUgraphNode> nodes(CUgraph graph) const {
    CUgraphNode nodes[5];
    std::size_t count = 5;
    REQUIRE(cuGraphGetNodes(graph, nodes, &count) == CUDA_SUCCESS);
    return {nodes, nodes + count};
  }
  // The last kernel names what the first one did, and goes along.
  static constexpr std::uint64_t kAway = 3;
  std::uint32_t word(CUdeviceptr at) {
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    return owner.read(at, 1)[0];
  }
  bool right() {
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    return owner.read(owner.far, 64) == expected(2, 64, 2 * launches) &&
           owner.read(owner.near, 64) == expected(1, 64, 2 * launches) &&
           owner.read(owner.far + 4096, 64) == std::vector<std::uint32_t>(64, 9);
  }
};

TEST_CASE("kernels of a graph go to their bytes, from its second launch on") {
  Program program;
  SUBCASE("of a library") {}
  SUBCASE("of a module") { program.load_module(std::string(program.text)); }
  Captured captured(program);
  CUgraph graph = captured.capture();
  captured.make(graph);
  captured.run(1);
  CHECK(program.sent() == 0);
  captured.run(4);
  CHECK(program.sent() == 4 * Captured::kAway);
  CHECK(program.changes() == 8);  // the fill goes along
  CHECK(captured.right());
  // What follows on the stream finds it done, wherever it goes.
  REQUIRE(program.launch(program.far + kBytes / 2, 64, captured.stream) == CUDA_SUCCESS);
  captured.run(1);
  CHECK(captured.right());
  REQUIRE(cuGraphDestroy(graph) == CUDA_SUCCESS);
  captured.run(1);
  CHECK(captured.right());
  REQUIRE(cuGraphExecDestroy(captured.exec) == CUDA_SUCCESS);
  CHECK(captured.nothing_left());
}

TEST_CASE("a graph's updates hold wherever its kernels run") {
  Program program;
  Captured captured(program);
  CUgraph graph = captured.capture();
  captured.make(graph);
  captured.run(2);
  REQUIRE(program.sent() == Captured::kAway);
  const std::vector<CUgraphNode> nodes = captured.nodes(graph);
  std::uint64_t words = 32;
  std::uint32_t salt = 3;
  void* parameters[] = {&program.far, &words, &salt};
  CUDA_KERNEL_NODE_PARAMS kernel{};
  REQUIRE(cuGraphKernelNodeGetParams_v2(nodes[1], &kernel) == CUDA_SUCCESS);
  kernel.kernelParams = parameters;
  const auto half = [&](int whole, int halves) {
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    const auto words_seen = program.read(program.far, 64);
    return words_seen[31] == expected(2, 1, 2 * whole + 2 * halves)[0] &&
           words_seen[63] == expected(2, 1, 2 * whole + halves)[0];
  };
  SUBCASE("parameters of a kernel") {
    REQUIRE(cuGraphExecKernelNodeSetParams_v2(captured.exec, nodes[1], &kernel) == CUDA_SUCCESS);
    captured.run(2);
    CHECK(program.sent() == 3 * Captured::kAway);
    CHECK(half(2, 2));
  }
  SUBCASE("a whole graph") {
    REQUIRE(cuGraphKernelNodeSetParams_v2(nodes[1], &kernel) == CUDA_SUCCESS);
    CUgraphExecUpdateResultInfo outcome{};
    REQUIRE(cuGraphExecUpdate_v2(captured.exec, graph, &outcome) == CUDA_SUCCESS);
    captured.run(3);
    CHECK(program.sent() == 4 * Captured::kAway);
    CHECK(half(2, 3));
  }
  SUBCASE("whole graphs, time and again: it stays") {
    for (int i = 0; i < 4; ++i) {
      CUgraphExecUpdateResultInfo outcome{};
      REQUIRE(cuGraphExecUpdate_v2(captured.exec, graph, &outcome) == CUDA_SUCCESS);
      captured.run(2);
    }
    const std::uint64_t sent = program.sent();
    captured.run(3);
    CHECK(program.sent() == sent);
    CHECK(captured.right());
  }
  SUBCASE("a fill: it stays") {
    CUDA_MEMSET_NODE_PARAMS fill{};
    REQUIRE(cuGraphMemsetNodeGetParams(nodes[3], &fill) == CUDA_SUCCESS);
    fill.value = 10;
    REQUIRE(cuGraphExecMemsetNodeSetParams(captured.exec, nodes[3], &fill, nullptr) ==
            CUDA_SUCCESS);
    captured.run(2);
    CHECK(program.sent() == Captured::kAway);
    CHECK(captured.word(program.far + 4096) == 10);
    CHECK(captured.word(program.far) == expected(2, 1, 8)[0]);
  }
  REQUIRE(cuGraphDestroy(graph) == CUDA_SUCCESS);
  REQUIRE(cuGraphExecDestroy(captured.exec) == CUDA_SUCCESS);
  CHECK(captured.nothing_left());
}

TEST_CASE("a graph is not launched beside itself, wherever it runs") {
  Program program;
  Captured captured(program);
  CUstream other = nullptr, third = nullptr;
  REQUIRE(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamCreate(&third, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CUgraph graph = captured.capture();
  // It ends once the host says so.
  void* memory = nullptr;
  REQUIRE(cuMemHostAlloc(&memory, 4, CU_MEMHOSTALLOC_PORTABLE) == CUDA_SUCCESS);
  auto* flag = static_cast<volatile std::uint32_t*>(memory);
  CUkernel spin = nullptr;
  REQUIRE(cuLibraryGetKernel(&spin, program.library, "barswap_spin") == CUDA_SUCCESS);
  void* parameters[] = {&memory};
  CUDA_KERNEL_NODE_PARAMS waits{};
  waits.kern = spin;
  waits.gridDimX = waits.gridDimY = waits.gridDimZ = 1;
  waits.blockDimX = waits.blockDimY = waits.blockDimZ = 1;
  waits.kernelParams = parameters;
  CUgraphNode last = nullptr;
  REQUIRE(cuGraphAddKernelNode_v2(&last, graph, &captured.nodes(graph)[4], 1, &waits) ==
          CUDA_SUCCESS);
  captured.make(graph);
  *flag = 1;
  captured.run(2);
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  REQUIRE(program.sent() > 0);
  const std::uint64_t sent = program.sent();
  *flag = 0;
  captured.run(1);
  CHECK(program.sent() > sent);
  // Beside a capture it runs at home, and nobody waits on the host.
  REQUIRE(cuStreamBeginCapture_v2(third, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  captured.run(1, other);
  for (int i = 0; i < 300; ++i) CHECK(cuStreamQuery(other) == CUDA_ERROR_NOT_READY);
  std::uint32_t word = 0;
  REQUIRE(program.life.peek(program.near, &word, 4));
  CHECK(word == expected(1, 1, 6)[0]);
  *flag = 1;
  CUgraph nothing = nullptr;
  REQUIRE(cuStreamEndCapture(third, &nothing) == CUDA_SUCCESS);
  CHECK(captured.right());
}

TEST_CASE("a graph comes home when a kernel of it has to") {
  Program program;
  program.load(with_variable(program.text, "const"));
  Captured captured(program);
  CUgraph graph = captured.capture();
  captured.make(graph);
  captured.run(2);
  REQUIRE(program.sent() == Captured::kAway);
  CUdeviceptr variable = 0;
  SUBCASE("since a constant that it reads may be written") {
    REQUIRE(cuLibraryGetGlobal(&variable, nullptr, program.library, "counter") == CUDA_SUCCESS);
    captured.run(2);
    CHECK(captured.right());
  }
  SUBCASE("since it is given what its die does not reach") {
    CUlibrary other = nullptr;
    REQUIRE(cuLibraryLoadData(&other, with_variable(program.text).c_str(), nullptr, nullptr, 0,
                              nullptr, nullptr, 0) == CUDA_SUCCESS);
    REQUIRE(cuLibraryGetGlobal(&variable, nullptr, other, "counter") == CUDA_SUCCESS);
    std::uint64_t words = 1;
    std::uint32_t salt = 3;
    void* parameters[] = {&variable, &words, &salt};
    const CUgraphNode node = captured.nodes(graph)[1];
    CUDA_KERNEL_NODE_PARAMS kernel{};
    REQUIRE(cuGraphKernelNodeGetParams_v2(node, &kernel) == CUDA_SUCCESS);
    kernel.kernelParams = parameters;
    REQUIRE(cuGraphExecKernelNodeSetParams_v2(captured.exec, node, &kernel) == CUDA_SUCCESS);
    captured.run(2);
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    CHECK(captured.word(program.far) == expected(2, 1, 6)[0]);
  }
  CHECK(program.sent() == Captured::kAway);
}

TEST_CASE("a graph that may not be split runs at home") {
  Program program;
  Captured captured(program);
  CUgraph graph = nullptr;
  int rounds = 2;
  SUBCASE("nodes side by side") {
    graph = captured.capture();
    const std::vector<CUgraphNode> nodes = captured.nodes(graph);
    CUDA_KERNEL_NODE_PARAMS kernel{};
    REQUIRE(cuGraphKernelNodeGetParams_v2(nodes[1], &kernel) == CUDA_SUCCESS);
    CUgraphNode beside = nullptr;
    REQUIRE(cuGraphAddKernelNode_v2(&beside, graph, &nodes[4], 1, &kernel) == CUDA_SUCCESS);
    REQUIRE(cuGraphAddKernelNode_v2(&beside, graph, &nodes[4], 1, &kernel) == CUDA_SUCCESS);
    rounds = 4;
  }
  SUBCASE("a kernel that keeps state") {
    program.load(with_variable(program.text));
    graph = captured.capture();
  }
  SUBCASE("a function of the host") {
    graph = captured.capture();
    CUgraphNode last = nullptr;
    CUDA_HOST_NODE_PARAMS host{[](void*) {}, nullptr};
    REQUIRE(cuGraphAddHostNode(&last, graph, &captured.nodes(graph)[4], 1, &host) == CUDA_SUCCESS);
  }
  captured.make(graph);
  captured.run(3);
  CHECK(program.sent() == 0);
  CHECK(captured.word(program.far) == expected(2, 1, rounds * 3)[0]);
}

TEST_CASE("graphs and other streams take turns on the dies") {
  Program program;
  Captured captured(program);
  CUstream other = nullptr;
  REQUIRE(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  captured.make(captured.capture());
  captured.run(3);
  CHECK(program.sent() == 2 * Captured::kAway);
  // By the time of a launch beside it the graph has ended.
  REQUIRE(program.launch(program.near + kBytes / 2, 64, other) == CUDA_SUCCESS);
  std::uint32_t word = 0;
  REQUIRE(program.life.peek(program.near, &word, 4));
  CHECK(word == expected(1, 1, 6)[0]);
  // Launched at home beside other work, and ordered behind what it did before on any stream.
  REQUIRE(program.launch(program.near + kBytes / 2, kBytes / 16, other) == CUDA_SUCCESS);
  captured.run(2);
  captured.run(2, other);
  REQUIRE(cuStreamSynchronize(other) == CUDA_SUCCESS);
  captured.run(2, other);
  captured.run(2);
  CHECK(captured.right());
  // Captured, it is part of another graph, and no event of ours gets into that.
  CUgraph whole = nullptr;
  CUgraphExec around = nullptr;
  REQUIRE(cuStreamBeginCapture_v2(other, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  captured.run(1, other);
  REQUIRE(cuStreamEndCapture(other, &whole) == CUDA_SUCCESS);
  REQUIRE(cuGraphInstantiateWithFlags(&around, whole, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphLaunch(around, other) == CUDA_SUCCESS);
  CHECK(captured.right());
  captured.run(1);
  REQUIRE(cuStreamDestroy_v2(other) == CUDA_SUCCESS);
  captured.run(2);
  CHECK(captured.right());
}

// Made before what refers to it.
struct Owned {
  Program own;
};

// What is handed on: a node for the data of each die, and many that name the buffer after it.
struct HandingOn : Owned, Launched {
  static constexpr std::uint64_t kBuffer = 8_MiB;
  static constexpr int kOnEach = 16;

  explicit HandingOn(const support::Setting& setting = routed())
      : Owned{Program(setting)}, Launched(own) {
    buffer = owner.alloc(kBuffer);
    REQUIRE(cuMemsetD32_v2(buffer, 7, kBuffer / 4) == CUDA_SUCCESS);
    REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
    for (const CUdeviceptr data : {owner.near, owner.far}) {
      REQUIRE(owner.launch(data, 64, stream) == CUDA_SUCCESS);
      for (int i = 0; i < kOnEach; ++i) REQUIRE(owner.launch(buffer, 64, stream) == CUDA_SUCCESS);
    }
    REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
    ++graphs;
    make(graph);
  }
  bool right() {
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    return owner.read(owner.near, 64) == expected(1, 64, launches) &&
           owner.read(owner.far, 64) == expected(2, 64, launches) &&
           owner.read(buffer, 64) == expected(7, 64, 2 * kOnEach * launches);
  }
  static std::uint64_t carried() {
    auto& cause = stats::live().causes[static_cast<std::size_t>(Cause::carry)];
    return stats::get(cause.pages_in) + stats::get(cause.pages_out);
  }

  CUdeviceptr buffer = 0;
  CUgraph graph = nullptr;
};

TEST_CASE("what a graph hands on is carried to the die that goes on with it") {
  HandingOn program;
  program.run(1);
  CHECK(program.owner.sent() == 0);
  const std::uint64_t before = HandingOn::carried();
  program.run(5);
  CHECK(program.owner.sent() == 5 * (1 + HandingOn::kOnEach));
  CHECK(HandingOn::carried() - before == 5 + 4);  // it is one page
  CHECK(program.owner.lies_on(program.buffer, HandingOn::kBuffer, 1));
  CHECK(program.right());
  REQUIRE(cuGraphExecDestroy(program.exec) == CUDA_SUCCESS);
  CHECK(program.nothing_left());
}

TEST_CASE("updates reach the part of a graph that they are for") {
  HandingOn program;
  program.run(3);
  CUgraphNode nodes[2 + 2 * HandingOn::kOnEach];
  std::size_t count = std::size(nodes);
  REQUIRE(cuGraphGetNodes(program.graph, nodes, &count) == CUDA_SUCCESS);
  REQUIRE(count == std::size(nodes));
  std::uint64_t words = 32;
  std::uint32_t salt = 3;
  const auto halve = [&](CUgraphNode node, CUdeviceptr at) {
    void* parameters[] = {&at, &words, &salt};
    CUDA_KERNEL_NODE_PARAMS kernel{};
    REQUIRE(cuGraphKernelNodeGetParams_v2(node, &kernel) == CUDA_SUCCESS);
    kernel.kernelParams = parameters;
    REQUIRE(cuGraphExecKernelNodeSetParams_v2(program.exec, node, &kernel) == CUDA_SUCCESS);
  };
  halve(nodes[0], program.owner.near);
  halve(nodes[1 + HandingOn::kOnEach], program.owner.far);
  const std::uint64_t sent = program.owner.sent();
  program.run(2);
  CHECK(program.owner.sent() == sent + 2 * (1 + HandingOn::kOnEach));
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  for (const auto& [at, start] : {std::pair{program.owner.near, 1u}, {program.owner.far, 2u}}) {
    const auto read = program.owner.read(at, 64);
    CHECK(read[31] == expected(start, 1, 5)[0]);
    CHECK(read[63] == expected(start, 1, 3)[0]);
  }
  CHECK(program.owner.read(program.buffer, 64) == expected(7, 64, 5 * 2 * HandingOn::kOnEach));
}

TEST_CASE("nothing of another thread comes between the parts of a graph") {
  HandingOn program;
  program.run(2);
  constexpr std::uint32_t kFill = 7;
  std::atomic<bool> over{false};
  std::thread other([&] {
    CUcontext context = nullptr;
    CHECK(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
    CHECK(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    while (!over.load()) {
      CHECK(cuMemsetD32Async(program.buffer, kFill, 64, program.stream) == CUDA_SUCCESS);
      std::this_thread::sleep_for(std::chrono::microseconds(300));
    }
  });
  const std::uint64_t sent = program.owner.sent();
  program.run(60);
  over.store(true);
  other.join();
  CHECK(program.owner.sent() > sent);
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  const std::uint32_t word = program.owner.read(program.buffer, 1)[0];
  bool whole = false;
  for (int i = 0; i <= program.launches; ++i)
    whole = whole || word == expected(kFill, 1, 2 * HandingOn::kOnEach * i)[0];
  CHECK(whole);
}

TEST_CASE("a part of a graph that is refused loses nothing, or says so") {
  HandingOn program;
  program.run(2);
  REQUIRE(program.owner.sent() > 0);
  const std::uint64_t sent = program.owner.sent();
  SUBCASE("the first: the whole runs at home") {
    program.owner.life.machine().refuse("cuGraphLaunch", CUDA_ERROR_OUT_OF_MEMORY, 1, false);
    program.run(3);
    CHECK(program.owner.sent() == sent);
    CHECK(program.right());
  }
  SUBCASE("a later one, for want of memory that is found") {
    program.owner.life.machine().refuse("cuGraphLaunch", CUDA_ERROR_OUT_OF_MEMORY, 2, false);
    program.run(3);
    CHECK(program.right());
  }
  SUBCASE("a later one, for good") {
    program.owner.life.machine().refuse("cuGraphLaunch", CUDA_ERROR_INVALID_VALUE, 2);
    CHECK(cuGraphLaunch(program.exec, program.stream) == CUDA_ERROR_INVALID_VALUE);
    CHECK(cuStreamSynchronize(program.stream) != CUDA_SUCCESS);
    CHECK(cuGraphLaunch(program.exec, program.stream) != CUDA_SUCCESS);
  }
}

TEST_CASE("who waits too long for a graph's parts goes on, and the graph fails") {
  HandingOn program;
  program.run(2);
  session::Router& router = *program.owner.life.session()->router();
  session::Turnstile& turnstile = router.turnstile();
  const session::AtHome home;
  const session::Turnstile::Held held(turnstile);
  REQUIRE(held.ours());
  CUresult state = CUDA_ERROR_UNKNOWN;
  std::thread other([&] { state = cuStreamQuery(program.stream); });
  other.join();
  CHECK((state == CUDA_SUCCESS || state == CUDA_ERROR_NOT_READY));
  CHECK(!held.lasts());
  CHECK(turnstile.broken());
  const session::Turnstile::Held again(turnstile);
  CHECK(!again.ours());
  CHECK(router.lost(Error{Fault::busy}) != 0);
  CHECK(cuStreamSynchronize(program.stream) != CUDA_SUCCESS);
}

TEST_CASE("a graph that is not carried for goes on in one part") {
  HandingOn program;
  program.owner.life.machine().refuse("cuMemUnmap", CUDA_ERROR_UNKNOWN);
  program.run(20);
  CHECK(program.owner.sent() > 0);
  CHECK(program.right());
}

}  // namespace

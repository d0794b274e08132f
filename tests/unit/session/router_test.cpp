// Routing: launches go to the die that holds their bytes, and a program's streams keep their order.
#include <atomic>
#include <thread>

#include "routed_program.hpp"

namespace {

using namespace barswap;
using namespace barswap::routed_program;

TEST_CASE("a range that does not fit lies whole on the other die, and launches go there") {
  Program program;
  CHECK(program.lies_on(program.near, kBytes, 0));
  CHECK(program.lies_on(program.far, kBytes, 1));
  for (int i = 0; i < 10; ++i) REQUIRE(program.launch(program.far, 64) == CUDA_SUCCESS);
  CHECK(program.sent() == 10);
  CHECK(program.changes() == 1);
  const auto words = program.read(program.far, 96);
  CHECK(program.changes() == 2);
  CHECK(std::equal(words.begin(), words.begin() + 64, expected(2, 64, 10).begin()));
  CHECK(words[64] == 2);
  REQUIRE(program.launch(program.near, 64) == CUDA_SUCCESS);
  CHECK(program.read(program.near, 64) == expected(1, 64, 1));
  CHECK(program.sent() == 10);
}

TEST_CASE("where no tier has room for a range as a whole, it lies in pieces") {
  support::Setting setting = routed();
  setting.setup.options.tiers_host_limit = policy::size_of(24_MiB);
  Program program(setting);  // 32 MiB are left on each die
  CUdeviceptr base = 0;
  REQUIRE(cuMemAlloc_v2(&base, 56_MiB) == CUDA_SUCCESS);
  REQUIRE(cuMemsetD32_v2(base, 7, 56_MiB / 4) == CUDA_SUCCESS);
  CHECK(program.read(base + 56_MiB - 256, 64) == std::vector<std::uint32_t>(64, 7));
  CUdeviceptr more = 0;
  CHECK(cuMemAlloc_v2(&more, 128_MiB) == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("the program still has one context, on one die") {
  Program program;
  REQUIRE(program.launch(program.far, 64) == CUDA_SUCCESS);
  CUdevice device = -1;
  REQUIRE(cuCtxGetDevice(&device) == CUDA_SUCCESS);
  CHECK(device == 0);
  unsigned flags = 0;
  int active = 1;
  REQUIRE(cuDevicePrimaryCtxGetState(1, &flags, &active) == CUDA_SUCCESS);
  CHECK(active == 0);
}

TEST_CASE("what is named on both dies in turn keeps its order on one stream") {
  Program program;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  for (CUstream on : {stream, CUstream(nullptr)}) {
    const auto far = program.read(program.far, 1)[0], near = program.read(program.near, 1)[0];
    for (int i = 0; i < 5; ++i) {
      program.pause(on);
      REQUIRE(program.launch(program.far, 1000, on) == CUDA_SUCCESS);
      REQUIRE(program.launch(program.near, 1000, on) == CUDA_SUCCESS);
      REQUIRE(cuMemcpyDtoDAsync_v2(program.near + 8192, program.far, 4000, on) == CUDA_SUCCESS);
      REQUIRE(cuMemsetD32Async(program.far + 8192, 5 + static_cast<unsigned>(i), 1000, on) ==
              CUDA_SUCCESS);
      REQUIRE(program.launch(program.far + 8192, 1000, on) == CUDA_SUCCESS);
    }
    REQUIRE(cuStreamSynchronize(on) == CUDA_SUCCESS);
    CHECK(program.read(program.far, 1000) == expected(far, 1000, 5));
    CHECK(program.read(program.near, 1000) == expected(near, 1000, 5));
    CHECK(program.read(program.near + 8192, 1000) == expected(far, 1000, 5));
    CHECK(program.read(program.far + 8192, 1000) == expected(9, 1000, 1));
  }
  CHECK(program.changes() >= 20);
}

TEST_CASE("events and waits of the program order what was sent away") {
  Program program;
  CUstream first = nullptr, second = nullptr;
  REQUIRE(cuStreamCreate(&first, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  CUevent event = nullptr;
  REQUIRE(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING) == CUDA_SUCCESS);
  for (int i = 0; i < 6; ++i) {
    REQUIRE(program.launch(program.far, 2000, first) == CUDA_SUCCESS);
    REQUIRE(cuEventRecord(event, first) == CUDA_SUCCESS);
    REQUIRE(cuStreamWaitEvent(second, event, 0) == CUDA_SUCCESS);
    REQUIRE(program.launch(program.far, 2000, second) == CUDA_SUCCESS);
    REQUIRE(cuEventRecord(event, second) == CUDA_SUCCESS);
    REQUIRE(cuStreamWaitEvent(first, event, 0) == CUDA_SUCCESS);
  }
  REQUIRE(cuEventSynchronize(event) == CUDA_SUCCESS);
  CHECK(program.read(program.far, 2000) == expected(2, 2000, 12));
}

TEST_CASE("a stream is not done while its end is on another die") {
  Program program;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  for (int i = 0; i < 4; ++i)
    REQUIRE(program.launch(program.far, kBytes / 4, stream) == CUDA_SUCCESS);
  CUresult state = CUDA_ERROR_NOT_READY;
  while ((state = cuStreamQuery(stream)) == CUDA_ERROR_NOT_READY) {}
  REQUIRE(state == CUDA_SUCCESS);
  std::uint32_t last = 0;
  REQUIRE(program.life.peek(program.far + kBytes - 4, &last, 4));
  CHECK(last == expected(2, 1, 4)[0]);
}

TEST_CASE("beside a capture launches stay, and what is captured is what ran") {
  Program program;
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(program.launch(program.far, 100, stream) == CUDA_SUCCESS);
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  REQUIRE(program.launch(program.far, 100, stream) == CUDA_SUCCESS);
  CUgraph graph = nullptr;
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CHECK(program.sent() == 1);
  CHECK(program.kept(BARSWAP_KEPT_CAPTURE) == 1);
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(cuGraphLaunch(exec, stream) == CUDA_SUCCESS);
    program.pause(stream);
    REQUIRE(program.launch(program.far, 100, stream) == CUDA_SUCCESS);
  }
  REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(program.read(program.far, 100) == expected(2, 100, 7));
  CHECK(program.sent() >= 4);
}

TEST_CASE("a function of a module goes as its twin") {
  Program program;
  SUBCASE("whose image is gone by then") { program.load_module(std::string(program.text)); }
  SUBCASE("translated as the program wants it") {
    program.load_module([&](CUmodule* module) {
      CUjit_option options[] = {CU_JIT_OPTIMIZATION_LEVEL, CU_JIT_ERROR_LOG_BUFFER};
      void* values[] = {reinterpret_cast<void*>(std::uintptr_t{3}), nullptr};
      return cuModuleLoadDataEx(module, program.text.c_str(), 2, options, values);
    });
  }
  SUBCASE("with a constant that nobody writes") {
    program.load_module(with_variable(program.text, "const"));
  }
  for (int i = 0; i < 10; ++i) REQUIRE(program.launch(program.far, 64) == CUDA_SUCCESS);
  CHECK(program.sent() == 10);
  // As many of its attributes as hold here hold there.
  REQUIRE(cuFuncSetAttribute(program.update, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                             64 << 10) == CUDA_SUCCESS);
  REQUIRE(program.launch(program.far, 64, nullptr, 3, 60 << 10) == CUDA_SUCCESS);
  CHECK(program.sent() == 11);
  CHECK(program.read(program.far, 64) == expected(2, 64, 11));
  CHECK(program.kept(BARSWAP_KEPT_FUNCTION) == 0);
}

TEST_CASE("a twin ends with its module") {
  Program program;
  const std::size_t libraries = program.libraries();
  for (int round = 0; round < 3; ++round) {
    CUmodule module = program.load_module(std::string(program.text));
    program.pause();
    REQUIRE(program.launch(program.far, 64) == CUDA_SUCCESS);
    CHECK(program.libraries() == libraries + 1);
    REQUIRE(cuModuleUnload(module) == CUDA_SUCCESS);
    CHECK(program.libraries() == libraries);
  }
  CHECK(program.sent() == 3);
  CHECK(program.read(program.far, 64) == expected(2, 64, 3));
}

TEST_CASE("a constant whose address was asked for keeps its kernels") {
  Program program;
  CUmodule module = program.load_module(with_variable(program.text, "const"));
  REQUIRE(program.launch(program.far, 64) == CUDA_SUCCESS);
  CHECK(program.sent() == 1);
  CUdeviceptr address = 0;
  SUBCASE("of a module") {
    REQUIRE(cuModuleGetGlobal_v2(&address, nullptr, module, "counter") == CUDA_SUCCESS);
  }
  SUBCASE("of a library, through its module") {
    program.load(with_variable(program.text, "const"));
    CUmodule of_library = nullptr;
    REQUIRE(cuLibraryGetModule(&of_library, program.library) == CUDA_SUCCESS);
    REQUIRE(cuModuleGetGlobal_v2(&address, nullptr, of_library, "counter") == CUDA_SUCCESS);
  }
  program.pause();
  REQUIRE(program.launch(program.far, 64) == CUDA_SUCCESS);
  CHECK(program.sent() == 1);
  CHECK(program.kept(BARSWAP_KEPT_STATE) == 1);
  CHECK(program.read(program.far, 64) == expected(2, 64, 2));
}

TEST_CASE("what keeps state in a context stays there, and is counted by its reason") {
  Program program;
  SUBCASE("a function of a module from a file") {
    program.load_module([](CUmodule* module) { return cuModuleLoad(module, BARSWAP_KERNELS_PTX); });
    REQUIRE(program.launch(program.far, 100) == CUDA_SUCCESS);
    CHECK(program.kept(BARSWAP_KEPT_FUNCTION) == 1);
  }
  SUBCASE("an image with a variable") {
    program.load(with_variable(program.text));
    REQUIRE(program.launch(program.far, 100) == CUDA_SUCCESS);
    CHECK(program.kept(BARSWAP_KEPT_STATE) == 1);
  }
  SUBCASE("a function of a module with a variable") {
    program.load_module(with_variable(program.text));
    REQUIRE(program.launch(program.far, 100) == CUDA_SUCCESS);
    CHECK(program.kept(BARSWAP_KEPT_STATE) == 1);
  }
  SUBCASE("a function whose image is translated in a way that we do not know") {
    program.load_module([&](CUmodule* module) {
      CUjit_option option = CU_JIT_GLOBAL_SYMBOL_COUNT;
      void* value = nullptr;
      return cuModuleLoadDataEx(module, program.text.c_str(), 1, &option, &value);
    });
    REQUIRE(program.launch(program.far, 100) == CUDA_SUCCESS);
    CHECK(program.kept(BARSWAP_KEPT_FUNCTION) == 1);
  }
  SUBCASE("a cooperative launch") {
    CUdeviceptr at = program.far;
    std::uint64_t words = 100;
    std::uint32_t salt = 3;
    void* parameters[] = {&at, &words, &salt};
    REQUIRE(cuLaunchCooperativeKernel(program.update, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters) ==
            CUDA_SUCCESS);
    CHECK(program.kept(BARSWAP_KEPT_KIND) == 1);
  }
  SUBCASE("memory that the other die does not reach") {
    CUdeviceptr pooled = 0;
    REQUIRE(cuMemAllocAsync(&pooled, 1_MiB, nullptr) == CUDA_SUCCESS);
    REQUIRE(program.launch(program.far, 100) == CUDA_SUCCESS);
    CHECK(program.kept(BARSWAP_KEPT_OUTSIDE) == 1);
    REQUIRE(cuMemFreeAsync(pooled, nullptr) == CUDA_SUCCESS);
    CHECK(program.sent() == 0);
    program.pause();
    REQUIRE(program.launch(program.far, 100) == CUDA_SUCCESS);
    CHECK(program.sent() == 1);
    CHECK(program.read(program.far, 100) == expected(2, 100, 2));
    return;
  }
  SUBCASE("a context of the program's own on the other die") {
    CUcontext there = nullptr;
    REQUIRE(cuDevicePrimaryCtxRetain(&there, 1) == CUDA_SUCCESS);
    REQUIRE(program.launch(program.far, 100) == CUDA_SUCCESS);
  }
  CHECK(program.read(program.far, 100) == expected(2, 100, 1));
  CHECK(program.sent() == 0);
}

TEST_CASE("what was set of a kernel holds on the other die") {
  Program program;
  const auto launch = [&](unsigned shared_bytes) {
    return program.launch(program.far, 100, nullptr, 3, shared_bytes);
  };
  REQUIRE(launch(0) == CUDA_SUCCESS);
  const auto kernel = reinterpret_cast<CUkernel>(program.update);
  REQUIRE(cuKernelSetAttribute(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, 64 << 10, kernel,
                               0) == CUDA_SUCCESS);
  REQUIRE(launch(60 << 10) == CUDA_SUCCESS);
  REQUIRE(cuFuncSetAttribute(program.update, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                             100 << 10) == CUDA_SUCCESS);
  REQUIRE(launch(90 << 10) == CUDA_SUCCESS);
  CHECK(program.sent() == 3);
  // What is wrong on its own die is wrong, and said so.
  CHECK(launch(120 << 10) == CUDA_ERROR_INVALID_VALUE);
  CHECK(program.read(program.far, 100) == expected(2, 100, 3));
}

TEST_CASE("kernels of another stream wait for those away, and none leaves beside them") {
  Program program;
  CUstream one = nullptr, other = nullptr;
  REQUIRE(cuStreamCreate(&one, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(program.launch(program.far, kBytes / 8, one) == CUDA_SUCCESS);
  REQUIRE(program.launch(program.near, kBytes / 4, other) == CUDA_SUCCESS);
  CHECK(program.sent() == 1);
  // By then what was sent away had ended.
  std::uint32_t last = 0;
  REQUIRE(program.life.peek(program.far + kBytes / 2 - 4, &last, 4));
  CHECK(last == expected(2, 1, 1)[0]);
  // Another part of the range, which nobody named before.
  const CUdeviceptr part = program.far + kBytes / 2;
  REQUIRE(program.launch(part, 100, one) == CUDA_SUCCESS);
  CHECK(program.kept(BARSWAP_KEPT_STREAMS) == 1);
  REQUIRE(cuStreamSynchronize(other) == CUDA_SUCCESS);
  program.pause(one);
  REQUIRE(program.launch(part, 100, one) == CUDA_SUCCESS);
  CHECK(program.sent() >= 2);
  CHECK(program.read(part, 100) == expected(2, 100, 2));
}

TEST_CASE("threads that submit at once lose nothing") {
  Program program;
  CUcontext context = nullptr;
  REQUIRE(cuCtxGetCurrent(&context) == CUDA_SUCCESS);
  constexpr int kRounds = 300;
  std::atomic<int> failures{0};
  const auto work = [&](CUdeviceptr at, bool copies) {
    if (cuCtxSetCurrent(context) != CUDA_SUCCESS) ++failures;
    std::uint32_t word = 0;
    for (int i = 0; i < kRounds; ++i) {
      if (program.launch(at, 500) != CUDA_SUCCESS) ++failures;
      if (copies && i % 16 == 0 && cuMemcpyDtoH_v2(&word, at, 4) != CUDA_SUCCESS) ++failures;
    }
  };
  // All on the legacy stream, so that each launch comes after those of the others.
  std::thread near([&] { work(program.near, false); });
  std::thread far([&] { work(program.far, true); });
  std::thread same([&] { work(program.far, false); });
  near.join();
  far.join();
  same.join();
  REQUIRE(failures == 0);
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(program.read(program.near, 500) == expected(1, 500, kRounds));
  CHECK(program.read(program.far, 500) == expected(2, 500, 2 * kRounds));
}

TEST_CASE("an error that a kernel makes on the other die is the program's") {
  Program program;
  REQUIRE(program.launch(program.far + kBytes / 2, kBytes) == CUDA_SUCCESS);
  CHECK(program.sent() == 1);
  CUresult result = CUDA_SUCCESS;
  SUBCASE("who waits for all of it") { result = cuCtxSynchronize(); }
  SUBCASE("a copy that waits") {
    // What waits for something else before leaves it to be told.
    CUstream other = nullptr;
    REQUIRE(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    (void)cuStreamSynchronize(other);
    std::uint32_t word = 0;
    result = cuMemcpyDtoH_v2(&word, program.near, 4);
  }
  CHECK(result == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(program.launch(program.near, 100) == CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_CASE("what a chain names again and again comes along, and comes back") {
  support::Setting setting = routed();
  setting.setup.options.vram_headroom = policy::size_of(24_MiB);
  Program program(setting);
  const CUdeviceptr state = program.alloc(8_MiB);
  REQUIRE(cuMemsetD32_v2(state, 4, 8_MiB / 4) == CUDA_SUCCESS);
  CHECK(program.lies_on(state, 8_MiB, 0));
  // A kernel that names both: the second address is an integer to it.
  const auto both = [&](CUdeviceptr at, CUdeviceptr named) {
    struct {
      CUdeviceptr at;
      std::uint64_t words;
      std::uint32_t salt, unused;
      CUdeviceptr named;
    } packed{at, 10, 3, 0, named};
    std::size_t size = sizeof packed;
    void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    REQUIRE(cuLaunchKernel(program.update, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra) ==
            CUDA_SUCCESS);
  };
  // Moves take a share of the time at most, so that not every pass has them.
  int there = 0, back = 0, passes = 0;
  for (; passes < 6 || (passes < 400 && back == 0); ++passes) {
    program.pause();
    for (int i = 0; i < 40; ++i) both(state, program.far);
    there += program.lies_on(state, 8_MiB, 1);
    program.pause();
    for (int i = 0; i < 40; ++i) both(state, program.near);
    back += there > 0 && program.lies_on(state, 8_MiB, 0);
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  }
  CHECK(there > 0);
  CHECK(back > 0);
  CHECK(program.read(state, 10) == expected(4, 10, passes * 80));
}

}  // namespace

namespace {

// Weights over two dies, and activations that products hand on to each other, as a model has them.
struct Model {
  static constexpr std::uint64_t kWeight = 64_MiB, kActivation = 32_MiB;
  static constexpr int kWeights = 24;
  static support::Setting setting() {
    support::Setting setting = routed();
    setting.machine.vram_bytes = 1_GiB;
    setting.setup.options.paging_page_bytes = 16_MiB;
    setting.setup.options.vram_limit = policy::size_of(kWeights / 2 * kWeight + 168_MiB);
    setting.setup.options.vram_headroom = policy::kAutomatic;
    return setting;
  }
  Model() : life(setting()) {
    REQUIRE(life.session() != nullptr);
    CUcontext context = nullptr;
    REQUIRE(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    const std::string text = kernels_text();
    CUlibrary library = nullptr;
    REQUIRE(cuLibraryLoadData(&library, text.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0) ==
            CUDA_SUCCESS);
    CUkernel kernel = nullptr;
    REQUIRE(cuLibraryGetKernel(&kernel, library, "barswap_xorshift_update") == CUDA_SUCCESS);
    update = reinterpret_cast<CUfunction>(kernel);
    for (CUdeviceptr& weight : weights) REQUIRE(cuMemAlloc_v2(&weight, kWeight) == CUDA_SUCCESS);
    for (CUdeviceptr& one : activations) {
      REQUIRE(cuMemAlloc_v2(&one, kActivation) == CUDA_SUCCESS);
      REQUIRE(cuMemsetD32_v2(one, 1, 64) == CUDA_SUCCESS);
    }
  }
  void launch(CUdeviceptr at, CUdeviceptr second, CUdeviceptr third) {
    struct {
      CUdeviceptr at;
      std::uint64_t words;
      std::uint32_t salt, unused;
      CUdeviceptr second, third;
    } packed{at, 10, 3, 0, second, third};
    std::size_t size = sizeof packed;
    void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    REQUIRE(cuLaunchKernel(update, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra) == CUDA_SUCCESS);
  }
  void pass() {
    for (int i = 0; i < kWeights; ++i) {
      launch(activations[1], activations[0], weights[i]);
      // Enough between two products that a pass is far longer than what is handed on.
      for (int k = 0; k < 3; ++k) launch(activations[0], activations[1], activations[2]);
    }
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  }
  support::Life life;
  CUfunction update = nullptr;
  CUdeviceptr weights[kWeights] = {}, activations[3] = {};
};

TEST_CASE("a model over two dies comes to rest: two changes a pass, and nothing else moves") {
  Model model;
  const auto out = [](Cause cause) {
    return stats::get(stats::live().causes[static_cast<std::size_t>(cause)].pages_out);
  };
  // Moves take a share of the time at most, so that it takes longer where they are slow.
  bool rests = false;
  for (int round = 0; round < 60 && !rests; ++round) {
    const auto before = Program::counts();
    const std::uint64_t left = out(Cause::headroom), carried = out(Cause::carry);
    for (int i = 0; i < 4; ++i) model.pass();
    rests = Program::counts().changes - before.changes == 8 && out(Cause::headroom) == left &&
            out(Cause::carry) - carried <= 12;
  }
  CHECK(rests);
}

}  // namespace

// Reach and heat: what launches name comes into HBM, and what they rarely name makes place.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>

#include "session/door.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"
#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

constexpr std::uint64_t kHotBytes = 32_MiB, kColdBytes = 64_MiB;

support::Setting crowded() {
  support::Setting setting = support::small_setting();
  setting.machine.vram_bytes = 128_MiB;
  setting.setup.options.vram_limit = policy::size_of(80_MiB);
  setting.setup.options.vram_headroom = policy::size_of(8_MiB);
  return setting;
}

std::uint64_t host_bytes(Bench& bench, CUdeviceptr base, std::uint64_t bytes) {
  std::uint64_t sum = 0;
  for (const sim::Mapping* mapping : bench.life.machine().memory().covering(base, bytes))
    sum += mapping->on_host ? mapping->size_bytes : 0;
  return sum;
}

struct Program {
  explicit Program(const support::Setting& setting = crowded()) : bench(setting) {
    std::ifstream file(BARSWAP_KERNELS_PTX);
    std::stringstream text;
    text << file.rdbuf();
    REQUIRE(cuModuleLoadData(&module, text.str().c_str()) == CUDA_SUCCESS);
    REQUIRE(cuModuleGetFunction(&update, module, "barswap_xorshift_update") == CUDA_SUCCESS);
    cold = bench.alloc(kColdBytes);
    hot = bench.alloc(kHotBytes);
    REQUIRE(cuMemsetD32_v2(cold, 7, kColdBytes / 4) == CUDA_SUCCESS);
    REQUIRE(cuMemsetD32_v2(hot, 9, kHotBytes / 4) == CUDA_SUCCESS);
  }
  // A few words are enough to name the range.
  void name(CUdeviceptr at, bool through_extra) {
    std::uint64_t words = 64;
    std::uint32_t salt = 3;
    if (!through_extra) {
      void* parameters[] = {&at, &words, &salt};
      REQUIRE(cuLaunchKernel(update, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr) ==
              CUDA_SUCCESS);
      return;
    }
    struct {
      CUdeviceptr at;
      std::uint64_t words;
      std::uint32_t salt;
    } packed{at, words, salt};
    std::size_t size = 20;
    void* extra[] = {CU_LAUNCH_PARAM_BUFFER_POINTER, &packed, CU_LAUNCH_PARAM_BUFFER_SIZE, &size,
                     CU_LAUNCH_PARAM_END};
    REQUIRE(cuLaunchKernel(update, 1, 1, 1, 32, 1, 1, 0, nullptr, nullptr, extra) == CUDA_SUCCESS);
  }
  void passes(int count, bool through_extra) {
    for (int pass = 0; pass < count; ++pass) {
      name(cold, through_extra);
      for (int i = 0; i < 40; ++i) name(hot, through_extra);
      REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    }
  }

  Bench bench;
  CUmodule module = nullptr;
  CUfunction update = nullptr;
  CUdeviceptr cold = 0, hot = 0;
};

TEST_CASE("a hot range that came late ends in HBM, whichever way its address is passed") {
  for (const bool through_extra : {false, true}) {
    Program program;
    CHECK(host_bytes(program.bench, program.hot, kHotBytes) > 8_MiB);
    const std::uint64_t before =
        stats::get(stats::live().causes[static_cast<std::size_t>(Cause::hot)].bytes_in);
    program.passes(40, through_extra);
    CHECK(host_bytes(program.bench, program.hot, kHotBytes) == 0);
    const std::uint64_t moved =
        stats::get(stats::live().causes[static_cast<std::size_t>(Cause::hot)].bytes_in) - before;
    CHECK(moved > 8_MiB);
    // What a whole page holds went with it.
    std::vector<std::uint32_t> words(kHotBytes / 4);
    REQUIRE(cuMemcpyDtoH_v2(words.data(), program.hot, kHotBytes) == CUDA_SUCCESS);
    CHECK(std::all_of(words.begin() + 64, words.end(), [](std::uint32_t word) {
      return word == 9;
    }));
    // Steady: nothing moves any more.
    program.passes(20, through_extra);
    CHECK(stats::get(stats::live().causes[static_cast<std::size_t>(Cause::hot)].bytes_in) ==
          before + moved);
  }
}

TEST_CASE("heat changes no places while a cycle is spread") {
  Program program;
  const auto moved = [] {
    return stats::get(stats::live().causes[static_cast<std::size_t>(Cause::hot)].bytes_in);
  };
  const std::uint64_t before = moved();
  program.bench.pager().spread_stands(Die{0}, true);
  program.passes(40, false);
  CHECK(moved() == before);
  program.bench.pager().spread_stands(Die{0}, false);
  program.passes(40, false);
  CHECK(moved() > before);
  CHECK(host_bytes(program.bench, program.hot, kHotBytes) == 0);
}

TEST_CASE("a kernel that a rule names counts as naming everything, where moves depend on it") {
  support::Setting setting = crowded();
  setting.machine.vram_bytes = 256_MiB;
  setting.setup.options.vram_limit = policy::size_of(176_MiB);
  setting.setup.options.paging_plan = policy::Plan::move;
  setting.setup.options.paging_overlap = policy::Overlap::reach;
  setting.setup.options.paging_deadline_ms = 10'000;  // on a slow machine, too
  setting.setup.options.kernels = {{"barswap_chase", policy::KernelReach::everything}};
  Program program(setting);
  CUfunction chase = nullptr;
  REQUIRE(cuModuleGetFunction(&chase, program.module, "barswap_chase") == CUDA_SUCCESS);
  std::vector<CUdeviceptr> ranges{program.cold, program.hot};
  for (int i = 0; i < 3; ++i) ranges.push_back(program.bench.alloc(40_MiB));
  for (int pass = 0; pass < 60 && !pager::Flights::current(); ++pass) {
    for (const CUdeviceptr base : ranges) program.name(base, false);
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  }
  REQUIRE(pager::Flights::current());
  const auto names = [&](CUfunction function) {
    CUdeviceptr at = program.hot + kHotBytes / 2;
    std::uint64_t words = 64, out = 0;
    void* parameters[] = {&at, &words, &out};
    const session::Declaration declaration;
    session::Launch launch;
    launch.function = static_cast<driver::Function>(reinterpret_cast<std::uintptr_t>(function));
    launch.parameters = parameters;
    (void)session::Session::current()->reach().launch(launch);
    return session::declared_names;
  };
  CHECK_FALSE(names(program.update).everything());
  CHECK(names(program.update).bases().size() == 1);
  CHECK(names(chase).everything());
}

bool thread_exists(const char* name) {
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    std::ifstream file(task.path() / "comm");
    std::string line;
    if (std::getline(file, line) && line == name) return true;
  }
  return false;
}

// Five ranges, of which three or four fit; each pass writes to a few words of every one.
TEST_CASE("turns beside work are made by a thread of ours, and launches find their bytes") {
  for (const bool worker : {true, false}) {
    CAPTURE(worker);
    support::Setting setting = crowded();
    setting.machine.vram_bytes = 256_MiB;
    setting.machine.host_bytes = 512_MiB;
    setting.machine.strict = false;
    setting.setup.worker = worker;
    setting.setup.options.tiers_host_limit = policy::size_of(400_MiB);
    setting.setup.options.tiers_host_prepare_bytes = 0;
    setting.setup.options.vram_limit = policy::size_of(176_MiB);
    setting.setup.options.paging_plan = policy::Plan::move;
    setting.setup.options.paging_overlap = policy::Overlap::reach;
    setting.setup.options.paging_deadline_ms = 10'000;  // on a slow machine, too
    Program program(setting);
    std::vector<CUdeviceptr> ranges{program.cold, program.hot};
    for (int i = 0; i < 3; ++i) ranges.push_back(program.bench.alloc(40_MiB));
    for (std::size_t i = 2; i < ranges.size(); ++i)
      REQUIRE(cuMemsetD32_v2(ranges[i], 7, 64) == CUDA_SUCCESS);
    REQUIRE(cuMemsetD32_v2(program.hot, 7, 64) == CUDA_SUCCESS);
    const auto waits = [] { return stats::get(stats::live().stalls); };
    const std::uint64_t waits_before = waits();
    const std::uint64_t beside_before = stats::get(stats::live().beside_bytes);
    int passes = 0;
    for (; passes < 30; ++passes) {
      for (const CUdeviceptr base : ranges) program.name(base, false);
      REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    }
    CHECK(stats::get(stats::live().beside_bytes) > beside_before);
    CHECK(thread_exists("barswap-turns") == worker);
    if (worker) CHECK(waits() > waits_before);
    std::uint32_t word = 7;
    for (int i = 0; i < passes; ++i) {
      word ^= word << 13;
      word ^= word >> 17;
      word ^= word << 5;
      word += 3;
    }
    for (const CUdeviceptr base : ranges) {
      std::uint32_t seen[64] = {};
      REQUIRE(cuMemcpyDtoH_v2(seen, base, sizeof seen) == CUDA_SUCCESS);
      CHECK(std::all_of(std::begin(seen), std::end(seen),
                        [&](std::uint32_t one) { return one == word; }));
    }
    CHECK(program.bench.life.check_books().empty());
  }
}

// One of the two ranges takes less than half of HBM.
support::Setting roomy() {
  support::Setting setting = crowded();
  setting.setup.options.vram_limit = policy::size_of(88_MiB);
  return setting;
}

// Host memory is read so slowly here that a few words take as long as reading all of it often.
support::Setting slow_host() {
  support::Setting setting = roomy();
  setting.machine.rates.zero_copy = 5;
  return setting;
}

std::uint64_t turned_in() {
  return stats::get(stats::live().causes[static_cast<std::size_t>(Cause::turn)].bytes_in);
}

// An address whose page lies on the host.
CUdeviceptr host_part(Bench& bench, CUdeviceptr base, std::uint64_t bytes) {
  for (const sim::Mapping* mapping : bench.life.machine().memory().covering(base, bytes))
    if (mapping->on_host) return mapping->base;
  return 0;
}

void update(Program& program, CUdeviceptr at, CUstream stream = nullptr) {
  std::uint64_t words = std::uint64_t{1} << 15;
  std::uint32_t salt = 3;
  void* parameters[] = {&at, &words, &salt};
  REQUIRE(cuLaunchKernel(program.update, 1, 1, 1, 64, 1, 1, 0, stream, parameters, nullptr) ==
          CUDA_SUCCESS);
}

TEST_CASE("what a kernel reads often comes in before it, though nothing repeats and nobody waits") {
  for (const bool slow : {true, false}) {
    CAPTURE(slow);
    Program program(slow ? slow_host() : roomy());
    const CUdeviceptr at = host_part(program.bench, program.hot, kHotBytes);
    REQUIRE(at != 0);
    program.name(program.cold, false);  // or nobody knows that launches name it
    const std::uint64_t before = turned_in();
    constexpr int kLaunches = 12;
    for (int i = 0; i < kLaunches; ++i) update(program, at);
    CHECK((host_bytes(program.bench, program.hot, kHotBytes) == 0) == slow);
    CHECK((turned_in() > before) == slow);
    std::uint32_t word = 9, seen[64] = {};
    for (int i = 0; i < kLaunches; ++i) {
      word ^= word << 13;
      word ^= word >> 17;
      word ^= word << 5;
      word += 3;
    }
    REQUIRE(cuMemcpyDtoH_v2(seen, at, sizeof seen) == CUDA_SUCCESS);
    CHECK(std::all_of(std::begin(seen), std::end(seen),
                      [&](std::uint32_t one) { return one == word; }));
    CHECK(program.bench.life.check_books().empty());
  }
}

// By heat, for headroom or for an allocation.
TEST_CASE("what others move out of HBM is known at the next launch") {
  Program program(slow_host());
  const CUdeviceptr at = host_part(program.bench, program.hot, kHotBytes);
  REQUIRE(at != 0);
  program.name(program.cold, false);
  for (int i = 0; i < 12; ++i) update(program, at);
  REQUIRE(host_bytes(program.bench, program.hot, kHotBytes) == 0);
  policy::Exchange exchange;
  exchange.in.push_back({program.cold, kColdBytes});
  exchange.out.push_back({program.hot, kHotBytes});
  REQUIRE(program.bench.pager().exchange(Die{0}, exchange));
  REQUIRE(host_bytes(program.bench, program.hot, kHotBytes) > 0);
  for (int i = 0; i < 2; ++i) update(program, at);  // one of the two may be timed in place
  CHECK(host_bytes(program.bench, program.hot, kHotBytes) == 0);
  CHECK(program.bench.life.check_books().empty());
}

// Its thread is held for a time that cannot come before it goes on.
TEST_CASE("a launch behind a kernel that waits for the host is held no longer than the bound") {
  support::Setting setting = slow_host();
  setting.machine.vram_bytes = 256_MiB;
  setting.machine.host_bytes = 512_MiB;
  setting.setup.options.tiers_host_limit = policy::size_of(400_MiB);
  Program program(setting);
  const CUdeviceptr cold = program.bench.alloc(96_MiB);
  REQUIRE(host_bytes(program.bench, cold, 96_MiB) >= 32_MiB);
  const CUdeviceptr at = host_part(program.bench, cold, 96_MiB);
  REQUIRE(cuMemsetD32_v2(at, 9, 1 << 15) == CUDA_SUCCESS);
  const std::uint64_t before = stats::get(stats::live().stall_ns);
  const CUstream stream = program.bench.held_stream();
  constexpr int kLaunches = 12;
  for (int i = 0; i < kLaunches; ++i) update(program, at, stream);
  const std::uint64_t held_ns = stats::get(stats::live().stall_ns) - before;
  CHECK(held_ns > 0);
  // All waits together end with the one in which their second is over; a slow machine adds to it.
  CHECK(held_ns < 3'000'000'000);
  program.bench.let_go();
  REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  std::uint32_t word = 9, seen = 0;
  for (int i = 0; i < kLaunches; ++i) {
    word ^= word << 13;
    word ^= word >> 17;
    word ^= word << 5;
    word += 3;
  }
  REQUIRE(cuMemcpyDtoH_v2(&seen, at, sizeof seen) == CUDA_SUCCESS);
  CHECK(seen == word);
}

TEST_CASE("beside a capture no launch is timed, and a context that ends takes its times with it") {
  Program program(slow_host());
  session::Stopwatch& stopwatch = session::Session::current()->stopwatch();
  const CUdeviceptr at = host_part(program.bench, program.hot, kHotBytes);
  REQUIRE(at != 0);
  CUstream stream = nullptr, other = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamCreate(&other, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  for (int i = 0; i < 4; ++i) {
    update(program, at, stream);
    update(program, at, other);
  }
  CHECK_FALSE(stopwatch.samples());
  CUgraph graph = nullptr;
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  REQUIRE(cuGraphDestroy(graph) == CUDA_SUCCESS);
  update(program, at);
  update(program, at);
  CHECK(stopwatch.samples());
  CUcontext context = nullptr;
  REQUIRE(cuCtxGetCurrent(&context) == CUDA_SUCCESS);
  stopwatch.forget(static_cast<driver::Context>(reinterpret_cast<std::uintptr_t>(context)));
  for (const session::Stopwatch::Timed& timed : stopwatch.take()) CHECK(timed.elapsed_ns == 0);
  CHECK_FALSE(stopwatch.samples());
}

TEST_CASE("what a graph names counts at each of its launches") {
  Program program;
  const auto capture = [&](CUstream stream) {
    REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL) == CUDA_SUCCESS);
    std::uint64_t words = 64;
    std::uint32_t salt = 3;
    for (int i = 0; i < 41; ++i) {
      CUdeviceptr at = i == 0 ? program.cold : program.hot;
      void* parameters[] = {&at, &words, &salt};
      REQUIRE(cuLaunchKernel(program.update, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr) ==
              CUDA_SUCCESS);
    }
    CUgraph graph = nullptr;
    REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
    return graph;
  };
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  const CUgraph graph = capture(stream);
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphDestroy(graph) == CUDA_SUCCESS);
  CHECK(host_bytes(program.bench, program.hot, kHotBytes) > 8_MiB);
  for (int pass = 0; pass < 40; ++pass) {
    REQUIRE(cuGraphLaunch(exec, stream) == CUDA_SUCCESS);
    REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  }
  CHECK(host_bytes(program.bench, program.hot, kHotBytes) == 0);
  REQUIRE(cuGraphExecDestroy(exec) == CUDA_SUCCESS);
}

TEST_CASE("while everything fits nothing is counted") {
  support::Setting setting = crowded();
  setting.setup.options.vram_limit = policy::kAutomatic;
  Program program(setting);
  CHECK_FALSE(program.bench.pager().heat().watching());
  program.passes(2, false);
  std::uint32_t carried = 0;
  CHECK(program.bench.pager().heat().of(static_cast<Address>(program.hot), 2_MiB, carried) == 0);
}

TEST_CASE("a driver that knows no layouts counts nothing, and launches go through") {
  support::Setting setting = crowded();
  for (const char* function : {"cuFuncGetParamInfo", "cuKernelGetParamInfo"})
    setting.machine.faults.push_back({function, 1, CUDA_ERROR_NOT_SUPPORTED, true});
  Program program(setting);
  const std::uint64_t before = host_bytes(program.bench, program.hot, kHotBytes);
  program.passes(10, false);
  CHECK(host_bytes(program.bench, program.hot, kHotBytes) == before);
}

TEST_CASE("a plan of streaming moves nothing for heat") {
  support::Setting setting = crowded();
  setting.setup.options.paging_plan = policy::Plan::stream;
  Program program(setting);
  const std::uint64_t before = host_bytes(program.bench, program.hot, kHotBytes);
  program.passes(10, false);
  CHECK(host_bytes(program.bench, program.hot, kHotBytes) == before);
}

TEST_CASE("once the cycle is known, what it names often is in HBM") {
  support::Setting setting = crowded();
  setting.machine.vram_bytes = 512_MiB;
  setting.machine.host_bytes = 768_MiB;
  setting.setup.options.tiers_host_limit = policy::size_of(512_MiB);
  setting.setup.options.vram_limit = policy::size_of(304_MiB);
  setting.setup.options.paging_deadline_ms = 10'000;  // on a slow machine, too
  Program program(setting);
  std::vector<CUdeviceptr> ranges;
  for (int i = 0; i < 10; ++i) ranges.push_back(program.bench.alloc(40_MiB));
  const auto outside = [&] {
    std::uint64_t bytes = 0;
    for (const CUdeviceptr base : {ranges[8], ranges[9]})
      bytes += host_bytes(program.bench, base, 40_MiB);
    return bytes;
  };
  CHECK(outside() >= 64_MiB);
  // The first exchange is the spread, whatever the clock says to a trial afterwards.
  const auto moved = [] {
    return stats::get(stats::live().causes[static_cast<std::size_t>(Cause::turn)].bytes_in);
  };
  const std::uint64_t before = moved();
  for (int pass = 0; pass < 60 && moved() == before; ++pass) {
    for (std::size_t i = 0; i < 22 && moved() == before; ++i)
      program.name(ranges[i < 8 ? i : 8 + i % 2], false);
    if (moved() == before) REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  }
  CHECK(moved() > before);
  CHECK(outside() == 0);
}

TEST_CASE("ranges that take turns are in HBM when their launches come") {
  support::Setting setting = crowded();
  setting.machine.vram_bytes = 256_MiB;
  setting.setup.options.vram_limit = policy::size_of(176_MiB);
  setting.setup.options.paging_plan = policy::Plan::move;
  setting.setup.options.paging_deadline_ms = 10'000;  // on a slow machine, too
  Program program(setting);
  std::vector<std::pair<CUdeviceptr, std::uint64_t>> ranges{{program.cold, kColdBytes},
                                                            {program.hot, kHotBytes}};
  for (int i = 0; i < 3; ++i) ranges.emplace_back(program.bench.alloc(40_MiB), 40_MiB);
  const auto pass = [&](bool judged) {
    for (const auto& [base, bytes] : ranges) {
      program.name(base, false);
      if (judged) CHECK(host_bytes(program.bench, base, bytes) == 0);
    }
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  };
  for (int i = 0; i < 20; ++i) pass(false);
  for (int i = 0; i < 5; ++i) pass(true);
  // And beside a capture nothing moves, nor is the capture harmed.
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED) == CUDA_SUCCESS);
  const auto moved = [] {
    return stats::get(stats::live().causes[static_cast<std::size_t>(Cause::turn)].bytes_in);
  };
  const std::uint64_t before = moved();
  CHECK(before > 0);
  for (const auto& [base, bytes] : ranges) program.name(base, false);
  CHECK(moved() == before);
  CUgraph graph = nullptr;
  REQUIRE(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  REQUIRE(cuGraphDestroy(graph) == CUDA_SUCCESS);
}

}  // namespace

// Turns beside running work: what is named stays, what is not named moves, whoever names what is on
// its way waits, and no interleaving loses a byte in silence.
#include <algorithm>
#include <atomic>
#include <fstream>
#include <sstream>
#include <string_view>
#include <thread>
#include <vector>

#include "pager/flights.hpp"
#include "session/door.hpp"
#include "sim/device_access.hpp"
#include "stats/stats.hpp"
#include "support/bench.hpp"

namespace {

using namespace barswap;
using pager::Flights;
using pager::Names;
using support::Bench;

constexpr Address kFirst{1ull << 40}, kSecond{(1ull << 40) + 64_MiB};

Names naming(Address base) {
  Names names = Names::nothing();
  names.add(base);
  return names;
}

TEST_CASE("a range is at rest once the epochs that named it are done") {
  Flights flights;
  flights.cover(kFirst, 1_GiB);
  flights.start();
  // What was submitted before said nothing.
  CHECK_FALSE(flights.at_rest(kFirst));
  flights.depart();
  flights.arrived();
  CHECK(flights.at_rest(kFirst));
  CHECK(flights.board(naming(kFirst)));
  CHECK_FALSE(flights.at_rest(kFirst));
  CHECK(flights.at_rest(kSecond));
  flights.depart();
  CHECK_FALSE(flights.at_rest(kFirst));
  CHECK(flights.board(naming(kSecond)));
  flights.arrived();
  CHECK(flights.at_rest(kFirst));
  CHECK_FALSE(flights.at_rest(kSecond));
  CHECK(flights.board(Names()));
  CHECK_FALSE(flights.at_rest(kFirst));
}

TEST_CASE("what names a held range is turned away and leaves no mark") {
  Flights flights;
  flights.cover(kFirst, 1_GiB);
  flights.start();
  flights.depart();
  flights.arrived();
  REQUIRE(flights.hold(kFirst));
  CHECK_FALSE(flights.board(naming(kFirst)));
  CHECK_FALSE(flights.board(Names()));
  CHECK(flights.board(naming(kSecond)));
  CHECK(flights.board(Names::nothing()));
  CHECK(flights.at_rest(kFirst));
  flights.let_go();
  CHECK(flights.board(naming(kFirst)));
  // Without a mark nobody could be told.
  CHECK_FALSE(flights.hold(Address{1}));
}

TEST_CASE("too many names are everything") {
  Names names = Names::nothing();
  for (std::uint64_t i = 0; i < Names::kMost; ++i) names.add(kFirst + i * 64_MiB);
  names.add(kFirst);
  CHECK_FALSE(names.everything());
  names.add(kFirst + Names::kMost * 64_MiB);
  CHECK(names.everything());
}

// What the device will have written: not for the thread sanitizer, word by word.
BARSWAP_SIM_DEVICE_ACCESS void fill(std::vector<std::uint32_t>& words, std::uint32_t word) {
  std::uint32_t* const all = words.data();
  for (std::size_t i = 0, count = words.size(); i < count; ++i) all[i] = word;
}

// Three ranges, of which two fit with a little to spare.
struct Trio {
  static support::Setting setting() {
    support::Setting setting = support::small_setting();
    setting.machine.vram_bytes = 256_MiB;
    setting.machine.host_bytes = 256_MiB;
    // A kernel may be at work beside a change of its die's tables: what it touches must be there.
    setting.machine.strict = false;
    setting.setup.options.vram_limit = policy::size_of(84_MiB);
    setting.setup.options.vram_headroom = policy::size_of(0);
    setting.setup.options.tiers_host_limit = policy::size_of(200_MiB);
    setting.setup.options.tiers_host_prepare_bytes = 0;
    setting.setup.options.paging_overlap = policy::Overlap::reach;
    return setting;
  }
  explicit Trio(const support::Setting& setting = Trio::setting()) : bench(setting) {
    std::ifstream file(BARSWAP_KERNELS_PTX);
    std::stringstream text;
    text << file.rdbuf();
    REQUIRE(cuModuleLoadData(&module, text.str().c_str()) == CUDA_SUCCESS);
    REQUIRE(cuMemHostAlloc(reinterpret_cast<void**>(&flag), 4, CU_MEMHOSTALLOC_PORTABLE) ==
            CUDA_SUCCESS);
    *flag = 0;
    for (int i = 0; i < 3; ++i) {
      bases[i] = bench.alloc(kBytes);
      expected[i].resize(kBytes / 4);
      fill(expected[i], static_cast<std::uint32_t>(i + 1));
      REQUIRE(cuMemsetD32_v2(bases[i], static_cast<unsigned>(i + 1), kBytes / 4) == CUDA_SUCCESS);
    }
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    REQUIRE(outside(2) > 0);
    // The first ones are drained: fingerprints are made ready, copies come into being.
    for (int i = 0; i < 6; ++i) (void)turn((i + 2) % 3, i % 3);
  }
  static constexpr std::uint64_t kBytes = 32_MiB;  // the least that takes turns

  CUfunction kernel(const char* name) {
    CUfunction function = nullptr;
    REQUIRE(cuModuleGetFunction(&function, module, name) == CUDA_SUCCESS);
    return function;
  }
  bool turn(int in, int out) {
    policy::Exchange exchange;
    exchange.in.push_back({bases[in], kBytes});
    exchange.out.push_back({bases[out], kBytes});
    exchange.spare_bytes = 16_MiB;
    return bench.pager().exchange(Die{0}, exchange);
  }
  void write(int which, std::uint32_t word) {
    REQUIRE(cuMemsetD32_v2(bases[which], word, kBytes / 4) == CUDA_SUCCESS);
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    fill(expected[which], word);
  }
  std::uint64_t outside(int which) {
    return bench.pager().residency(bench.run_at(bases[which])).host_bytes;
  }
  // Runs until the flag is set, and writes it to the range's first word then.
  CUstream run_on(int which) {
    CUstream stream = nullptr;
    REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    auto stop = reinterpret_cast<CUdeviceptr>(flag);
    CUdeviceptr out = bases[which];
    void* parameters[] = {&stop, &out};
    REQUIRE(cuLaunchKernel(kernel("barswap_persistent"), 1, 1, 1, 1, 1, 1, 0, stream, parameters,
                           nullptr) == CUDA_SUCCESS);
    expected[which][0] = 7;
    return stream;
  }
  void let_go() { *static_cast<volatile std::uint32_t*>(flag) = 7; }
  // What left is mapped to nothing until somebody names it.
  std::uint64_t absent_bytes(int which) {
    std::uint32_t word = 0;
    std::uint64_t bytes = 0;
    for (std::uint64_t offset = 0; offset < kBytes; offset += 2_MiB)
      if (!bench.life.peek(bases[which] + offset, &word, sizeof word)) bytes += 2_MiB;
    return bytes;
  }
  bool absent(int which) { return absent_bytes(which) > 0; }
  bool right() {
    bench.pager().present(Names());
    std::vector<std::uint32_t> got(kBytes / 4);
    const sim::DeviceAccess access;
    for (int i = 0; i < 3; ++i)
      if (!bench.life.peek(bases[i], got.data(), kBytes) || got != expected[i]) return false;
    return true;
  }
  static std::uint64_t beside() { return stats::get(stats::live().beside_bytes); }
  static std::uint64_t drains() { return stats::get(stats::live().drains); }

  Bench bench;
  CUmodule module = nullptr;
  std::uint32_t* flag = nullptr;
  CUdeviceptr bases[3] = {};
  std::vector<std::uint32_t> expected[3];
};

TEST_CASE("ranges take turns beside work that names neither") {
  Trio trio;
  // One that lies in HBM as a whole is at work; the other two take turns.
  for (int i = 0; i < 3; ++i) (void)trio.turn(0, 1 + i % 2);
  REQUIRE(trio.outside(0) == 0);
  (void)trio.run_on(0);
  const std::uint64_t beside = Trio::beside(), drains = Trio::drains();
  for (int i = 0; i < 6; ++i) {
    const int in = 2 - i % 2;
    const std::uint64_t before = trio.outside(in);
    CHECK(trio.turn(in, 3 - in));
    CHECK(trio.outside(in) < before);
  }
  CHECK(trio.outside(0) == 0);
  CHECK(Trio::beside() - beside >= 6 * 8_MiB);
  CHECK(Trio::drains() == drains);
  trio.let_go();
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(trio.right());
  CHECK(trio.bench.life.check_books().empty());
}

// The second range, or a part of it, has left in a turn beside work.
bool sent_away(Trio& trio) {
  for (int i = 0; i < 9 && !trio.absent(1); ++i) (void)trio.turn((i + 2) % 3, i % 3);
  return trio.absent(1);
}

TEST_CASE("what left is mapped to nothing until work names it") {
  Trio trio;
  REQUIRE(sent_away(trio));
  // Others stay absent when one is named.
  std::uint64_t words = 1024;
  std::uint32_t salt = 5;
  CUdeviceptr middle = trio.bases[2] + Trio::kBytes / 2;
  void* parameters[] = {&middle, &words, &salt};
  const std::uint64_t stalls = stats::get(stats::live().stalls);
  REQUIRE(cuLaunchKernel(trio.kernel("barswap_xorshift_update"), 1, 1, 1, 32, 1, 1, 0, nullptr,
                         parameters, nullptr) == CUDA_SUCCESS);
  CHECK(trio.absent(1));
  // A copy names its ranges as well.
  std::uint32_t word = 0;
  REQUIRE(cuMemcpyDtoH_v2(&word, trio.bases[1] + 4, 4) == CUDA_SUCCESS);
  CHECK(word == 2);
  CHECK_FALSE(trio.absent(1));
  CHECK(stats::get(stats::live().stalls) > stalls);
  for (std::uint64_t i = 0; i < words; ++i) {
    std::uint32_t& x = trio.expected[2][Trio::kBytes / 8 + i];
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    x += salt;
  }
  CHECK(trio.right());
  CHECK(trio.bench.life.check_books().empty());
}

TEST_CASE("what was written to leaves beside work as well, and its print is not that of its copy") {
  Trio trio;
  REQUIRE(sent_away(trio));
  const std::uint64_t drains = Trio::drains();
  for (int i = 0; i < 12; ++i) {
    // Now and then what is absent is mapped and written to where it is.
    if (i % 2 == 0) trio.write(i % 3, static_cast<std::uint32_t>(200 + i));
    (void)trio.turn((i + 2) % 3, i % 3);
    if (i % 4 == 1) trio.write(i % 3, static_cast<std::uint32_t>(300 + i));
  }
  CHECK(Trio::drains() == drains);
  CHECK(trio.right());
  CHECK(trio.bench.life.check_books().empty());
}

TEST_CASE("a pointer into what left faults, and no byte is lost in silence") {
  Trio trio;
  REQUIRE(sent_away(trio));
  // The parameters name the table alone.
  CUdeviceptr table = trio.bench.alloc(4096);
  const CUdeviceptr target = trio.bases[1];
  REQUIRE(cuMemcpyHtoD_v2(table, &target, sizeof target) == CUDA_SUCCESS);
  std::uint64_t tables = 1, words = 8;
  std::uint32_t value = 9;
  void* parameters[] = {&table, &tables, &words, &value};
  REQUIRE(trio.absent(1));
  REQUIRE(cuLaunchKernel(trio.kernel("barswap_table"), 1, 1, 1, 32, 1, 1, 0, nullptr, parameters,
                         nullptr) == CUDA_SUCCESS);
  CHECK(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_CASE("work that says nothing finds everything") {
  Trio trio;
  REQUIRE(sent_away(trio));
  { const session::Submission submission(false); }
  CHECK_FALSE(trio.absent(1));
  REQUIRE(sent_away(trio));
  session::note_unseen_submitter("a tool of the test");
  CHECK_FALSE(trio.absent(1));
  session::unseen_submitter = nullptr;
  CHECK(trio.right());
}

TEST_CASE("an absent range comes in with a drain") {
  Trio trio;
  REQUIRE(sent_away(trio));
  trio.bench.pager().expect_callbacks();  // from now on only in drains
  const std::uint64_t drains = Trio::drains(), outside = trio.outside(1);
  CHECK(trio.turn(1, 0));
  for (int i = 0; i < 4; ++i) (void)trio.turn(1, 0);
  CHECK(Trio::drains() > drains);
  CHECK(trio.outside(1) < outside);
  CHECK(trio.outside(1) == 0);
  CHECK_FALSE(trio.absent(1));
  CHECK(trio.right());
  CHECK(trio.bench.life.check_books().empty());
}

TEST_CASE("whoever keeps the mover for long, and whoever looks addresses up, finds all mapped") {
  Trio trio;
  REQUIRE(sent_away(trio));
  CUcontext other = nullptr;
  REQUIRE(cuCtxCreate_v2(&other, 0, 0) == CUDA_SUCCESS);
  CHECK_FALSE(trio.absent(1));
  REQUIRE(cuCtxSetCurrent(trio.bench.contexts[0]) == CUDA_SUCCESS);
  REQUIRE(sent_away(trio));
  REQUIRE(cuCtxDestroy_v2(other) == CUDA_SUCCESS);
  CHECK_FALSE(trio.absent(1));
  REQUIRE(cuCtxSetCurrent(trio.bench.contexts[0]) == CUDA_SUCCESS);

  REQUIRE(sent_away(trio));
  (void)trio.bench.pager().make_room(Die{0}, true);
  CHECK_FALSE(trio.absent(1));

  REQUIRE(sent_away(trio));
  CUgraph graph = nullptr;
  CUgraphNode node = nullptr;
  CUDA_MEMSET_NODE_PARAMS parameters{};
  parameters.dst = trio.bases[1];
  parameters.elementSize = 4;
  parameters.value = 2;
  parameters.width = 16;
  parameters.height = 1;
  REQUIRE(cuGraphCreate(&graph, 0) == CUDA_SUCCESS);
  REQUIRE(cuGraphAddMemsetNode(&node, graph, nullptr, 0, &parameters, trio.bench.contexts[0]) ==
          CUDA_SUCCESS);
  CHECK_FALSE(trio.absent(1));
  REQUIRE(sent_away(trio));
  CUgraphExec exec = nullptr;
  REQUIRE(cuGraphInstantiateWithFlags(&exec, graph, 0) == CUDA_SUCCESS);
  CHECK_FALSE(trio.absent(1));
  REQUIRE(sent_away(trio));
  REQUIRE(cuGraphLaunch(exec, nullptr) == CUDA_SUCCESS);
  CHECK_FALSE(trio.absent(1));
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);

  REQUIRE(sent_away(trio));
  unsigned type = 0;
  CHECK(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, trio.bases[1]) ==
        CUDA_SUCCESS);
  CHECK(type == CU_MEMORYTYPE_DEVICE);
  CHECK(trio.right());
}

TEST_CASE("a mapping that the driver refuses is tried again before work finds its range") {
  for (const char* function : {"cuMemMap", "cuMemSetAccess"}) {
    CAPTURE(function);
    Trio trio;
    REQUIRE(sent_away(trio));
    trio.bench.life.machine().refuse(function, CUDA_ERROR_OUT_OF_MEMORY, 1, false);
    std::uint32_t word = 0;
    REQUIRE(cuMemcpyDtoH_v2(&word, trio.bases[1] + 4, 4) == CUDA_SUCCESS);
    CHECK(word == 2);
    CHECK_FALSE(trio.absent(1));
    CHECK(trio.right());
    CHECK(trio.bench.life.check_books().empty());
  }
}

TEST_CASE("an absent range may be freed, and another comes to its address") {
  Trio trio;
  REQUIRE(sent_away(trio));
  REQUIRE(cuMemFree_v2(trio.bases[1]) == CUDA_SUCCESS);
  trio.bases[1] = trio.bench.alloc(Trio::kBytes);
  REQUIRE(cuMemsetD32_v2(trio.bases[1], 2, Trio::kBytes / 4) == CUDA_SUCCESS);
  CHECK(trio.right());
  CHECK(trio.bench.life.check_books().empty());
}

TEST_CASE("where much of what left is named too early, little is left absent") {
  Trio trio;
  REQUIRE(sent_away(trio));
  constexpr int kTurns = 50;
  const auto left_absent = [&] {
    std::uint64_t bytes = 0;
    for (int i = 0; i < kTurns; ++i) {
      (void)trio.turn((i + 2) % 3, i % 3);
      for (int range = 0; range < 3; ++range) bytes += trio.absent_bytes(range);
      trio.bench.pager().present(Names());
    }
    return bytes;
  };
  CHECK(left_absent() > kTurns / 2 * Trio::kBytes);
  (void)left_absent();
  CHECK(left_absent() < kTurns / 2 * Trio::kBytes);
  CHECK(trio.right());
}

TEST_CASE("what running work names stays where it is") {
  Trio trio;
  for (int i = 0; i < 3; ++i) (void)trio.turn(0, 1 + i % 2);
  REQUIRE(trio.outside(0) == 0);
  (void)trio.run_on(0);
  (void)trio.turn(1, 0);
  (void)trio.turn(2, 0);
  CHECK(trio.outside(0) == 0);
  trio.let_go();
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(trio.right());
  CHECK(trio.turn(1, 0));
  CHECK(trio.right());
  CHECK(trio.bench.life.check_books().empty());
}

TEST_CASE("an edge names its range, from both sides, and no neighbour") {
  Trio trio;
  REQUIRE(trio.bases[1] == trio.bases[0] + Trio::kBytes + 2 * pager::kEdgeBytes);
  const auto named = [&](CUdeviceptr address, int which) {
    const session::Declaration declaration;
    session::Session::current()->reach().set(Address{address}, 4);
    const auto bases = session::declared_names.bases();
    CHECK_FALSE(session::declared_names.everything());
    return std::find(bases.begin(), bases.end(), Address{trio.bases[which]}) != bases.end();
  };
  CHECK(named(trio.bases[1], 1));
  CHECK_FALSE(named(trio.bases[1], 0));
  CHECK(named(trio.bases[0] + Trio::kBytes - 4, 0));
  CHECK_FALSE(named(trio.bases[0] + Trio::kBytes - 4, 1));
  // The end, from which a kernel may walk backwards, and what lies before the first element.
  CHECK(named(trio.bases[0] + Trio::kBytes, 0));
  CHECK(named(trio.bases[1] - 4, 1));
}

TEST_CASE("a copy names the address that it gives as the host's") {
  Trio trio;
  const session::Declaration declaration;
  session::Session::current()->reach().copy(Address{trio.bases[0]}, Address{}, 4, 0, true,
                                            Address{trio.bases[2] + 4096});
  const auto bases = session::declared_names.bases();
  CHECK(bases.size() == 2);
  for (const int which : {0, 2})
    CHECK(std::find(bases.begin(), bases.end(), Address{trio.bases[which]}) != bases.end());
}

TEST_CASE("the addresses of a freed range serve again, with the room beside them") {
  Trio trio;
  const CUdeviceptr first = trio.bases[0];
  REQUIRE(cuMemFree_v2(trio.bases[0]) == CUDA_SUCCESS);
  REQUIRE(cuMemFree_v2(trio.bases[1]) == CUDA_SUCCESS);
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  const CUdeviceptr both = trio.bench.alloc(2 * Trio::kBytes);
  CHECK(both >= first);
  CHECK(both + 2 * Trio::kBytes + 2 * pager::kEdgeBytes <= trio.bases[2]);
  CHECK(trio.bench.life.check_books().empty());
}

TEST_CASE("once host callbacks are used nothing moves beside work") {
  Trio trio;
  const std::uint64_t beside = Trio::beside();
  REQUIRE(trio.outside(2) > 0);
  CHECK(trio.turn(2, 0));
  CHECK(Trio::beside() > beside);
  trio.bench.pager().expect_callbacks();
  const std::uint64_t before = Trio::beside();
  for (int i = 0; i < 3; ++i) (void)trio.turn((i + 1) % 3, i);
  CHECK(Trio::beside() == before);
  CHECK(trio.right());
}

TEST_CASE("nothing moves beside work that could name anything") {
  Trio trio;
  (void)trio.bench.held_stream();
  const std::uint64_t beside = Trio::beside();
  for (int i = 0; i < 3; ++i) CHECK_FALSE(trio.turn(i, (i + 1) % 3));
  CHECK(Trio::beside() == beside);
  trio.bench.let_go();
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(trio.right());
}

// Launches of another thread, on any range, while turns are taken.
struct Storm {
  explicit Storm(Trio& program) : trio(program) {}
  void operator()() {
    REQUIRE(cuCtxSetCurrent(trio.bench.contexts[0]) == CUDA_SUCCESS);
    const CUfunction update = trio.kernel("barswap_xorshift_update");
    std::uint64_t words = 1024;
    std::uint32_t salt = 5;
    while (!over) {
      seed = seed * 6364136223846793005u + 1442695040888963407u;
      const int which = static_cast<int>((seed >> 33) % 3);
      CUdeviceptr at = trio.bases[which] + (seed >> 40) % 8000 * 4096;
      void* parameters[] = {&at, &words, &salt};
      const CUresult code =
          cuLaunchKernel(update, 1, 1, 1, 32, 1, 1, 0, nullptr, parameters, nullptr);
      if (code != CUDA_SUCCESS) {
        failed = true;
        return;
      }
      auto* word = trio.expected[which].data() + (at - trio.bases[which]) / 4;
      for (std::uint64_t i = 0; i < words; ++i) {
        std::uint32_t x = word[i];
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        word[i] = x + salt;
      }
      ++launches;
    }
  }
  Trio& trio;
  std::uint64_t seed = 1;
  std::atomic<bool> over{false}, failed{false};
  std::atomic<std::uint64_t> launches{0};
};

TEST_CASE("launches of other threads find their bytes, whatever is on its way") {
  Trio trio;
  Storm storm(trio);
  std::thread other([&] { storm(); });
  const std::uint64_t beside = Trio::beside();
  for (int i = 0; i < 60; ++i) (void)trio.turn((i + 2) % 3, i % 3);
  storm.over = true;
  other.join();
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK_FALSE(storm.failed);
  CHECK(storm.launches > 0);
  CHECK(Trio::beside() > beside);
  CHECK(trio.right());
  CHECK(trio.bench.life.check_books().empty());
}

TEST_CASE("turns beside work keep the bytes, whatever call is refused") {
  for (const char* function :
       {"cuMemMap", "cuMemUnmap", "cuMemSetAccess", "cuMemcpyDtoDAsync_v2", "cuEventRecord",
        "cuCtxRecordEvent", "cuLaunchKernel"}) {
    for (const std::uint64_t nth : {1, 2, 5, 7}) {
      const bool writes = nth % 3 == 2;
      CAPTURE(std::string_view(function));
      CAPTURE(nth);
      Trio trio;
      trio.bench.life.machine().refuse(function, CUDA_ERROR_OUT_OF_MEMORY, nth, false);
      for (int i = 0; i < 4; ++i) {
        // What leaves was written to since it came in, or not.
        if (writes) trio.write(i % 3, static_cast<std::uint32_t>(100 + i));
        (void)trio.turn((i + 2) % 3, i % 3);
      }
      CHECK(trio.right());
      CHECK(trio.bench.life.check_books().empty());
    }
  }
}

}  // namespace

// Detours: pages that come from the host over the links of several dies.
#include <algorithm>
#include <vector>

#include "pager/detours.hpp"
#include "pager/gate.hpp"
#include "stats/stats.hpp"
#include "support/bench.hpp"

namespace {

using namespace barswap;

constexpr std::uint64_t kBytes = 32_MiB;
constexpr std::uint64_t kLimit = 40_MiB;

// A pool of which the first die holds all that is not on the host, and one of two ranges.
support::Setting pooled(int dies = 2) {
  support::Setting setting = support::small_setting(dies);
  setting.machine.vram_bytes = 256_MiB;
  setting.machine.host_bytes = 512_MiB;
  setting.setup.options.vram_limit = policy::size_of(kLimit);
  setting.setup.options.vram_headroom = policy::size_of(0);
  setting.setup.options.tiers_host_prepare_bytes = 0;
  setting.setup.options.dies_present = policy::Present::pooled;
  setting.setup.options.routing_kernels = policy::Kernels::data;
  setting.setup.options.tiers_peer_limit = policy::size_of(0);
  return setting;
}

// Every other call to swap() brings the first range in.
struct Program {
  explicit Program(const support::Setting& setting = pooled()) : life(setting) {
    REQUIRE(life.session() != nullptr);
    REQUIRE(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    for (int i = 0; i < 2; ++i) {
      REQUIRE(cuMemAlloc_v2(&bases[i], kBytes) == CUDA_SUCCESS);
      expected[i].resize(kBytes);
      for (std::size_t k = 0; k < kBytes; ++k)
        expected[i][k] = static_cast<std::uint8_t>((k >> 9) * 7 + k + static_cast<unsigned>(i));
      REQUIRE(cuMemcpyHtoD_v2(bases[i], expected[i].data(), kBytes) == CUDA_SUCCESS);
    }
  }
  // What the first launch that goes to a die does.
  driver::Context open(int die) {
    const driver::Verbs verbs(life.api());
    auto made = verbs.make_context(Die{die});
    REQUIRE(made.has_value());
    {
      const driver::Entered entered(verbs, *made);
      REQUIRE(life.session()->adopt_ours(*made, Die{die}));
    }
    REQUIRE(pager().grant(Die{0}, Die{die}).has_value());
    return *made;
  }
  pager::Pager& pager() { return life.session()->pager(); }
  pager::Frames& frames() { return pager().frames(); }
  bool swap(int in) {
    policy::Exchange exchange;
    exchange.in.push_back({bases[in], kBytes});
    exchange.out.push_back({bases[1 - in], kBytes});
    return pager().exchange(Die{0}, exchange);
  }
  bool right() {
    std::vector<std::uint8_t> got(kBytes);
    for (int i = 0; i < 2; ++i)
      if (!life.peek(bases[i], got.data(), kBytes) || got != expected[i]) return false;
    return true;
  }
  std::uint64_t outside(int which) {
    const auto range = life.session()->memory().at(static_cast<Address>(bases[which]));
    REQUIRE(range.has_value());
    return pager().residency(range->run).host_bytes;
  }
  std::uint64_t page_bytes() {
    return life.machine().memory().covering(bases[0], kBytes).front()->size_bytes;
  }
  std::uint64_t over_link(int die) {
    return life.machine().scheduler().copied_bytes(die, sim::engine_in);
  }
  std::uint64_t moved_in() {
    return stats::get(stats::live().causes[static_cast<std::size_t>(Cause::turn)].bytes_in);
  }

  support::Life life;
  CUcontext context = nullptr;
  CUdeviceptr bases[2] = {};
  std::vector<std::uint8_t> expected[2];
};

TEST_CASE("what comes from the host comes in equal parts over the links of all dies") {
  for (const int dies : {2, 3}) {
    CAPTURE(dies);
    Program program(pooled(dies));
    for (int die = 1; die < dies; ++die) program.open(die);
    const std::uint64_t before = program.over_link(0), moved = program.moved_in();
    for (int i = 0; i < 4; ++i) REQUIRE(program.swap(1 - i % 2));
    CHECK(program.right());
    const std::uint64_t bytes = program.moved_in() - moved;
    REQUIRE(bytes >= 3 * kLimit / 2);
    const std::uint64_t page = program.page_bytes(), pages = bytes / page;
    const std::uint64_t part = round_up((page + dies - 1) / static_cast<unsigned>(dies), 1_MiB);
    REQUIRE(pages * page == bytes);
    CHECK(program.over_link(0) - before == pages * part);
    CHECK(program.over_link(1) == pages * part);
    if (dies == 3) CHECK(program.over_link(2) == bytes - 2 * pages * part);
    for (int die = 1; die < dies; ++die)
      CHECK(program.frames().used(Die{die}) == pager::Detours::bounce_bytes(kLimit));
    CHECK(program.life.check_books().empty());
    CHECK(program.life.bury().empty());
  }
}

TEST_CASE("both links together take little more than half the time") {
  const auto time_of = [](bool open) {
    Program program;
    if (open) program.open(1);
    REQUIRE(program.swap(1));
    REQUIRE(program.swap(0));
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    const std::uint64_t start_ns = program.life.machine().clock_ns();
    REQUIRE(program.swap(1));  // clean pages leave
    return program.life.machine().clock_ns() - start_ns;
  };
  const std::uint64_t one_ns = time_of(false), two_ns = time_of(true);
  CAPTURE(one_ns);
  CAPTURE(two_ns);
  CHECK(two_ns * 16 < one_ns * 10);
}

TEST_CASE("without a context of ours on another die, or room there, nothing changes") {
  for (const bool room : {true, false}) {
    support::Setting setting = pooled();
    if (!room) setting.setup.options.dies_limit.push_back({{1, ""}, policy::size_of(8_MiB)});
    Program program(setting);
    if (!room) program.open(1);
    const auto calls = program.life.machine().audit().calls;
    for (int i = 0; i < 4; ++i) REQUIRE(program.swap(1 - i % 2));
    CHECK(program.right());
    CHECK(program.over_link(1) == 0);
    CHECK(program.frames().held(Die{1}) == 0);
    auto now = program.life.machine().audit().calls;
    CHECK(now["cuStreamWaitEvent"] == 0);
    if (room)
      CHECK(now["cuStreamCreateWithPriority"] + now["cuStreamCreate"] ==
            calls.at("cuStreamCreate"));
  }
}

TEST_CASE("a lender keeps room for what comes over its link") {
  support::Setting setting = pooled();
  setting.setup.options.tiers_peer_limit = policy::kAutomatic;
  Program program(setting);
  // All that the pool has, down to pages of 2 MiB.
  for (CUdeviceptr base = 0; program.pager().borrowable(Die{0}) > 0;)
    REQUIRE(cuMemAlloc_v2(&base, 2_MiB) == CUDA_SUCCESS);
  CHECK(program.frames().free_hbm(Die{1}) == pager::Detours::bounce_bytes(kLimit));
}

TEST_CASE("bounce frames go back when memory is short, and when the pages' context ends") {
  for (const bool short_of_memory : {true, false}) {
    Program program;
    program.open(1);
    REQUIRE(program.swap(1));
    REQUIRE(program.frames().used(Die{1}) > 0);
    if (short_of_memory) {
      CHECK(program.pager().make_room(Die{1}, true));
      CHECK(program.frames().held(Die{1}) == 0);
      // Not at once, and not in the way of a move.
      REQUIRE(program.swap(0));
      CHECK(program.right());
      CHECK(program.frames().held(Die{1}) == 0);
      CHECK(program.life.bury().empty());
    } else {
      REQUIRE(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
      CHECK(program.frames().held(Die{1}) == 0);
      CHECK(program.life.check_books().empty());
    }
  }
}

TEST_CASE("when our context on another die ends, the next one there helps") {
  Program program;
  const driver::Context first = program.open(1);
  REQUIRE(program.swap(1));
  const std::uint64_t before = program.over_link(1);
  REQUIRE(before > 0);
  program.pager().mover_mutex().lock();
  program.pager().context_gone(first);
  program.pager().mover_mutex().unlock();
  CHECK(program.frames().held(Die{1}) == 0);
  REQUIRE(program.swap(0));
  CHECK(program.over_link(1) == before);
  program.open(1);
  REQUIRE(program.swap(1));
  CHECK(program.over_link(1) > before);
  CHECK(program.right());
  CHECK(program.life.bury().empty());
}

TEST_CASE("whatever call of a striped batch is refused, no byte is lost") {
  for (const char* function :
       {"cuMemcpyDtoDAsync_v2", "cuEventRecord", "cuStreamWaitEvent", "cuCtxPushCurrent_v2"})
    for (std::uint64_t nth = 1; nth <= 20; nth += nth < 6 ? 1 : 4) {
      CAPTURE(function);
      CAPTURE(nth);
      Program program;
      program.open(1);
      REQUIRE(program.swap(1));
      program.life.machine().refuse(function, CUDA_ERROR_OUT_OF_MEMORY, nth, false);
      (void)program.swap(0);
      CHECK(program.right());
      CHECK(program.life.check_books().empty());
      CHECK(pager::Gate::word() == pager::GateWord::open);
      // What is not known to have ended may hold frames; else all goes on.
      if (program.pager().may_move()) {
        for (int i = 0; i < 3; ++i) (void)program.swap(1 - i % 2);
        CHECK(program.right());
        CHECK(program.outside(0) > 0);
        CHECK(program.outside(1) == 0);
        CHECK(program.life.bury().empty());
      }
    }
}

TEST_CASE("whatever call that makes a detour is refused, pages come without it") {
  for (const char* function : {"cuStreamCreateWithPriority", "cuStreamCreate", "cuEventCreate",
                               "cuMemCreate", "cuMemMap", "cuMemSetAccess", "cuMemAddressReserve"})
    for (std::uint64_t nth = 1; nth <= 9; nth += 2) {
      CAPTURE(function);
      CAPTURE(nth);
      Program program;
      program.open(1);
      program.life.machine().refuse(function, CUDA_ERROR_OUT_OF_MEMORY, nth, false);
      for (int i = 0; i < 2; ++i) (void)program.swap(1 - i % 2);
      CHECK(program.right());
      CHECK(program.life.check_books().empty());
      CHECK(program.life.bury().empty());
    }
}

TEST_CASE("whatever call tells that a die has failed, what did not arrive stays where it was") {
  for (std::uint64_t nth = 1; nth <= 41; nth += 3) {
    CAPTURE(nth);
    Program program;
    program.open(1);
    REQUIRE(program.swap(1));
    program.life.machine().refuse("cuEventQuery", CUDA_ERROR_ILLEGAL_ADDRESS, nth, false);
    (void)program.swap(0);
    CHECK(program.right());
    CHECK(pager::Gate::word() == pager::GateWord::open);
    CHECK(program.life.check_books().empty());
  }
}

// What waits for a stage that failed goes on all the same, with whatever the bounce frame held.
TEST_CASE("bytes that another die failed to fetch are never taken for the page's") {
  Program program;
  program.open(1);
  REQUIRE(program.swap(1));
  sim::Mapping* bounce = nullptr;
  for (auto& [base, mapping] : program.life.machine().memory().mappings())
    if (mapping.kind == sim::Kind::Vmm && !mapping.on_host && mapping.die == 1) bounce = &mapping;
  REQUIRE(bounce != nullptr);
  REQUIRE(bounce->size_bytes == pager::Detours::bounce_bytes(kLimit));
  bounce->access[1] = sim::Access::None;
  const std::uint64_t outside = program.outside(0);
  (void)program.swap(0);  // clean pages leave
  CHECK(program.outside(0) == outside);
  CHECK(program.right());
  CHECK_FALSE(program.pager().may_move());
  CHECK(pager::Gate::word() == pager::GateWord::open);
  CHECK(program.life.check_books().empty());
}

}  // namespace

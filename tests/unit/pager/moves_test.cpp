// Births and moves: where pages lie, and what stays true when the driver refuses in the middle.
#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "pager/gate.hpp"
#include "stats/stats.hpp"
#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

// Which pages of a range lie on the host, in order.
std::vector<bool> on_host(Bench& bench, CUdeviceptr base, std::uint64_t bytes) {
  std::vector<bool> out;
  for (const sim::Mapping* mapping : bench.life.machine().memory().covering(base, bytes))
    out.push_back(mapping->on_host);
  return out;
}

TEST_CASE("what does not fit is spread evenly over the range") {
  support::Setting setting = support::small_setting();
  setting.setup.options.vram_limit = policy::size_of(32_MiB);
  setting.setup.options.vram_headroom = policy::size_of(0);
  Bench bench(setting);
  const CUdeviceptr base = bench.alloc(64_MiB);
  const std::vector<bool> host = on_host(bench, base, 64_MiB);
  REQUIRE(host.size() == 8);
  CHECK(std::count(host.begin(), host.end(), true) == 4);
  // Any stretch of four pages has its share, give or take one.
  for (std::size_t i = 0; i + 4 <= host.size(); ++i) {
    const auto share = std::count(host.begin() + static_cast<std::ptrdiff_t>(i),
                                  host.begin() + static_cast<std::ptrdiff_t>(i + 4), true);
    CHECK(share >= 1);
    CHECK(share <= 3);
  }
}

TEST_CASE("a birth that is refused leaves nothing behind") {
  for (const char* function : {"cuMemMap", "cuMemSetAccess"}) {
    support::Setting setting = support::small_setting();
    setting.machine.faults.push_back({function, 1, CUDA_ERROR_OUT_OF_MEMORY, false});
    Bench bench(setting);
    CUdeviceptr base = 0;
    CHECK(cuMemAlloc_v2(&base, 5_MiB) == CUDA_ERROR_OUT_OF_MEMORY);
    CHECK(bench.life.machine().audit().mappings == 0);
    CHECK(bench.frames().used(Die{0}) == 0);
    CHECK(bench.life.check_books().empty());
    CHECK(cuMemAlloc_v2(&base, 5_MiB) == CUDA_SUCCESS);
  }
}

struct Chaos {
  static support::Setting setting() {
    support::Setting setting = support::small_setting();
    setting.setup.chaos = true;
    setting.setup.chaos_seed = 5;
    return setting;
  }
};

TEST_CASE("moves keep the bytes, whatever call of the batch is refused") {
  struct Refusal {
    const char* function;
    std::uint64_t nth;
  };
  // None; then each call that a batch makes, counted from the program's two births.
  std::vector<Refusal> refusals{{"", 0}};
  for (std::uint64_t n = 1; n < 14; ++n)
    for (const char* function : {"cuMemMap", "cuMemUnmap", "cuMemSetAccess", "cuMemCreate"})
      refusals.push_back({function, n});
  for (const Refusal& refusal : refusals) {
    CAPTURE(refusal.function);
    CAPTURE(refusal.nth);
    support::Setting setting = Chaos::setting();
    if (refusal.nth > 2)
      setting.machine.faults.push_back(
          {refusal.function, refusal.nth, CUDA_ERROR_OUT_OF_MEMORY, false});
    Bench bench(setting);
    std::vector<std::uint8_t> bytes(4_MiB), got(4_MiB);
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i >> 9);
    CUdeviceptr base = 0;
    if (cuMemAlloc_v2(&base, bytes.size()) != CUDA_SUCCESS) continue;
    REQUIRE(cuMemcpyHtoD_v2(base, bytes.data(), bytes.size()) == CUDA_SUCCESS);
    for (int i = 0; i < 12; ++i) {
      REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
      REQUIRE(bench.life.peek(base, got.data(), got.size()));
      REQUIRE(got == bytes);
    }
    CHECK(bench.life.check_books().empty());
  }
}

TEST_CASE("access given to a die is paid for, and paid back") {
  support::Setting setting = support::small_setting(2);
  setting.setup.options.vram_limit = policy::size_of(8_MiB);
  Bench bench(setting);
  const CUdeviceptr base = bench.alloc(40_MiB);
  const std::uint64_t host = bench.pager().residency(bench.run_at(base)).host_bytes;
  REQUIRE(host > 0);
  CHECK(bench.frames().host_mapped(Die{0}) == host);
  CHECK(bench.frames().host_mapped(Die{1}) == 0);
  REQUIRE(cuCtxSetCurrent(bench.contexts[1]) == CUDA_SUCCESS);
  REQUIRE(cuCtxEnablePeerAccess(bench.contexts[0], 0) == CUDA_SUCCESS);
  CHECK(bench.pager().granted(Die{0}, Die{1}));
  CHECK(bench.frames().host_mapped(Die{1}) == host);
  REQUIRE(cuCtxDisablePeerAccess(bench.contexts[0]) == CUDA_SUCCESS);
  REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  CHECK(bench.life.bury().empty());
  CHECK(bench.frames().host_mapped(Die{0}) == 0);
  CHECK(bench.frames().host_mapped(Die{1}) == 0);
}

// A handle of the program's own, which the driver keeps.
CUresult make_handle(std::uint64_t bytes, CUmemGenericAllocationHandle& handle) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  return cuMemCreate(&handle, bytes, &properties, 0);
}

TEST_CASE("out-of-memory inside a driver call makes room, from outside the gate") {
  Bench bench;
  std::vector<std::uint8_t> bytes(60_MiB), got(60_MiB);
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(i >> 12);
  const CUdeviceptr base = bench.alloc(bytes.size());
  REQUIRE(cuMemcpyHtoD_v2(base, bytes.data(), bytes.size()) == CUDA_SUCCESS);
  REQUIRE(bench.pager().residency(bench.run_at(base)).host_bytes == 0);
  CUmemGenericAllocationHandle handle = 0;
  CHECK(make_handle(16_MiB, handle) == CUDA_SUCCESS);
  CHECK(bench.pager().residency(bench.run_at(base)).host_bytes >= 12_MiB);
  REQUIRE(bench.life.peek(base, got.data(), got.size()));
  CHECK(got == bytes);
  CHECK(pager::Gate::word() == pager::GateWord::open);
}

TEST_CASE("a sticky error of the program ends the moves, and the program meets it itself") {
  Bench bench;
  const CUdeviceptr base = bench.alloc(40_MiB);
  // Mapped, and no die was let in.
  CUmemGenericAllocationHandle handle = 0;
  CUdeviceptr closed = 0;
  REQUIRE(make_handle(2_MiB, handle) == CUDA_SUCCESS);
  REQUIRE(cuMemAddressReserve(&closed, 2_MiB, 0, 0, 0) == CUDA_SUCCESS);
  REQUIRE(cuMemMap(closed, 2_MiB, 0, handle, 0) == CUDA_SUCCESS);
  REQUIRE(cuMemsetD8Async(closed, 1, 2_MiB, nullptr) == CUDA_SUCCESS);
  (void)bench.pager().make_room(Die{0}, true);
  CHECK(pager::Gate::word() == pager::GateWord::open);
  CHECK(bench.pager().residency(bench.run_at(base)).host_bytes == 0);
  // No further driver calls of ours.
  const auto calls = bench.life.machine().audit().calls;
  (void)bench.pager().make_room(Die{0}, true);
  bench.pager().free_moment();
  CHECK_FALSE(bench.pager().wants_move());
  CHECK(bench.life.machine().audit().calls["cuCtxRecordEvent"] == calls.at("cuCtxRecordEvent"));
  CHECK(cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_CASE("a pinned range lies in HBM and stays there") {
  support::Setting setting = Chaos::setting();
  setting.setup.options.vram_limit = policy::size_of(16_MiB);
  setting.setup.options.allocations.push_back({});
  setting.setup.options.allocations.back().place = policy::Place::stream;
  Bench bench(setting);
  const CUdeviceptr base = bench.alloc(6_MiB);
  CHECK(bench.pager().residency(bench.run_at(base)).host_bytes == 6_MiB);
  REQUIRE(bench.memory().pin(static_cast<Address>(base)));
  for (int i = 0; i < 10; ++i) REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(bench.pager().pinned(bench.run_at(base)));
  CHECK(bench.pager().residency(bench.run_at(base)).host_bytes == 0);
}

TEST_CASE("with spare room a turn is one drain, and the room is given up afterwards") {
  support::Setting setting = support::small_setting();
  setting.machine.vram_bytes = 256_MiB;
  setting.machine.host_bytes = 512_MiB;
  setting.setup.options.tiers_host_limit = policy::size_of(256_MiB);
  setting.setup.options.vram_limit = policy::size_of(128_MiB);
  setting.setup.options.vram_headroom = policy::size_of(4_MiB);
  Bench bench(setting);
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 5; ++i) ids.push_back(bench.alloc(32_MiB));
  const auto outside = [&](std::size_t which) {
    return bench.pager().residency(bench.run_at(ids[which])).host_bytes;
  };
  // Brings all of one range in; the others are needed later, the first of them soonest.
  const auto turn = [&](std::size_t which) {
    policy::Exchange exchange;
    exchange.in.push_back({ids[which], 32_MiB});
    for (std::size_t i = 4; i > 0; --i)
      exchange.out.push_back({ids[(which + i) % 5], 32_MiB});
    exchange.in_bytes = outside(which);
    exchange.spare_bytes = 32_MiB;
    if (exchange.in_bytes == 0) return std::uint64_t{0};
    const std::uint64_t drains = stats::get(stats::live().drains);
    REQUIRE(bench.pager().exchange(Die{0}, exchange));
    CHECK(outside(which) == 0);
    CHECK(bench.frames().free_hbm(Die{0}) >= 32_MiB);
    return stats::get(stats::live().drains) - drains;
  };
  CHECK(turn(4) > 1);  // it lives on the headroom, and makes the room
  std::uint64_t drains = 0;
  for (std::size_t i = 0; i < 20; ++i) drains = std::max(drains, turn(i % 5));
  CHECK(drains == 1);
  // What is free is not taken back while turns may need it.
  for (int i = 0; i < 20; ++i) REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(bench.frames().free_hbm(Die{0}) >= 32_MiB);
  bench.pager().no_more_turns(Die{0});
  for (int i = 0; i < 20; ++i) REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  CHECK(bench.frames().free_hbm(Die{0}) < 18_MiB);
}

TEST_CASE("what comes in tells how fast the link is") {
  for (const double rate : {12.0, 55.2, 400.0}) {
    CAPTURE(rate);
    support::Setting setting = support::small_setting();
    setting.machine.vram_bytes = 256_MiB;
    setting.machine.host_bytes = 256_MiB;
    setting.machine.rates.link = rate * 1000;
    setting.setup.options.vram_limit = policy::size_of(84_MiB);
    Bench bench(setting);
    const CUdeviceptr first = bench.alloc(64_MiB), second = bench.alloc(64_MiB);
    CHECK(bench.pager().link_bytes_per_ns() == 0);
    for (int i = 0; i < 4; ++i) {
      policy::Exchange exchange;
      exchange.in.push_back({i % 2 == 0 ? second : first, 64_MiB});
      exchange.out.push_back({i % 2 == 0 ? first : second, 64_MiB});
      exchange.spare_bytes = 32_MiB;
      REQUIRE(bench.pager().exchange(Die{0}, exchange));
    }
    CHECK(bench.pager().link_bytes_per_ns() <= rate * 1.01);
    CHECK(bench.pager().link_bytes_per_ns() > rate / 2);
  }
}

// A group of which only some copies were submitted would look faster than the link.
TEST_CASE("a batch of which a copy is refused tells nothing of the link") {
  constexpr double kRate = 10;
  for (std::uint64_t nth = 1; nth <= 16; ++nth) {
    CAPTURE(nth);
    support::Setting setting = support::small_setting();
    setting.machine.vram_bytes = 256_MiB;
    setting.machine.host_bytes = 256_MiB;
    setting.machine.rates.link = kRate * 1000;
    setting.setup.options.vram_limit = policy::size_of(84_MiB);
    setting.machine.faults.push_back(
        {"cuMemcpyDtoDAsync_v2", nth, CUDA_ERROR_OUT_OF_MEMORY, false});
    Bench bench(setting);
    const CUdeviceptr first = bench.alloc(64_MiB), second = bench.alloc(64_MiB);
    policy::Exchange exchange;
    exchange.in.push_back({second, 64_MiB});
    exchange.out.push_back({first, 64_MiB});
    exchange.spare_bytes = 32_MiB;
    (void)bench.pager().exchange(Die{0}, exchange);
    CHECK(bench.pager().link_bytes_per_ns() <= kRate * 1.01);
  }
}

TEST_CASE("a turn waits until the worker has looked") {
  support::Setting setting = support::small_setting();
  setting.machine.vram_bytes = 256_MiB;
  setting.setup.options.vram_limit = policy::size_of(64_MiB);
  Bench bench(setting);
  const CUdeviceptr first = bench.alloc(40_MiB), second = bench.alloc(40_MiB);
  REQUIRE(bench.pager().residency(bench.run_at(second)).host_bytes > 0);
  std::atomic<bool> begun{false}, over{false}, made{false};
  bench.pager().mover_mutex().lock();
  std::thread turner([&] {
    REQUIRE(cuCtxSetCurrent(bench.contexts[0]) == CUDA_SUCCESS);
    policy::Exchange exchange;
    exchange.in.push_back({second, 40_MiB});
    exchange.out.push_back({first, 40_MiB});
    begun = true;
    made = bench.pager().exchange(Die{0}, exchange);
    over = true;
  });
  while (!begun) std::this_thread::yield();
  const std::uint64_t begun_ns = now_ns();
  for (int i = 0; i < 100 && !over; ++i) std::this_thread::yield();
  bench.pager().mover_mutex().unlock();
  // A busy machine may have held us for longer than a turn waits; then it may give up.
  const bool in_time = now_ns() - begun_ns < 50'000'000;
  turner.join();
  CHECK((made || !in_time));
  CHECK((bench.pager().residency(bench.run_at(second)).host_bytes == 0) == made);
}

TEST_CASE("a turn that waits for the device is dropped when moving ends meanwhile") {
  support::Setting setting = support::small_setting();
  setting.machine.vram_bytes = 256_MiB;
  setting.setup.options.vram_limit = policy::size_of(64_MiB);
  Bench bench(setting);
  const CUdeviceptr first = bench.alloc(40_MiB), second = bench.alloc(40_MiB);
  const auto outside = [&](CUdeviceptr base) {
    return bench.pager().residency(bench.run_at(base)).host_bytes;
  };
  const std::uint64_t before = outside(second);
  REQUIRE(before > 0);
  (void)bench.held_stream();
  const auto mapped = [&] { return bench.life.machine().audit().mappings; };
  const std::uint64_t mappings = mapped();
  std::atomic<bool> made{true};
  std::thread turner([&] {
    REQUIRE(cuCtxSetCurrent(bench.contexts[0]) == CUDA_SUCCESS);
    policy::Exchange exchange;
    exchange.in.push_back({second, 40_MiB});
    exchange.out.push_back({first, 40_MiB});
    made = bench.pager().exchange(Die{0}, exchange);
  });
  // It holds the mover's lock until its turn has ended, and that waits for the stream.
  while (bench.pager().mover_mutex().try_lock()) {
    bench.pager().mover_mutex().unlock();
    std::this_thread::yield();
  }
  bench.pager().stop_moving("something submits behind the gate");
  bench.let_go();
  turner.join();
  CHECK_FALSE(made);
  CHECK(outside(second) == before);
  CHECK(mapped() == mappings);
  CHECK(pager::Gate::word() == pager::GateWord::open);
  CHECK(bench.life.check_books().empty());
}

// Two ranges of which one fits, with every other call to swap() bringing the first one in.
struct Pair {
  static support::Setting setting() {
    support::Setting setting = support::small_setting();
    setting.machine.vram_bytes = 256_MiB;
    setting.setup.options.vram_limit = policy::size_of(72_MiB);
    setting.setup.options.vram_headroom = policy::size_of(0);
    setting.setup.options.tiers_host_prepare_bytes = 0;
    return setting;
  }
  explicit Pair(const support::Setting& setting = Pair::setting()) : bench(setting) {
    for (CUdeviceptr& base : bases) base = bench.alloc(kBytes);
    for (int i = 0; i < 2; ++i) write(i, 0, kBytes, static_cast<std::uint8_t>(i + 1));
  }
  static constexpr std::uint64_t kBytes = 64_MiB;
  void write(int which, std::uint64_t offset, std::uint64_t bytes, std::uint8_t value) {
    REQUIRE(cuMemsetD8_v2(bases[which] + offset, value, bytes) == CUDA_SUCCESS);
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    std::fill_n(expected[which].begin() + static_cast<std::ptrdiff_t>(offset), bytes, value);
  }
  bool swap(int in) {
    policy::Exchange exchange;
    exchange.in.push_back({bases[in], kBytes});
    exchange.out.push_back({bases[1 - in], kBytes});
    return bench.pager().exchange(Die{0}, exchange);
  }
  bool right() {
    std::vector<std::uint8_t> got(kBytes);
    for (int i = 0; i < 2; ++i)
      if (!bench.life.peek(bases[i], got.data(), kBytes) || got != expected[i]) return false;
    return true;
  }
  std::uint64_t outside(int which) {
    return bench.pager().residency(bench.run_at(bases[which])).host_bytes;
  }
  static std::uint64_t copied_out() {
    return stats::get(stats::live().causes[static_cast<std::size_t>(Cause::turn)].bytes_out);
  }
  static std::uint64_t clean() { return stats::get(stats::live().clean_bytes); }

  Bench bench;
  CUdeviceptr bases[2] = {};
  std::vector<std::uint8_t> expected[2] = {std::vector<std::uint8_t>(kBytes),
                                           std::vector<std::uint8_t>(kBytes)};
};

TEST_CASE("what nobody wrote to since it came in leaves without being copied") {
  Pair pair;
  for (int i = 0; i < 4; ++i) REQUIRE(pair.swap(1 - i % 2));
  REQUIRE(pair.bench.frames().host_copies() > 0);
  const std::uint64_t copied = Pair::copied_out(), clean = Pair::clean();
  for (int i = 0; i < 4; ++i) REQUIRE(pair.swap(1 - i % 2));
  CHECK(Pair::copied_out() == copied);
  CHECK(Pair::clean() - clean >= 4 * 48_MiB);
  CHECK(pair.right());
  CHECK(pair.bench.life.check_books().empty());
}

TEST_CASE("what was written to is copied, be it a byte") {
  for (const std::uint64_t offset : {std::uint64_t{0}, 31_MiB + 5, Pair::kBytes - 1}) {
    CAPTURE(offset);
    Pair pair;
    for (int i = 0; i < 4; ++i) REQUIRE(pair.swap(1 - i % 2));
    // Long enough, once, for a copy to be tried again after one was kept in vain.
    const int rounds = offset == 0 ? 12 : 3;
    for (int round = 0; round < rounds; ++round) {
      REQUIRE(pair.swap(1));
      CHECK(pair.right());
      pair.write(1, offset, 1, static_cast<std::uint8_t>(77 + round));
      REQUIRE(pair.swap(0));
      CHECK(pair.right());
    }
    CHECK(pair.bench.life.check_books().empty());
  }
}

TEST_CASE("copies make place for whoever needs the host") {
  Pair pair;
  for (int i = 0; i < 4; ++i) REQUIRE(pair.swap(1 - i % 2));
  REQUIRE(pair.bench.frames().host_copies() > 0);
  // All that both tiers hold, but for what the ballast takes.
  std::uint64_t more = 0;
  CUdeviceptr base = 0;
  while (cuMemAlloc_v2(&base, 8_MiB) == CUDA_SUCCESS) more += 8_MiB;
  CHECK(2 * Pair::kBytes + more >= 72_MiB + 128_MiB - 16_MiB);
  CHECK(pair.bench.frames().host_copies() == 0);
  CHECK(pair.right());
  CHECK(pair.bench.life.check_books().empty());
}

TEST_CASE("copies end with their range, and when the driver is short of memory") {
  Pair pair;
  for (int i = 0; i < 5; ++i) REQUIRE(pair.swap(1 - i % 2));
  const std::uint64_t copies = pair.bench.frames().host_copies();
  REQUIRE(copies > 0);
  REQUIRE(cuMemFree_v2(pair.bases[1]) == CUDA_SUCCESS);
  CHECK(pair.bench.frames().host_copies() < copies);
  pair.write(0, 0, Pair::kBytes, 9);
  pair.bases[1] = pair.bench.alloc(Pair::kBytes);
  pair.write(1, 0, Pair::kBytes, 8);
  for (int i = 0; i < 4; ++i) REQUIRE(pair.swap(1 - i % 2));
  REQUIRE(pair.bench.frames().host_copies() > 0);
  CHECK(pair.bench.pager().make_room(Die{0}, false));
  CHECK(pair.bench.frames().host_copies() == 0);
  CHECK(pair.bench.frames().host_prepared() == 0);
  CHECK(pair.right());
}

TEST_CASE("a driver that grants nothing more is found out before a clean page is unmapped") {
  Pair pair;
  for (int i = 0; i < 4; ++i) REQUIRE(pair.swap(1 - i % 2));
  REQUIRE(pair.bench.frames().host_copies() > 0);
  const std::uint64_t copies = pair.bench.frames().host_copies();
  pair.bench.life.machine().refuse("cuMemSetAccess", CUDA_ERROR_OUT_OF_MEMORY);
  CHECK_FALSE(pair.swap(1));
  CHECK(pair.right());
  CHECK(pair.bench.frames().host_copies() == copies);
  CHECK(pair.bench.life.check_books().empty());
}

TEST_CASE("without fingerprints everything is copied") {
  for (const char* function : {"cuModuleLoadData", "cuMemHostAlloc", "cuLaunchKernel"}) {
    CAPTURE(function);
    support::Setting setting = Pair::setting();
    setting.machine.faults.push_back({function, 1, CUDA_ERROR_NOT_SUPPORTED, true});
    Pair pair(setting);
    const std::uint64_t clean = Pair::clean();
    for (int i = 0; i < 6; ++i) REQUIRE(pair.swap(1 - i % 2));
    CHECK(pair.bench.frames().host_copies() == 0);
    CHECK(Pair::clean() == clean);
    CHECK(pair.right());
    CHECK(pair.outside(0) < pair.outside(1));
  }
}

TEST_CASE("a range does not make place for its own pin") {
  for (const std::uint64_t large_bytes : {48_MiB, 120_MiB}) {
    CAPTURE(large_bytes);
    support::Setting setting = Chaos::setting();
    setting.setup.options.vram_limit = policy::size_of(64_MiB);
    Bench bench(setting);
    const CUdeviceptr other = bench.alloc(60_MiB);
    const CUdeviceptr base = bench.alloc(large_bytes);
    const bool fits = large_bytes < 64_MiB;
    CHECK(static_cast<bool>(bench.memory().pin(static_cast<Address>(base))) == fits);
    const auto& cause = stats::live().causes[static_cast<std::size_t>(Cause::pin)];
    CHECK(cause.bytes_in <= 2 * large_bytes);
    CHECK(bench.pager().pinned(bench.run_at(base)) == fits);
    CHECK_FALSE(bench.pager().pinned(bench.run_at(other)));
  }
}

}  // namespace

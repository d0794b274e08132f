// Lending: what lies in the HBM of other dies, and who gets it back when.
#include <algorithm>
#include <vector>

#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

// Each die may hold 32 MiB; ranges of that and more have pages of 8 MiB.
support::Setting lending(int dies = 2) {
  support::Setting setting = support::small_setting(dies);
  setting.setup.options.vram_limit = policy::size_of(32_MiB);
  setting.setup.options.vram_headroom = policy::size_of(0);
  return setting;
}

// A program that uses the first die alone.
struct OneDie {
  explicit OneDie(const support::Setting& setting) : life(setting) {
    REQUIRE(life.session() != nullptr);
    use(0);
  }
  void use(int die) {
    CUcontext context = nullptr;
    REQUIRE(cuDevicePrimaryCtxRetain(&context, die) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(context) == CUDA_SUCCESS);
  }
  CUdeviceptr alloc(std::uint64_t bytes) {
    CUdeviceptr base = 0;
    REQUIRE(cuMemAlloc_v2(&base, bytes) == CUDA_SUCCESS);
    return base;
  }
  pager::Pager& pager() { return life.session()->pager(); }
  pager::Run* run_at(CUdeviceptr base) {
    const auto range = life.session()->memory().at(static_cast<Address>(base));
    REQUIRE(range.has_value());
    return range->run;
  }
  pager::Residency lies(CUdeviceptr base) { return pager().residency(run_at(base)); }
  // Which tier each page is in, seen from outside.
  std::vector<int> dies_of(CUdeviceptr base, std::uint64_t bytes) {
    std::vector<int> out;
    for (const sim::Mapping* mapping : life.machine().memory().covering(base, bytes))
      out.push_back(mapping->on_host ? -1 : mapping->die);
    return out;
  }
  void fill(CUdeviceptr base, std::uint64_t bytes, unsigned seed) {
    std::vector<std::uint8_t> data(bytes);
    for (std::size_t i = 0; i < data.size(); ++i)
      data[i] = static_cast<std::uint8_t>((i >> 7) * seed + i);
    REQUIRE(cuMemcpyHtoD_v2(base, data.data(), bytes) == CUDA_SUCCESS);
  }
  bool holds(CUdeviceptr base, std::uint64_t bytes, unsigned seed) {
    std::vector<std::uint8_t> data(bytes);
    REQUIRE(cuMemcpyDtoH_v2(data.data(), base, bytes) == CUDA_SUCCESS);
    for (std::size_t i = 0; i < data.size(); ++i)
      if (data[i] != static_cast<std::uint8_t>((i >> 7) * seed + i)) return false;
    return true;
  }
  // As many free moments as the longest of these tests needs.
  void rest() {
    for (int i = 0; i < 60; ++i) REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  }

  support::Life life;
};

TEST_CASE("what does not fit lies on a peer before any of it lies on the host") {
  OneDie program(lending());
  const CUdeviceptr base = program.alloc(48_MiB);
  CHECK(program.lies(base).hbm_bytes == 32_MiB);
  CHECK(program.lies(base).peer_bytes == 16_MiB);
  CHECK(program.lies(base).host_bytes == 0);
  CHECK(program.pager().frames().lent(Die{1}) == 16_MiB);
  const std::vector<int> dies = program.dies_of(base, 48_MiB);
  CHECK(dies == std::vector<int>{0, 0, 1, 0, 0, 1});
  program.fill(base, 48_MiB, 3);
  CHECK(program.holds(base, 48_MiB, 3));
  REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  CHECK(program.pager().frames().lent(Die{1}) == 0);
  CHECK(program.life.bury().empty());
}

TEST_CASE("a die lends three quarters of its limit, in a pool all of it, or what the policy says") {
  struct Case {
    policy::Present present;
    policy::Amount limit;
    std::uint64_t peer_bytes;
  };
  const Case cases[] = {{policy::Present::as_is, policy::kAutomatic, 24_MiB},
                        {policy::Present::pooled, policy::kAutomatic, 32_MiB},
                        {policy::Present::as_is, policy::size_of(8_MiB), 8_MiB},
                        {policy::Present::pooled, policy::share_of(0.5), 16_MiB}};
  for (const Case& one : cases) {
    support::Setting setting = lending();
    setting.setup.options.dies_present = one.present;
    setting.setup.options.tiers_peer_limit = one.limit;
    OneDie program(setting);
    const CUdeviceptr base = program.alloc(80_MiB);
    CHECK(program.lies(base).hbm_bytes == 32_MiB);
    CHECK(program.lies(base).peer_bytes == one.peer_bytes);
    CHECK(program.lies(base).host_bytes == 48_MiB - one.peer_bytes);
    program.fill(base, 80_MiB, 5);
    CHECK(program.holds(base, 80_MiB, 5));
  }
}

TEST_CASE("nothing is borrowed where the policy or the machine says no") {
  const auto lent = [](auto change) {
    support::Setting setting = lending();
    change(setting);
    OneDie program(setting);
    const CUdeviceptr base = program.alloc(48_MiB);
    CHECK(program.lies(base).host_bytes + program.lies(base).peer_bytes >= 16_MiB);
    return program.lies(base).peer_bytes;
  };
  CHECK(lent([](support::Setting&) {}) == 16_MiB);
  CHECK(lent([](support::Setting& setting) {
          setting.setup.options.tiers_peer_enable = false;
        }) == 0);
  CHECK(lent([](support::Setting& setting) { setting.machine.peer = false; }) == 0);
  CHECK(lent([](support::Setting& setting) {
          setting.setup.options.dies_use.all = false;
          setting.setup.options.dies_use.dies.push_back({0, ""});
        }) == 0);
  CHECK(lent([](support::Setting& setting) {
          setting.setup.options.allocations.push_back({});
          setting.setup.options.allocations.back().place = policy::Place::stream;
        }) == 0);
}

// Die 2 reaches die 0, which reaches die 1; a page there would be out of die 2's reach.
TEST_CASE("a die lends only what all who reach the borrower can reach") {
  support::Setting setting = lending(3);
  setting.machine.apart = {{1, 2}};
  {
    OneDie program(setting);
    CHECK(program.lies(program.alloc(48_MiB)).peer_bytes == 0);
  }
  setting.machine.apart = {{0, 2}};
  OneDie program(setting);
  CHECK(program.lies(program.alloc(48_MiB)).peer_bytes == 16_MiB);
  CHECK(program.pager().frames().lent(Die{1}) == 16_MiB);
  CHECK(program.pager().frames().lent(Die{2}) == 0);
}

TEST_CASE("of several lenders each gives its share") {
  support::Setting setting = lending(3);
  setting.setup.options.dies_limit.push_back({{2, ""}, policy::size_of(64_MiB)});
  OneDie program(setting);
  const CUdeviceptr base = program.alloc(96_MiB);
  CHECK(program.lies(base).peer_bytes == 64_MiB);
  // 24 and 48 MiB are there, and about as much is left of either.
  CHECK(program.pager().frames().lent(Die{1}) == 24_MiB);
  CHECK(program.pager().frames().lent(Die{2}) == 40_MiB);
}

TEST_CASE("what is free on a lender is asked, and without an answer guessed") {
  for (const bool known : {true, false}) {
    support::Setting setting = lending();
    setting.setup.options.vram_limit = policy::kAutomatic;
    setting.setup.options.dies_limit.push_back({{0, ""}, policy::size_of(32_MiB)});
    setting.machine.losses.push_back({1, 40_MiB, 1});  // another program has it
    if (known) setting.setup.free_of = support::free_of_machine;
    OneDie program(setting);
    const CUdeviceptr base = program.alloc(80_MiB);
    // 24 MiB are left there, of which three quarters are lent; or the driver says no.
    CHECK(program.lies(base).peer_bytes == (known ? 16_MiB : 24_MiB));
    program.fill(base, 80_MiB, 9);
    CHECK(program.holds(base, 80_MiB, 9));
  }
}

TEST_CASE("a die gets back what it lent once ranges of its own lack HBM") {
  OneDie program(lending());
  const CUdeviceptr lodger = program.alloc(48_MiB);
  program.fill(lodger, 48_MiB, 7);
  CHECK(program.lies(lodger).peer_bytes == 16_MiB);
  program.use(1);
  const CUdeviceptr own = program.alloc(32_MiB);
  CHECK(program.lies(own).host_bytes == 16_MiB);
  program.fill(own, 32_MiB, 11);
  program.rest();
  // As much of it as comes in without wavering.
  CHECK(program.lies(own).hbm_bytes >= 24_MiB);
  CHECK(program.pager().frames().lent(Die{1}) == 0);
  CHECK(program.lies(lodger).host_bytes == 16_MiB);
  CHECK(program.holds(lodger, 48_MiB, 7));
  CHECK(program.holds(own, 32_MiB, 11));
  // Once they are gone it lends again: what is on the host comes nearer.
  REQUIRE(cuMemFree_v2(own) == CUDA_SUCCESS);
  program.use(0);
  program.rest();
  REQUIRE(cuMemFree_v2(program.alloc(2_MiB)) == CUDA_SUCCESS);  // graves are dug at such calls
  program.rest();
  CHECK(program.lies(lodger).host_bytes <= 8_MiB);
  CHECK(program.lies(lodger).peer_bytes == 16_MiB);
  CHECK(program.holds(lodger, 48_MiB, 7));
  CHECK_FALSE(program.pager().wants_move());
}

TEST_CASE("a die takes back what it lacks, and no more") {
  support::Setting setting = lending();
  setting.setup.options.dies_limit.push_back({{1, ""}, policy::size_of(56_MiB)});
  OneDie program(setting);
  const CUdeviceptr lodger = program.alloc(72_MiB);
  program.fill(lodger, 72_MiB, 7);
  REQUIRE(program.pager().frames().lent(Die{1}) == 40_MiB);
  program.use(1);
  const CUdeviceptr own = program.alloc(32_MiB);
  REQUIRE(program.lies(own).host_bytes == 16_MiB);
  program.fill(own, 32_MiB, 11);
  // Not even for a moment: what its ranges need, and a page for the tables of those on the host.
  std::uint64_t least = 40_MiB;
  for (int i = 0; i < 60; ++i) {
    REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
    least = std::min(least, program.pager().frames().lent(Die{1}));
  }
  CHECK(program.lies(own).hbm_bytes >= 24_MiB);
  CHECK(least >= 8_MiB);
  CHECK(program.holds(lodger, 72_MiB, 7));
  CHECK(program.holds(own, 32_MiB, 11));
}

TEST_CASE("what cannot go back stops nothing else") {
  support::Setting setting = lending();
  setting.setup.options.tiers_host_limit = policy::size_of(16_MiB);
  OneDie program(setting);
  const CUdeviceptr lodger = program.alloc(48_MiB);
  program.fill(lodger, 48_MiB, 7);
  program.use(1);
  const CUdeviceptr own = program.alloc(32_MiB);  // the host is full from here on
  program.fill(own, 32_MiB, 11);
  program.rest();
  CHECK(program.pager().frames().lent(Die{1}) == 16_MiB);
  CHECK(program.lies(own).host_bytes == 16_MiB);
  // Nobody goes on wanting what cannot be.
  CHECK_FALSE(program.pager().wants_move());
  CHECK(program.holds(lodger, 48_MiB, 7));
  CHECK(program.holds(own, 32_MiB, 11));
}

TEST_CASE("small ranges that several dies reach stay on a peer, others go to the host") {
  for (const bool shared : {true, false}) {
    support::Setting setting = lending();
    OneDie program(setting);
    program.use(1);
    program.use(0);
    if (shared) REQUIRE(program.pager().grant(Die{0}, Die{1}).has_value());
    // Small ranges alone, so that nothing makes place for those that come later.
    std::vector<CUdeviceptr> small;
    for (int i = 0; i < 12; ++i) small.push_back(program.alloc(4_MiB));
    for (std::size_t i = 0; i < small.size(); ++i)
      program.fill(small[i], 4_MiB, static_cast<unsigned>(i + 1));
    REQUIRE(program.pager().frames().lent(Die{1}) >= 12_MiB);
    const std::uint64_t before = program.pager().frames().lent(Die{1});
    program.use(1);
    const CUdeviceptr own = program.alloc(32_MiB);
    program.fill(own, 32_MiB, 11);
    program.rest();
    if (shared) CHECK(program.pager().frames().lent(Die{1}) == before);
    else CHECK(program.pager().frames().lent(Die{1}) < before);
    program.use(0);
    for (std::size_t i = 0; i < small.size(); ++i) {
      if (shared) CHECK(program.lies(small[i]).host_bytes == 0);
      CHECK(program.holds(small[i], 4_MiB, static_cast<unsigned>(i + 1)));
    }
  }
}

TEST_CASE("a lender that others have filled is not asked again") {
  support::Setting setting = lending();
  setting.setup.options.vram_limit = policy::kAutomatic;
  setting.setup.options.dies_limit.push_back({{0, ""}, policy::size_of(32_MiB)});
  setting.machine.losses.push_back({1, 62_MiB, 1});  // and nobody can say so
  OneDie program(setting);
  const CUdeviceptr first = program.alloc(48_MiB);
  CHECK(program.lies(first).peer_bytes == 0);
  CHECK(program.pager().borrowable(Die{0}) == 0);
  const auto calls = program.life.machine().audit().calls;
  const CUdeviceptr second = program.alloc(40_MiB);
  CHECK(program.lies(second).host_bytes == 40_MiB);
  // One frame for each page, and no refusals between them.
  CHECK(program.life.machine().audit().calls["cuMemCreate"] == calls.at("cuMemCreate") + 5);
}

TEST_CASE("a page that is pinned comes home from a peer") {
  support::Setting setting = lending();
  setting.setup.options.dies_limit.push_back({{0, ""}, policy::size_of(48_MiB)});
  OneDie program(setting);
  const CUdeviceptr one = program.alloc(48_MiB), two = program.alloc(32_MiB);
  program.fill(one, 48_MiB, 12);
  program.fill(two, 32_MiB, 13);
  CHECK(program.lies(two).peer_bytes == 24_MiB);
  REQUIRE(program.pager().pin(program.run_at(two)).has_value());
  CHECK(program.lies(two).hbm_bytes == 32_MiB);
  CHECK(program.lies(one).hbm_bytes <= 16_MiB);
  CHECK(program.holds(one, 48_MiB, 12));
  CHECK(program.holds(two, 32_MiB, 13));
}

TEST_CASE("without a host tier a program gets the HBM of all dies, and then out of memory") {
  support::Setting setting = lending(3);
  setting.setup.options.dies_present = policy::Present::pooled;
  setting.setup.options.tiers_host_enable = false;
  OneDie program(setting);
  std::size_t free_bytes = 0, total_bytes = 0;
  REQUIRE(cuMemGetInfo_v2(&free_bytes, &total_bytes) == CUDA_SUCCESS);
  CHECK(total_bytes == 96_MiB);
  CHECK(free_bytes == 96_MiB);
  REQUIRE(cuDeviceTotalMem_v2(&total_bytes, 0) == CUDA_SUCCESS);
  CHECK(total_bytes == 96_MiB);
  std::vector<CUdeviceptr> all;
  CUdeviceptr base = 0;
  while (cuMemAlloc_v2(&base, 4_MiB) == CUDA_SUCCESS) all.push_back(base);
  CHECK(all.size() == 24);
  REQUIRE(cuMemGetInfo_v2(&free_bytes, &total_bytes) == CUDA_SUCCESS);
  CHECK(free_bytes == 0);
  for (std::size_t i = 0; i < all.size(); ++i)
    program.fill(all[i], 4_MiB, static_cast<unsigned>(i + 1));
  for (std::size_t i = 0; i < all.size(); ++i)
    CHECK(program.holds(all[i], 4_MiB, static_cast<unsigned>(i + 1)));
  // The others stay, with what is left of theirs.
  program.use(1);
  REQUIRE(cuMemGetInfo_v2(&free_bytes, &total_bytes) == CUDA_SUCCESS);
  CHECK(total_bytes == 32_MiB);
  CHECK(free_bytes == 0);
  for (const CUdeviceptr one : all) REQUIRE(cuMemFree_v2(one) == CUDA_SUCCESS);
  CHECK(program.life.bury().empty());
}

TEST_CASE("random moves between dies and the host keep the bytes") {
  support::Setting setting = lending(3);
  setting.setup.chaos = true;
  setting.setup.chaos_seed = 17;
  OneDie program(setting);
  std::vector<CUdeviceptr> all;
  for (unsigned i = 0; i < 5; ++i) {
    all.push_back(program.alloc((6 + 9 * i) * 1_MiB));
    program.fill(all.back(), (6 + 9 * i) * 1_MiB, i + 1);
  }
  bool peer = false, host = false;
  for (int round = 0; round < 40; ++round) {
    program.rest();
    for (const CUdeviceptr base : all) {
      peer = peer || program.lies(base).peer_bytes > 0;
      host = host || program.lies(base).host_bytes > 0;
    }
  }
  CHECK(peer);
  CHECK(host);
  for (unsigned i = 0; i < 5; ++i) CHECK(program.holds(all[i], (6 + 9 * i) * 1_MiB, i + 1));
  for (const CUdeviceptr base : all) REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
  CHECK(program.life.bury().empty());
}

TEST_CASE("a refusal in the middle of a loan leaves no trace") {
  for (std::uint64_t nth = 1; nth < 20; nth += 3)
    for (const char* function : {"cuMemCreate", "cuMemMap", "cuMemSetAccess"}) {
      CAPTURE(function);
      CAPTURE(nth);
      support::Setting setting = lending();
      setting.machine.faults.push_back({function, nth, CUDA_ERROR_OUT_OF_MEMORY, false});
      OneDie program(setting);
      CUdeviceptr base = 0;
      if (cuMemAlloc_v2(&base, 48_MiB) == CUDA_SUCCESS) {
        program.fill(base, 48_MiB, 3);
        CHECK(program.holds(base, 48_MiB, 3));
        REQUIRE(cuMemFree_v2(base) == CUDA_SUCCESS);
      }
      CHECK(program.pager().frames().lent(Die{1}) == 0);
      CHECK(program.life.check_books().empty());
    }
}

}  // namespace

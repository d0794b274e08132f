#include "policy/limits.hpp"

#include <doctest/doctest.h>

namespace barswap::policy {
namespace {

constexpr DieFacts kDie{1, "GPU-5a1b77", 100_GiB, 90_GiB};

TEST_CASE("the automatic budget is what is free less the reserve") {
  Options options;
  CHECK(budget_bytes(options, kDie) == 89_GiB);
  DieFacts full = kDie;
  full.free_bytes = 512_MiB;
  CHECK(budget_bytes(options, full) == 0);
}

TEST_CASE("the reserve is at most an eighth of the die") {
  Options options;
  options.vram_reserve_bytes = 95_GiB;
  CHECK(budget_bytes(options, kDie) == 90_GiB - 100_GiB / 8);
}

TEST_CASE("a limit caps the budget, and is capped by what is free") {
  Options options;
  options.vram_limit = size_of(4_GiB);
  CHECK(budget_bytes(options, kDie) == 4_GiB);
  options.vram_limit = size_of(99_GiB);
  CHECK(budget_bytes(options, kDie) == 89_GiB);
  options.vram_limit = share_of(0.5);
  CHECK(budget_bytes(options, kDie) == 50_GiB);
  options.vram_limit = share_of(1);
  CHECK(budget_bytes(options, kDie) == 89_GiB);
}

TEST_CASE("a die's own limit wins") {
  Options options;
  options.vram_limit = size_of(4_GiB);
  options.dies_limit = {{{0, {}}, size_of(1_GiB)}, {{1, {}}, size_of(2_GiB)}};
  CHECK(budget_bytes(options, kDie) == 2_GiB);
  options.dies_limit = {{{-1, "GPU-5a1b"}, share_of(0.25)}};
  CHECK(budget_bytes(options, kDie) == 25_GiB);
  options.dies_limit = {{{-1, "GPU-5a1c"}, share_of(0.25)}};
  CHECK(budget_bytes(options, kDie) == 4_GiB);
  options.dies_limit = {{{1, {}}, kAutomatic}};
  CHECK(budget_bytes(options, kDie) == 89_GiB);
}

TEST_CASE("dies are used by number or by the beginning of their UUID") {
  Options options;
  CHECK(uses_die(options, kDie));
  options.dies_use = {false, {{0, {}}}};
  CHECK_FALSE(uses_die(options, kDie));
  options.dies_use = {false, {{0, {}}, {1, {}}}};
  CHECK(uses_die(options, kDie));
  options.dies_use = {false, {{-1, "GPU-5a"}}};
  CHECK(uses_die(options, kDie));
  DieFacts unknown = kDie;
  unknown.uuid = {};
  CHECK_FALSE(uses_die(options, unknown));
}

TEST_CASE("what a die lends") {
  Options options;
  CHECK(lent_bytes(options, 100_GiB) == 75_GiB);
  options.dies_present = Present::pooled;
  CHECK(lent_bytes(options, 100_GiB) == 100_GiB);
  options.tiers_peer_limit = size_of(3_GiB);
  CHECK(lent_bytes(options, 100_GiB) == 3_GiB);
  CHECK(lent_bytes(options, 2_GiB) == 2_GiB);
  options.tiers_peer_limit = share_of(0.5);
  CHECK(lent_bytes(options, 100_GiB) == 50_GiB);
  options.tiers_peer_enable = false;
  CHECK(lent_bytes(options, 100_GiB) == 0);
}

TEST_CASE("the host's limit") {
  Options options;
  CHECK(host_limit_bytes(options, 100_GiB) == 75_GiB);
  options.tiers_host_limit = size_of(3_GiB);
  CHECK(host_limit_bytes(options, 100_GiB) == 3_GiB);
  options.tiers_host_enable = false;
  CHECK(host_limit_bytes(options, 100_GiB) == 0);
}

TEST_CASE("what is advertised") {
  Options options;
  CHECK(advertised_bytes(options, kDie, 4_GiB, 100_GiB) == 8_GiB);
  CHECK(advertised_bytes(options, kDie, 4_GiB, 5_GiB) == 5_GiB);
  options.vram_advertise = {Amount::Kind::virtual_};
  CHECK(advertised_bytes(options, kDie, 4_GiB, 100_GiB) == 100_GiB);
  options.vram_advertise = {Amount::Kind::physical};
  CHECK(advertised_bytes(options, kDie, 4_GiB, 300_GiB) == 100_GiB);
  options.vram_advertise = size_of(6_GiB);
  CHECK(advertised_bytes(options, kDie, 4_GiB, 100_GiB) == 6_GiB);
}

TEST_CASE("single allocations may be limited") {
  Options options;
  CHECK_FALSE(refuses(options, ~std::uint64_t{0}));
  options.vram_max_alloc = size_of(1_GiB);
  CHECK_FALSE(refuses(options, 1_GiB));
  CHECK(refuses(options, 1_GiB + 1));
}

}  // namespace
}  // namespace barswap::policy

// Launches are told apart by what lies still: addresses that wander must not hide a cycle.
#include "policy/instance.hpp"

#include <doctest/doctest.h>

#include <array>
#include <random>
#include <set>
#include <vector>

#include "policy/turns.hpp"

namespace barswap::policy {
namespace {

constexpr RangeId kWorkspace = 1000, kBuffers = 2000;
constexpr RangeId kLayers = 96;

// A pass over layers of weights, whose activations lie in buffers that change from pass to pass.
// 0 stands for a launch that says nothing.
std::vector<std::uint64_t> pass_of(Instances& instances, std::uint64_t pass) {
  std::vector<std::uint64_t> out;
  for (RangeId layer = 1; layer <= kLayers; ++layer) {
    const RangeId from = kBuffers + (pass + layer) % 3, to = kBuffers + (2 * pass + layer + 1) % 3;
    out.push_back(instances.of(7, std::array{kWorkspace, layer, from, to}).value_or(0));
    out.push_back(instances.of(8, std::array{to, from}).value_or(0));
  }
  return out;
}

TEST_CASE("buffers that wander do not change what a launch is") {
  Instances instances;
  for (std::uint64_t pass = 0; pass < 3; ++pass) pass_of(instances, pass);
  const auto first = pass_of(instances, 3);
  for (std::uint64_t pass = 4; pass < 50; ++pass) REQUIRE(pass_of(instances, pass) == first);
  CHECK(std::set(first.begin(), first.end()).size() == kLayers + 1);
}

// Nor do those of a larger batch, however long the weights have been in use before.
TEST_CASE("buffers that come late need not catch up") {
  for (const std::uint64_t before : {2, 20, 300}) {
    CAPTURE(before);
    Instances instances;
    for (std::uint64_t pass = 0; pass < before; ++pass)
      for (RangeId layer = 1; layer <= kLayers; ++layer) instances.of(6, std::array{layer});
    for (std::uint64_t pass = 0; pass < 3; ++pass) pass_of(instances, pass);
    const auto first = pass_of(instances, 3);
    for (std::uint64_t pass = 4; pass < 50; ++pass) REQUIRE(pass_of(instances, pass) == first);
    CHECK(std::set(first.begin(), first.end()).size() == kLayers + 1);
  }
}

TEST_CASE("buffers that are hardly common stay so") {
  Instances instances;
  std::mt19937_64 random(1);
  constexpr RangeId kFew = 24;
  std::vector<std::uint64_t> first;
  for (std::uint64_t pass = 0; pass < 100; ++pass) {
    std::vector<std::uint64_t> seen;
    for (RangeId layer = 1; layer <= kFew; ++layer) {
      const RangeId from = kBuffers + random() % 4, to = kBuffers + random() % 4;
      seen.push_back(instances.of(7, std::array{layer, from, to, kWorkspace}).value_or(0));
      seen.push_back(instances.of(8, std::array{to, kWorkspace}).value_or(0));
    }
    if (pass == 20) first = seen;
    if (pass > 20) REQUIRE(seen == first);
  }
}

TEST_CASE("ranges that are named equally often tell launches apart, few and many") {
  for (const RangeId count : {2, 3, 8, 200}) {
    Instances instances;
    std::set<std::uint64_t> seen;
    for (int pass = 0; pass < 40; ++pass) {
      seen.clear();
      for (RangeId id = 1; id <= count; ++id)
        seen.insert(instances.of(7, std::array{id}).value_or(0));
    }
    CHECK(seen.size() == count);
  }
}

TEST_CASE("a model that rests does not make another one's ranges common") {
  Instances instances;
  for (int pass = 0; pass < 5; ++pass)
    for (RangeId id = 100; id < 160; ++id) instances.of(7, std::array{id});
  for (int pass = 0; pass < 3000; ++pass)
    for (RangeId id = 1; id <= 10; ++id) REQUIRE(instances.of(7, std::array{id}));
}

TEST_CASE("data that come by once do not make the weights common") {
  Instances instances;
  for (RangeId step = 0; step < 2000; ++step) {
    for (RangeId id = 1; id <= 60; ++id) REQUIRE(instances.of(7, std::array{id}));
    REQUIRE(instances.of(8, std::array{1000 + step}));
  }
}

TEST_CASE("what a training step names several times is not common") {
  Instances instances;
  for (int step = 0; step < 300; ++step) {
    for (int pass = 0; pass < 6; ++pass)
      for (RangeId id = 1; id <= 40; ++id) REQUIRE(instances.of(7, std::array{id}));
    // Its gradients, moments and averages.
    for (RangeId id = 1; id <= 40; ++id)
      REQUIRE(instances.of(8, std::array{id, 100 + id, 200 + id, 300 + id, 400 + id}));
  }
}

TEST_CASE("the same ranges under another grid are another launch") {
  Instances instances;
  CHECK(instances.of(1, std::array<RangeId, 1>{5}) != instances.of(2, std::array<RangeId, 1>{5}));
}

TEST_CASE("a cycle is known although its buffers wander") {
  Turns turns(Plan::move);
  std::uint64_t now_ns = 0;
  for (std::uint64_t pass = 0; pass < 8; ++pass)
    for (RangeId layer = 1; layer <= kLayers; ++layer) {
      const RangeId from = kBuffers + (pass * layer) % 5, to = kBuffers + (pass + 3 * layer) % 5;
      turns.launch(7, 1, std::array{kWorkspace, layer, from, to}, {}, now_ns += 1000);
      turns.launch(8, 1, std::array{to, from}, {}, now_ns += 1000);
    }
  CHECK(turns.cycle().trusted());
  CHECK(turns.cycle().sequence().period() == kLayers);
  // What is common does not leave: each launch would bring it back.
  std::vector<RangeFacts> held;
  for (RangeId id = 1; id <= kLayers; ++id) held.push_back({id, 100, id % 2 * 100, true});
  held.push_back({kWorkspace, 100, 0, true});
  for (RangeId id = kBuffers; id < kBuffers + 5; ++id) held.push_back({id, 100, 0, true});
  const Exchange exchange = turns.choose(held, 300);
  REQUIRE(!exchange.out.empty());
  for (const Part& part : exchange.out) CHECK(part.id <= kLayers);
  // And launches of which none tells where the cycle is end the turns.
  CHECK(turns.moving());
  for (int i = 0; i < 1100; ++i)
    turns.launch(8, 1, std::array{kBuffers, kBuffers + 1}, {}, now_ns += 1000);
  CHECK_FALSE(turns.moving());
}

}  // namespace
}  // namespace barswap::policy

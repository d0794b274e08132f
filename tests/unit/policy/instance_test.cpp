// Launches are told apart by what lies still: addresses that wander must not hide a cycle.
#include "policy/instance.hpp"

#include <doctest/doctest.h>

#include <array>
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
  pass_of(instances, 0);
  const auto first = pass_of(instances, 1);
  for (std::uint64_t pass = 2; pass < 50; ++pass) REQUIRE(pass_of(instances, pass) == first);
  CHECK(std::set(first.begin(), first.end()).size() == kLayers + 1);
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

TEST_CASE("the same ranges under another grid are another launch") {
  Instances instances;
  CHECK(instances.of(1, std::array<RangeId, 1>{5}) != instances.of(2, std::array<RangeId, 1>{5}));
}

TEST_CASE("a cycle is known although its buffers wander") {
  Turns turns(Plan::move);
  std::uint64_t now_ns = 0;
  for (std::uint64_t pass = 0; pass < 6; ++pass)
    for (RangeId layer = 1; layer <= kLayers; ++layer) {
      const RangeId from = kBuffers + (pass * layer) % 5, to = kBuffers + (pass + 3 * layer) % 5;
      turns.launch(7, 1, std::array{kWorkspace, layer, from, to}, 0, now_ns += 1000);
      turns.launch(8, 1, std::array{to, from}, 0, now_ns += 1000);
    }
  CHECK(turns.cycle().trusted());
  CHECK(turns.cycle().sequence().period() == kLayers);
}

}  // namespace
}  // namespace barswap::policy

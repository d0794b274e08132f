// Which die a launch should run on, and what goes along.
#include <doctest/doctest.h>

#include <vector>

#include "policy/route.hpp"

namespace {

using namespace barswap;
using policy::Route;
using policy::Stretch;

constexpr std::uint32_t kBoth = 3, kHome = 1;

Stretch at(std::uint64_t first, std::uint64_t bytes, std::size_t die) {
  Stretch out;
  out.first = first;
  out.bytes = bytes;
  out.on[die] = bytes;
  return out;
}

TEST_CASE("a launch goes to most of its data, if that is worth two changes") {
  Route route;
  const Stretch far[] = {at(1_GiB, 128_MiB, 1)}, near[] = {at(2_GiB, 128_MiB, 0)};
  const Stretch little[] = {at(3_GiB, 2_MiB, 1)};
  CHECK(route.launch(Die{0}, kBoth, far).die == Die{1});
  CHECK(route.launch(Die{1}, kBoth, near).die == Die{0});
  CHECK(route.launch(Die{0}, kBoth, little).die == Die{0});
  CHECK(route.launch(Die{1}, kBoth, std::vector<Stretch>{}).die == Die{1});
}

TEST_CASE("a die that is not open is left, and not gone to") {
  Route route;
  const Stretch far[] = {at(1_GiB, 128_MiB, 1)};
  CHECK(route.launch(Die{0}, kHome, far).die == Die{0});
  CHECK(route.launch(Die{1}, kHome, far).die == Die{0});
}

TEST_CASE("small allocations draw no launch anywhere") {
  Route route;
  Stretch packed = at(1_GiB, 64_MiB, 1);
  packed.packed = true;
  const Stretch named[] = {packed};
  CHECK(route.launch(Die{0}, kBoth, named).die == Die{0});
}

// Weights on both dies, 24 on each, and two activations that the products hand on; after each a
// launch that names those alone.
struct Chain {
  Stretch activation(int i) {
    return at((1 + static_cast<std::uint64_t>(i)) * 64_MiB, 32_MiB, where[i % 2]);
  }
  void step(std::initializer_list<Stretch> named) {
    const std::vector<Stretch> all(named);
    const Route::Advice advice = route.launch(chain, kBoth, all);
    changes += advice.die != chain;
    chain = advice.die;
    if (refuses) {
      for (const Stretch& stretch : advice.carry) route.refused(chain, stretch);
      return;
    }
    for (const Stretch& stretch : advice.carry) {
      const auto which = stretch.first / 64_MiB - 1;
      CHECK(which < 2);
      carried += where[which] != static_cast<std::size_t>(index_of(chain));
      where[which] = static_cast<std::size_t>(index_of(chain));
    }
    const auto die = static_cast<std::size_t>(index_of(chain));
    for (const Stretch& stretch : all) {
      const bool is_weight = stretch.first >= 10_GiB;
      const bool here = is_weight ? stretch.on[die] != 0 : where[stretch.first / 64_MiB - 1] == die;
      far_bytes += here ? 0 : stretch.bytes;
    }
  }
  void pass() {
    changes = carried = 0;
    far_bytes = 0;
    for (int i = 0; i < 48; ++i) {
      const Stretch weight = at((10 + static_cast<std::uint64_t>(i)) * 1_GiB, 128_MiB, i / 24);
      step({activation(i % 2), weight, activation((i + 1) % 2)});
      step({activation((i + 1) % 2)});
    }
  }
  Route route;
  Die chain{0};
  std::size_t where[2] = {0, 0};
  bool refuses = false;
  int changes = 0, carried = 0;
  std::uint64_t far_bytes = 0;
};

TEST_CASE("activations come along with the chain, which changes twice a pass") {
  Chain chain;
  for (int i = 0; i < 2; ++i) chain.pass();  // learns what comes along to each die
  for (int i = 0; i < 3; ++i) {
    chain.pass();
    CHECK(chain.changes == 2);
    CHECK(chain.carried == 4);
    CHECK(chain.far_bytes == 0);
  }
}

TEST_CASE("in a graph that comes again, what it hands on draws nothing, and its data does") {
  Chain chain;
  for (int i = 0; i < 3; ++i) {
    chain.pass();
    chain.route.again();
  }
  chain.pass();
  CHECK(chain.carried == 4);
  CHECK(chain.changes == 2);
  Route route;
  const Stretch data[] = {at(1_GiB, 32_MiB, 1)}, buffer[] = {at(2_GiB, 32_MiB, 1)};
  for (int round = 0; round < 3; ++round) {
    CHECK((route.launch(Die{0}, kBoth, buffer).die == Die{1}) == (round == 0));
    CHECK(route.launch(Die{0}, kBoth, data).die == Die{1});
    CHECK(route.launch(Die{0}, kBoth, data).die == Die{0});
    for (int i = 0; i < 4; ++i) CHECK(route.launch(Die{0}, kBoth, buffer).die == Die{0});
    route.again();
  }
}

// Weights of many layers, and as many gradients, each used beside its weights, that lie elsewhere.
struct Layers {
  static constexpr int kLayers = 24;
  explicit Layers(std::uint64_t near_bytes, std::uint64_t far_bytes) : free{near_bytes, far_bytes} {
    for (int i = 0; i < kLayers; ++i) {
      die[0][i] = i < kLayers / 2 ? 0 : 1;
      die[1][i] = 1 - die[0][i];
    }
  }
  void pass() {
    changes = moved = 0;
    for (int i = 0; i < kLayers; ++i)
      for (int kind = 0; kind < 2; ++kind)
        for (int times = 0; times < 3; ++times) step(kind, i);
  }
  void step(int kind, int layer) {
    const Stretch named[] = {at((1 + static_cast<std::uint64_t>(kind)) * 256_GiB +
                                    static_cast<std::uint64_t>(layer) * 1_GiB,
                                64_MiB, die[kind][layer])};
    const Route::Advice advice = route.launch(chain, kBoth, named, free);
    changes += advice.die != chain;
    chain = advice.die;
    for (const Stretch& stretch : advice.settle) {
      const bool gradient = stretch.first >= 512_GiB;
      const auto which = (stretch.first - (gradient ? 512_GiB : 256_GiB)) / 1_GiB;
      int& lies = die[gradient][which];
      const int to = index_of(chain);
      CHECK(lies != to);
      CHECK(free[static_cast<std::size_t>(to)] >= stretch.bytes);
      free[static_cast<std::size_t>(to)] -= stretch.bytes;
      free[static_cast<std::size_t>(lies)] += stretch.bytes;
      lies = to;
      ++moved;
    }
  }
  Route route;
  Die chain{0};
  policy::Room free;
  int die[2][kLayers] = {};
  int changes = 0, moved = 0;
};

TEST_CASE("what draws the chain away for itself alone comes to lie beside what it is used with") {
  Layers layers(256_MiB, 4_GiB);
  layers.pass();
  CHECK(layers.changes >= 2 * Layers::kLayers - 2);
  CHECK(layers.moved == 0);
  for (int i = 0; i < 4; ++i) layers.pass();
  CHECK(layers.changes <= 4);
  CHECK(layers.moved == 0);
}

TEST_CASE("without room nothing comes to lie elsewhere") {
  Layers layers(64_MiB, 64_MiB);
  for (int i = 0; i < 5; ++i) {
    layers.pass();
    CHECK(layers.moved == 0);
  }
}

TEST_CASE("what cannot be carried is gone to, and asked for ever more seldom") {
  Chain chain;
  chain.refuses = true;
  for (int i = 0; i < 20; ++i) chain.pass();
  CHECK(chain.changes > 2);
}

TEST_CASE("weights that a pass reads once are never carried") {
  Route route;
  Die chain{0};
  for (int pass = 0; pass < 10; ++pass)
    for (std::uint64_t i = 0; i < 100; ++i) {
      const Stretch named[] = {at((1 + i) * 1_GiB, 128_MiB, i < 50 ? 0 : 1)};
      const Route::Advice advice = route.launch(chain, kBoth, named);
      chain = advice.die;
      CHECK(advice.carry.empty());
    }
}

}  // namespace

namespace {

TEST_CASE("what a graph names often comes home before it, and its weights stay") {
  Route route;
  const Route::Often named[] = {{at(64_MiB, 32_MiB, 1), 96},
                                {at(1_GiB, 128_MiB, 1), 6},
                                {at(2_GiB, 1_MiB, 1), 500},
                                {at(3_GiB, 32_MiB, 0), 96}};
  const Route::Advice advice = route.graph(Die{0}, named);
  REQUIRE(advice.carry.size() == 1);
  CHECK(advice.carry[0].first == 64_MiB);
  route.refused(Die{0}, advice.carry[0]);
  CHECK(route.graph(Die{0}, named).carry.empty());
}

}  // namespace

#include "policy/phases.hpp"

#include <doctest/doctest.h>

#include "policy/recall.hpp"

namespace barswap::policy {
namespace {

constexpr std::uint64_t kPeriod = 50;

// Two cycles of launches of a phase whose former occurrence was under the name `seen_in`.
bool run(Phases& phases, std::uint64_t which, Phases::Name seen_in = 0) {
  bool recognised = false;
  for (std::uint64_t i = 0; i < 3 * kPeriod; ++i)
    recognised |= phases.follow(seen_in, scatter(which << 32 | i % kPeriod), kPeriod, true);
  return recognised;
}

TEST_CASE("a name is given only when sure") {
  Phases phases;
  for (std::uint64_t i = 0; i < 100; ++i) phases.follow(0, scatter(i), kPeriod, false);
  CHECK(phases.current() == 0);
  phases.follow(0, scatter(1), kPeriod, true);
  CHECK(phases.current() == 1);
  phases.leave();
  CHECK(phases.current() == 0);
}

TEST_CASE("a cycle that was lost for a moment gets no second name") {
  Phases phases;
  run(phases, 1);
  for (int i = 0; i < 1000; ++i) {
    phases.leave();
    // Of its launches only one in eight was named when it came last.
    phases.follow(i % 8 == 0 ? 1 : 0, scatter(1), kPeriod, true);
    CHECK(phases.current() <= 1);
  }
}

TEST_CASE("a phase is known by where its launches were seen") {
  Phases phases;
  run(phases, 1);
  phases.leave();
  run(phases, 2);
  CHECK(phases.current() == 2);
  CHECK(phases.follow(1, scatter(1), kPeriod, false));
  CHECK(phases.current() == 1);
  CHECK_FALSE(phases.follow(1, scatter(2), kPeriod, false));
}

TEST_CASE("a phase is known by its launches when their places are forgotten") {
  Phases phases;
  for (std::uint64_t which = 1; which <= 3; ++which) {
    CHECK_FALSE(run(phases, which));
    phases.leave();
  }
  CHECK(run(phases, 2));
  CHECK(phases.current() == 2);
}

TEST_CASE("the phase that has not run for longest is forgotten") {
  Phases phases;
  for (std::uint64_t which = 1; which <= Phases::kMax + 1; ++which) {
    run(phases, which);
    CHECK(phases.current() == which);
    phases.leave();
  }
  CHECK(run(phases, 2));
  CHECK(phases.current() == 2);
  phases.leave();
  CHECK_FALSE(run(phases, 1));
  CHECK(phases.current() > Phases::kMax + 1);
}

}  // namespace
}  // namespace barswap::policy

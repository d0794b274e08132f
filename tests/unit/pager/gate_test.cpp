#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "pager/gate.hpp"

namespace {

using barswap::pager::Gate;
using barswap::pager::GateWord;

constexpr std::uint64_t kBriefNs = 2'000'000;

struct Opened {
  Opened() { REQUIRE(Gate::start()); }
  ~Opened() { Gate::reset(); }
};

TEST_CASE("the gate closes and opens, and is closed once") {
  const Opened opened;
  CHECK(Gate::word() == GateWord::open);
  REQUIRE(Gate::close(kBriefNs));
  CHECK(Gate::word() == GateWord::closed);
  CHECK_FALSE(Gate::close(kBriefNs));
  Gate::open();
  CHECK(Gate::word() == GateWord::open);
}

TEST_CASE("nobody closes it around somebody inside, and it stays open then") {
  const Opened opened;
  std::atomic<int> stage{0};
  std::thread entrant([&] {
    Gate::enter(false);
    stage = 1;
    while (stage != 2) std::this_thread::yield();
    Gate::leave();
    stage = 3;
  });
  while (stage != 1) std::this_thread::yield();
  CHECK_FALSE(Gate::close(kBriefNs));
  CHECK(Gate::word() == GateWord::open);
  stage = 2;
  entrant.join();
  CHECK(Gate::close(kBriefNs));
  Gate::open();
}

TEST_CASE("an entrant that may sleep makes the mover give up at once") {
  const Opened opened;
  Gate::enter(true);
  // A minute: only giving up at once lets the test end.
  CHECK_FALSE(Gate::close(60'000'000'000));
  Gate::leave();
}

TEST_CASE("who comes while it is closed waits; who is inside may enter again") {
  const Opened opened;
  std::atomic<bool> through{false};
  REQUIRE(Gate::close(kBriefNs));
  std::thread entrant([&] {
    Gate::enter(false);
    through = true;
    Gate::enter(false);
    Gate::leave();
    Gate::leave();
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  CHECK_FALSE(through);
  Gate::open();
  entrant.join();
  CHECK(through);
}

TEST_CASE("a thread that ends inside is not inside any more") {
  const Opened opened;
  std::thread([] { Gate::enter(true); }).join();
  CHECK(Gate::close(kBriefNs));
  Gate::open();
}

TEST_CASE("a child finds it passed through, open or closed") {
  const Opened opened;
  for (const bool closed : {false, true}) {
    if (closed) REQUIRE(Gate::close(kBriefNs));
    const pid_t child = fork();
    if (child == 0) {
      const bool passes = Gate::word() == GateWord::pass_through;
      Gate::enter(false);
      Gate::leave();
      _exit(passes ? 0 : 1);
    }
    int status = 0;
    waitpid(child, &status, 0);
    CHECK(status == 0);
    if (closed) Gate::open();
  }
}

TEST_CASE("who waits is let through when the process steps aside") {
  const Opened opened;
  REQUIRE(Gate::close(kBriefNs));
  std::thread entrant([] {
    Gate::enter(false);
    Gate::leave();
  });
  Gate::step_aside();
  entrant.join();
  CHECK(Gate::word() == GateWord::pass_through);
}

// Plain on purpose: the gate alone must order these accesses, and the thread sanitizer sees if not.
TEST_CASE("what the mover writes alone is whole to every entrant") {
  const Opened opened;
  struct {
    std::uint64_t first = 0, second = 0;
  } page;
  std::atomic<bool> stop{false};
  std::atomic<std::uint64_t> torn{0};
  std::vector<std::thread> entrants;
  for (int i = 0; i < 4; ++i)
    entrants.emplace_back([&] {
      while (!stop) {
        Gate::enter(false);
        if (page.first != page.second) ++torn;
        Gate::leave();
      }
    });
  std::uint64_t batches = 0;
  for (int i = 0; i < 300; ++i) {
    if (!Gate::close(50'000'000)) continue;
    ++page.first;
    std::this_thread::yield();
    ++page.second;
    ++batches;
    Gate::open();
  }
  stop = true;
  for (std::thread& entrant : entrants) entrant.join();
  CHECK(torn == 0);
  CHECK(batches > 0);
}

}  // namespace

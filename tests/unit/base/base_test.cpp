#include <doctest/doctest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <string_view>

#include "barswap/check.hpp"
#include "barswap/mutex.hpp"
#include "base/clock.hpp"
#include "base/environment.hpp"
#include "base/host_memory.hpp"
#include "base/substitute.hpp"

namespace {

using namespace barswap;

// How a child ends that does `work`.
template <class Work>
int end_of(Work work) {
  const pid_t child = fork();
  if (child == 0) {
    // What it says on its way out belongs in no report, and its end is not the test's.
    close(STDERR_FILENO);
    std::signal(SIGABRT, SIG_DFL);
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

bool stopped(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT; }

TEST_CASE("a broken invariant stops the process, in every build") {
  CHECK(stopped(end_of([] { BARSWAP_CHECK(1 + 1 == 3); })));
  CHECK(end_of([] { BARSWAP_CHECK(1 + 1 == 2); }) == 0);
}

#ifdef BARSWAP_RANK_CHECK
TEST_CASE("locks are taken upwards, or the process stops") {
  const auto upwards = [] {
    Mutex<Rank::mover> low;
    Mutex<Rank::frames> high;
    Lock first(low);
    Lock second(high);
  };
  const auto downwards = [] {
    Mutex<Rank::mover> low;
    Mutex<Rank::frames> high;
    Lock first(high);
    Lock second(low);
  };
  const auto twice = [] {
    Mutex<Rank::pages> one, other;
    Lock first(one);
    Lock second(other);
  };
  const auto tried = [] {
    Mutex<Rank::mover> low;
    Mutex<Rank::frames> high;
    Lock first(high);
    if (low.try_lock()) low.unlock();
  };
  CHECK(end_of(upwards) == 0);
  CHECK(stopped(end_of(downwards)));
  CHECK(stopped(end_of(twice)));
  CHECK(stopped(end_of(tried)));
}

TEST_CASE("a lock that was given back no longer counts") {
  CHECK(end_of([] {
          Mutex<Rank::frames> high;
          Mutex<Rank::mover> low;
          { const Lock lock(high); }
          { const Lock lock(low); }
        }) == 0);
}
#endif

TEST_CASE("the environment is read once") {
  CHECK(end_of([] {
          setenv("BARSWAP_CHAOS", "77", 1);
          setenv("BARSWAP_SET", "vram.limit=1GiB", 1);
          setenv("BARSWAP_DISABLE", "1", 1);
          const Environment& read = environment();
          BARSWAP_CHECK(read.chaos && read.chaos_seed == 77 && read.disable);
          BARSWAP_CHECK(std::string_view(read.set) == "vram.limit=1GiB");
          setenv("BARSWAP_CHAOS", "78", 1);
          BARSWAP_CHECK(environment().chaos_seed == 77);
        }) == 0);
  CHECK(end_of([] {
          unsetenv("BARSWAP_CHAOS");
          unsetenv("BARSWAP_SET");
          unsetenv("BARSWAP_DISABLE");
          const Environment& read = environment();
          BARSWAP_CHECK(!read.chaos && !read.disable && read.set && *read.set == '\0');
        }) == 0);
}

TEST_CASE("host memory: some is free, and not more than there is") {
  CHECK(host_available_bytes() > 0);
  CHECK(host_total_bytes() > 0);
  CHECK(host_available_bytes() <= host_total_bytes());
}

TEST_CASE("the clock goes forward") {
  const std::uint64_t before = now_ns();
  sleep_ns(1'000'000);
  CHECK(now_ns() - before >= 1'000'000);
}

// What a reader of the environment finds; empty: nothing.
std::string_view value_of(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

constexpr const char* kName = "BARSWAP_TEST_SUBSTITUTE";

TEST_CASE("another value is shown for a while, and nothing is left of it") {
  unsetenv(kName);
  char** before = environ;
  Substitute substitute;
  REQUIRE(substitute.show(kName, "shown"));
  CHECK(value_of(kName) == "shown");
  CHECK(value_of("PATH") == std::getenv("PATH"));
  substitute.withdraw();
  CHECK(environ == before);
  CHECK(std::getenv(kName) == nullptr);

  setenv(kName, "own", 1);
  before = environ;
  REQUIRE(substitute.show(kName, "shown again"));
  CHECK(value_of(kName) == "shown again");
  substitute.withdraw();
  CHECK(environ == before);
  CHECK(value_of(kName) == "own");
}

TEST_CASE("what the program changes meanwhile stays") {
  constexpr const char* kOther = "BARSWAP_TEST_OTHER";
  for (const bool was_set : {false, true}) {
    CAPTURE(was_set);
    if (was_set) setenv(kName, "own", 1);
    else unsetenv(kName);
    setenv(kOther, "1", 1);
    Substitute substitute;
    REQUIRE(substitute.show(kName, "shown"));
    SUBCASE("a variable is changed") { setenv(kOther, "2", 1); }
    SUBCASE("a variable is added") {
      unsetenv("BARSWAP_TEST_NEW");
      setenv("BARSWAP_TEST_NEW", "3", 1);
      setenv(kOther, "2", 1);
    }
    substitute.withdraw();
    CHECK(value_of(kOther) == "2");
    CHECK(value_of(kName) == (was_set ? "own" : ""));
    CHECK((std::getenv(kName) != nullptr) == was_set);
    REQUIRE(substitute.show(kName, "shown"));
    setenv(kName, "the program's", 1);
    substitute.withdraw();
    CHECK(value_of(kName) == "the program's");
    REQUIRE(substitute.show(kName, "shown"));
    unsetenv(kOther);
    substitute.withdraw();
    CHECK(std::getenv(kOther) == nullptr);
    CHECK(value_of(kName) == "the program's");
  }
}

TEST_CASE("what replaces a value stays, and can be changed like any other") {
  constexpr const char* kLonger = "BARSWAP_TEST_SUBSTITUTES";
  setenv(kName, "before", 1);
  setenv(kLonger, "longer", 1);
  REQUIRE(replace_variable(kName, "after"));
  CHECK(value_of(kName) == "after");
  REQUIRE(replace_variable(kName, nullptr));
  CHECK(std::getenv(kName) == nullptr);
  CHECK(value_of(kLonger) == "longer");
  REQUIRE(replace_variable(kName, nullptr));
  setenv(kName, "the program's", 1);
  CHECK(value_of(kName) == "the program's");
  unsetenv(kName);
  unsetenv(kLonger);
}

}  // namespace

// A run stays until its move is wholly booked. The mover reads the clock when it notes the event of
// a move, in the middle of its books, so that a clock of the test's own can give another thread its
// turn at that instant, each time anew.
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <functional>
#include <thread>

#include "stats/stats.hpp"
#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

// What happens when this thread reads the clock.
thread_local std::function<void()>* at_clock = nullptr;

// Calls `turn` on another thread at each event of a move that this thread notes meanwhile.
class AtMoves {
 public:
  explicit AtMoves(std::function<void()> turn)
      : hook_([this, turn = std::move(turn)] {
          if (!noting_a_move()) return;
          ++count_;
          std::thread(turn).join();
        }) {
    at_clock = &hook_;
  }
  ~AtMoves() { at_clock = nullptr; }
  AtMoves(const AtMoves&) = delete;
  AtMoves& operator=(const AtMoves&) = delete;
  int count() const { return count_; }

 private:
  // An event has no time yet while it is written.
  static bool noting_a_move() {
    const barswap_stats& live = stats::live();
    if (live.event_count == 0) return false;
    const barswap_event& last = live.events[(live.event_count - 1) % BARSWAP_STATS_EVENTS];
    return last.time_ns == 0 &&
           (last.kind == BARSWAP_EVENT_MOVE_OUT || last.kind == BARSWAP_EVENT_MOVE_IN);
  }

  std::function<void()> hook_;
  int count_ = 0;
};

TEST_CASE("nobody can bury a run before its move is wholly booked") {
  Bench bench;
  pager::Pager& pager = bench.pager();
  pager::Frames& frames = bench.frames();
  (void)bench.alloc(2_MiB);
  const driver::Verbs& verbs = bench.session().verbs();
  for (int turn = 0; turn < 4; ++turn) {
    CAPTURE(turn);
    // One page, so that the run's only job is the one that is booked.
    pager::Birth request;
    request.bytes = 2_MiB;
    request.kind = pager::RunKind::large;
    auto base = verbs.reserve(request.bytes);
    REQUIRE(base.has_value());
    request.base = *base;
    auto run = pager.birth(request);
    REQUIRE(run.has_value());
    bool buried = false;
    {
      const AtMoves moves([&] { buried = buried || pager.try_bury(*run); });
      pager.room_for_small(Die{0}, frames.free_hbm(Die{0}) + 2_MiB);
      REQUIRE(moves.count() == 1);
    }
    REQUIRE_FALSE(buried);
    CHECK(pager.residency(*run).host_bytes == 2_MiB);
    CHECK(frames.host_mapped(Die{0}) == 2_MiB);
    CHECK(pager.try_bury(*run));
    CHECK(frames.host_mapped(Die{0}) == 0);
    CHECK(bench.life.check_books().empty());
    REQUIRE(verbs.unreserve(*base, request.bytes));
  }
}

}  // namespace

// In place of the C library's, for this program.
extern "C" int clock_gettime(clockid_t clock, timespec* now) noexcept {
  if (std::function<void()>* hook = at_clock) {
    at_clock = nullptr;
    (*hook)();
    at_clock = hook;
  }
  return static_cast<int>(syscall(SYS_clock_gettime, clock, now));
}

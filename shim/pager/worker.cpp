// The worker, a thread of ours: it makes host frames ahead of need and tries the moves that no free
// moment of the program served. It exists only once use nears a die's budget and is outside every
// capture's rules.
#include <algorithm>

#include "base/clock.hpp"
#include "pager/pager.hpp"
#include "stats/stats.hpp"

namespace barswap::pager {
namespace {

constexpr std::uint64_t kRestNs = 5'000'000;       // between looks while something is wanted
constexpr std::uint64_t kSleepNs = 1'000'000'000;  // while nothing is
// While frames are made for copies, this many times as long as it takes: pinning memory slows down
// what kernels read over the link meanwhile, and the driver makes frames under a lock that remaps
// need, too.
constexpr std::uint64_t kPacedRests = 1;
constexpr std::uint64_t kPacedLeastNs = 100'000, kPacedMostNs = 50'000'000;
// Forced drains may take this much at once, before their share of time binds.
constexpr std::uint64_t kForcedCreditNs = 200'000'000;

}  // namespace

// Without a thread everything still works; moves then wait for the program's free moments.
void Pager::start_worker() {
  if (!settings_.worker || closing_.load(std::memory_order_relaxed)) return;
  const auto begin = [](void* self) { (void)static_cast<Pager*>(self)->verbs_.relax_capture(); };
  const auto turn = [](void* self) { return static_cast<Pager*>(self)->look(); };
  worker_.start({"barswap", begin, turn, this});
}

std::uint64_t Pager::look() {
  const std::uint64_t start_ns = now_ns();
  const bool more = work();
  if (paced())
    return std::clamp(kPacedRests * (now_ns() - start_ns), kPacedLeastNs, kPacedMostNs);
  return more ? kRestNs : kSleepNs;
}

bool Pager::paced() const { return stock_.load(std::memory_order_relaxed) == Stock::wanted; }

// A handful of frames at a time, so that a move or the end of the process never waits for long; one
// while ranges take turns or a trial waits for them. None while ranges take turns without copies,
// which use the frames that there are.
// True: there is more to do.
bool Pager::prepare_frames(Die die) {
  constexpr int kFramesMax = 8;
  Stock stock = stock_.load(std::memory_order_relaxed);
  const bool turns = turning();
  if (turns && stock == Stock::none) return false;
  int left = turns || stock == Stock::wanted ? 1 : kFramesMax;
  for (std::uint64_t bytes = settings_.page_bytes; bytes <= page_most(); bytes *= 2) {
    const std::uint64_t usual = prepare_target(die, bytes);
    const std::uint64_t target = usual + (stock == Stock::wanted ? copies_missing(bytes) : 0);
    while (left > 0 && !closing_.load(std::memory_order_relaxed) &&
           frames_.prepare_host(die, bytes, target))
      --left;
    // What turns left behind goes back to the machine.
    while (left > 0 && stock == Stock::none && !turns && frames_.trim_host(bytes, 2 * usual))
      --left;
  }
  if (left > 0 && stock == Stock::wanted) stock_.compare_exchange_strong(stock, Stock::full);
  return left == 0;
}

// More than the die itself holds would only burden the host.
std::uint64_t Pager::prepare_target(Die die, std::uint64_t frame_bytes) const {
  unsigned sizes = 0;
  bool one_of_them = false;
  for (std::uint64_t bytes = settings_.page_bytes; bytes <= page_most(); bytes *= 2) {
    ++sizes;
    one_of_them = one_of_them || bytes == frame_bytes;
  }
  return one_of_them ? std::min(settings_.prepare_bytes, frames_.budget(die)) / sizes : 0;
}

// True: look again soon.
bool Pager::work() {
  bool more = false;
  for (const Die die : dies_) more = prepare_frames(die) || more;
  drop_needless_copies();
  publish();
  if (!wants_move()) forget_stuck();
  if (!wants_move()) return more;
  Lock lock(mover_);
  const std::uint64_t start_ns = now_ns();
  const auto allowance_ns = static_cast<std::uint64_t>(
      static_cast<double>(start_ns - start_ns_) * settings_.forced_share);
  const bool rested = start_ns - last_failure_ns_ >= backoff_ns_;
  const bool may_force = rested && forced_ns_ < allowance_ns + kForcedCreditNs;
  for (const Die die : dies_) {
    if (closing_.load(std::memory_order_relaxed)) return false;
    if (!move_once(die, 0, Patience::none) && may_force)
      (void)move_once(die, 0, Patience::deadline);
  }
  if (may_force) forced_ns_ += now_ns() - start_ns;
  return true;
}

void Pager::close() {
  if (closing_.exchange(true, std::memory_order_acq_rel)) return;
  worker_.stop(3);  // the deadline of a drain and one batch, with room
  // The batch that a program thread has in hand ends before the driver does.
  may_move_.store(false, std::memory_order_relaxed);
  wanted_.store(false, std::memory_order_relaxed);
  for (int i = 0; i < 3000; ++i) {
    if (mover_.try_lock()) {
      mover_.unlock();
      return;
    }
    sleep_ns(1'000'000);
  }
}

}  // namespace barswap::pager

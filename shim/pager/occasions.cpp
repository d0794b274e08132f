// On whose behalf pages move: a free moment of the program, a turn, memory that is short, a pin,
// and access from another die. Each takes the mover and has it make batches; how one batch moves is
// mover.cpp's.
#include <sched.h>

#include <algorithm>
#include <vector>

#include "base/clock.hpp"
#include "pager/job.hpp"
#include "pager/steps.hpp"
#include "policy/place.hpp"

namespace barswap::pager {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

constexpr std::uint64_t kMoverNs = 100'000'000;  // for the lock of whoever looks or moves

}  // namespace

void Pager::free_moment() {
  if (closing_.load(std::memory_order_relaxed)) return;
  if (heat_.due()) weigh_heat();
  if (!wanted_.load(std::memory_order_relaxed) || !mover_.try_lock()) return;
  const std::uint64_t start_ns = now_ns();
  const std::uint64_t room_ns = policy::moment_ns(start_ns - moment_ns_);
  bool moved = true;
  while (moved && wanted_.load(std::memory_order_relaxed) &&
         !closing_.load(std::memory_order_relaxed)) {
    moved = false;
    for (const Die die : dies_) moved |= move_once(die, 0, Patience::none);
    if (settings_.chaos || now_ns() - start_ns >= room_ns) break;
  }
  moment_ns_ = now_ns();
  mover_.unlock();
}

// The worker looks now and then whether a move is possible, and what were given up for that would
// cost more. The limit is for whoever waits for this very thread while it holds the lock.
bool Pager::take_mover() {
  const Hurry hurry(*this);
  const std::uint64_t limit_ns = now_ns() + kMoverNs;
  while (!mover_.try_lock()) {
    if (now_ns() > limit_ns) return false;
    sched_yield();
  }
  return true;
}

bool Pager::exchange(Die die, policy::Exchange& exchange, Drains drains) {
  if (contexts_.capturing()) return false;
  Steps steps;
  if (!take_mover()) return false;
  steps.done("alone");
  const driver::RelaxedCapture relaxed(verbs_);
  bool moved = false;
  const bool rested = now_ns() - last_failure_ns_ >= backoff_ns_;
  bool possible = rested && (!must_not_wait(contexts_.all()) || idle_now());
  // The driver prepares the first batch while the device still works.
  Patience patience = Patience::queue;
  bool beside = settings_.beside && !exchange.stripe && may_move_beside(die);
  while (possible && (beside || drains == Drains::allowed) && may_move() &&
         !closing_.load(std::memory_order_relaxed) && !contexts_.capturing()) {
    auto jobs = choose_turn(die, exchange);
    steps.done("chosen");
    reserve(jobs);
    steps.done("reserved");
    // Afterwards a run may be gone.
    std::vector<policy::RangeId> ids;
    for (const Job& job : jobs) ids.push_back(static_cast<policy::RangeId>(job.run->base));
    bool done = false;
    if (!jobs.empty()) done = beside ? move_beside(jobs, steps) : move_batch(jobs, patience, steps);
    // What cannot move beside running work may in a drain.
    possible = done || (beside && !jobs.empty());
    if (!beside) patience = Patience::deadline;
    beside = beside && done;
    moved |= done;
    for (std::size_t i = 0; i < jobs.size(); ++i) {
      if (!jobs[i].moved) continue;
      auto& shares = jobs[i].target == Tier::hbm ? exchange.in : exchange.out;
      for (policy::Part& share : shares)
        if (share.id == ids[i]) share.bytes -= std::min(share.bytes, jobs[i].old.bytes);
    }
    steps = Steps();
  }
  update_wish();
  mover_.unlock();
  if (moved && settings_.keep_copies && exchange.keeps && !exchange.stripe) {
    turned_ns_.store(now_ns(), std::memory_order_relaxed);
    worker_.ring();  // for frames in the place of those that copies hold
  }
  return moved;
}

void Pager::no_more_turns(Die die) {
  {
    Lock lock(pages_);
    spare_bytes_[slot(die)] = 0;
  }
  update_wish();
}

void Pager::spread_stands(Die die, bool stands) {
  Lock lock(pages_);
  spread_[slot(die)] = stands;
}

void Pager::room_for_small(Die die, std::uint64_t bytes) {
  pressed_[slot(die)].store(true, std::memory_order_relaxed);
  if (!can_make_room(die) || !mover_.try_lock()) return;
  for (int batch = 0; batch < 8 && frames_.free_hbm(die) < bytes; ++batch)
    if (!move_once(die, bytes - frames_.free_hbm(die), Patience::none)) break;
  mover_.unlock();
}

bool Pager::make_room(Die die, bool may_wait) {
  constexpr std::uint64_t kRoomBytes = 64_MiB;
  bool released = frames_.release_warm(die) > 0;
  // The driver may be short of memory of the host as well.
  if (drop_copies(kAllCopies)) released = frames_.release_prepared() > 0 || released;
  if (!may_wait) return released;
  const Hurry hurry(*this);
  Lock lock(mover_);
  // What is absent relies on the ballast for its page tables.
  lay_absent(Names());
  if (ballast_[slot(die)].handle != driver::Handle::none) {
    give_up_ballast(die);
    released = true;
  }
  released = detours_.give_up(die) || released;
  (void)verbs_.trim_default_pool(die);
  if (released) return true;
  // The room is the driver's from now on: a frame that leaves a page goes back to the driver.
  frames_.lower_budget(die, kRoomBytes);
  pressed_[slot(die)].store(true, std::memory_order_relaxed);
  for (int batch = 0; batch < 4; ++batch) {
    if (!move_once(die, kRoomBytes, Patience::deadline)) break;
    released = true;
  }
  (void)frames_.release_warm(die);
  return released;
}

Result<void> Pager::pin(Run* run) {
  const Hurry hurry(*this);
  Lock lock(mover_);
  // Its own pages must not make place for it: what came in would leave again, without end.
  if (Veil::current()) (void)show_all();
  lay_absent(Names());
  set_pinning(*run, true);
  drop_copies(run);
  auto outcome = bring_in(run);
  set_pinning(*run, false);
  return outcome;
}

void Pager::set_pinning(Run& run, bool pinning) {
  Lock pages(pages_);
  run.pinning = pinning;
}

Result<void> Pager::bring_in(Run* run) {
  for (int attempt = 0; attempt < 10'000; ++attempt) {
    auto jobs = choose_pin(run, batch_bytes());
    if (jobs.empty()) {
      Lock pages(pages_);
      count(*run, false);
      run->pinned = true;
      count(*run, true);
      return {};
    }
    reserve(jobs);
    Steps steps;
    if (!jobs.empty() && !may_move_.load(std::memory_order_relaxed)) finish(jobs);
    else if (!jobs.empty() && move_batch(jobs, Patience::deadline, steps)) continue;
    // No frame: make place with large pages of others, else it cannot be done.
    if (!move_once(run->home, run->page_bytes, Patience::deadline)) break;
  }
  return Error{Fault::not_supported};
}

// The first grant to a die that could not reach a page needs no drain: it leaves the entries of the
// dies that use the page as they are (seen under a kernel that writes it, device and host page,
// 580.159).
Result<void> Pager::grant(Die owner, Die accessor) {
  const Hurry hurry(*this);
  Lock lock(mover_);
  const driver::RelaxedCapture relaxed(verbs_);
  if (Veil* veil = Veil::current())
    end_veil(*veil, BARSWAP_VERIFY_GAVE_UP, "one die is to reach the memory of another");
  lay_absent(Names());
  // Marked as moving, so that nobody buries them meanwhile. Those that the die reached before were
  // never closed to it.
  std::vector<Run*> runs;
  {
    Lock pages(pages_);
    granted_[slot(owner)][slot(accessor)] = true;
    for (const auto& run : runs_) {
      if (run->home != owner || run->reached_from(accessor)) continue;
      ++run->moving;
      run->reach |= 1u << index_of(accessor);
      runs.push_back(run.get());
    }
  }
  Result<void> outcome;
  const Die dies[] = {accessor};
  for (const Run* run : runs) {
    if (outcome) outcome = verbs_.grant(run->base, run->bytes, dies);
  }
  Lock pages(pages_);
  if (!outcome) granted_[slot(owner)][slot(accessor)] = false;
  for (Run* run : runs) {
    --run->moving;
    if (!outcome) run->reach &= ~(1u << index_of(accessor));
    else frames_.host_mapped(accessor, static_cast<std::int64_t>(run->host_bytes()));
  }
  return outcome;
}

// The mapping stays readable from there: taking access away from a live page would be a remap, and
// a program that goes on using what it closed is not owed a fault.
Result<void> Pager::revoke(Die owner, Die accessor) {
  Lock pages(pages_);
  granted_[slot(owner)][slot(accessor)] = false;
  return {};
}

}  // namespace barswap::pager

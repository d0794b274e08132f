// Carrying: pages that launches name go along to the die that these are routed to. A page may lie
// on any die of its pool; where it lies is a matter of speed.
#include <algorithm>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "pager/job.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"
#include "pager/steps.hpp"

namespace barswap::pager {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

}  // namespace

policy::Stretch Pager::stretch(Address named, Address end) const {
  constexpr std::uint64_t kGranule = Places::kGranuleBytes;
  constexpr std::uint64_t kGranulesMost = 256;  // more says nothing new
  policy::Stretch out;
  out.first = value_of(named) / kGranule * kGranule;
  const std::uint64_t whole = value_of(end) - out.first;
  const std::uint64_t most = std::min(kGranulesMost, (whole + kGranule - 1) / kGranule);
  const std::uint64_t count = heat_.stands_for(out.first, most);
  out.bytes = std::min(count * kGranule, whole);
  places_.each(out.first, count, [&](std::uint64_t i, Die die) {
    out.on[slot(die)] += std::min(kGranule, whole - i * kGranule);
  });
  return out;
}

std::vector<Pager::Job> Pager::choose_carry(Die home, Die to,
                                            std::span<const policy::Stretch> stretches) {
  std::vector<Job> jobs;
  const auto add = [&](Run& run, std::size_t page) {
    const Page& moving = run.pages[page];
    const bool there = moving.frame.tier != Tier::host && moving.frame.die == to;
    if (there || jobs.size() == kJobsMax) return;
    Job job;
    job.run = &run;
    job.page = page;
    job.cause = Cause::carry;
    job.target = to == home ? Tier::hbm : Tier::peer;
    job.on = to;
    job.address = moving.address;
    job.old = moving.frame;
    jobs.push_back(job);
  };
  Lock lock(pages_);
  for (const auto& run : runs_) {
    if (run->home != home || !run->live || run->moving != 0 || run->pinned || run->pinning ||
        run->place != policy::Place::automatic)
      continue;
    const std::uint64_t base = value_of(run->base);
    for (const policy::Stretch& stretch : stretches) {
      if (stretch.first >= base + run->bytes || stretch.first + stretch.bytes <= base) continue;
      const std::uint64_t first = std::max(stretch.first, base) - base;
      const std::uint64_t last = std::min(stretch.first + stretch.bytes - base, run->bytes) - 1;
      for (std::size_t i = first / run->page_bytes; i <= last / run->page_bytes; ++i)
        if (std::none_of(jobs.begin(), jobs.end(),
                         [&](const Job& job) { return job.run == run.get() && job.page == i; }))
          add(*run, i);
    }
  }
  for (Job& job : jobs) ++job.run->moving;
  return jobs;
}

// What is named least makes place for what comes along, once: when that leaves again its place
// stays.
void Pager::make_place(Die die, std::uint64_t bytes) {
  constexpr int kBatches = 4;
  for (int i = 0; i < kBatches && frames_.free_hbm(die) < bytes; ++i)
    if (!move_once(die, bytes - frames_.free_hbm(die), Patience::queue)) break;
}

// One batch: what is carried is small, and what finds no room stays where it is.
Pager::Carried Pager::carry(Die home, Die to, std::span<const policy::Stretch> stretches) {
  Steps steps;
  if (!may_move() || contexts_.capturing() || !take_mover()) return Carried::not_now;
  steps.done("alone");
  const driver::RelaxedCapture relaxed(verbs_);
  const bool rested = now_ns() - last_failure_ns_ >= backoff_ns_;
  Carried out = Carried::not_now;
  if (rested && !closing_.load(std::memory_order_relaxed) &&
      (!must_not_wait(contexts_.all()) || idle_now())) {
    auto jobs = choose_carry(home, to, stretches);
    const std::size_t wanted = jobs.size();
    std::uint64_t wanted_bytes = 0;
    for (const Job& job : jobs) wanted_bytes += job.old.bytes;
    steps.done("chosen");
    if (to == home) make_place(home, wanted_bytes);
    reserve(jobs);
    steps.done("reserved");
    const bool moved = !jobs.empty() && move_batch(jobs, Patience::queue, steps);
    if (jobs.size() < wanted) out = Carried::no_room;
    else if (moved || wanted == 0) out = Carried::all;
  }
  update_wish();
  mover_.unlock();
  BARSWAP_LOG(debug, "pager", "carried, us: %s", steps.text().c_str());
  return out;
}

}  // namespace barswap::pager

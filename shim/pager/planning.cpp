// From the policy's advice to jobs with frames: which pages move in the next batch.
#include <algorithm>
#include <unordered_map>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "pager/job.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"
#include "policy/place.hpp"

namespace barswap::pager {
namespace {

struct Candidates {
  std::vector<policy::PageFacts> facts;
  std::vector<std::pair<Run*, std::size_t>> pages;
};

Candidates candidates_of(const std::vector<std::unique_ptr<Run>>& runs, Die die,
                         const Heat& heat) {
  Candidates out;
  for (const auto& run : runs) {
    if (run->home != die || !run->live) continue;
    std::uint32_t carried = 0;
    for (std::size_t i = 0; i < run->pages.size(); ++i) {
      policy::PageFacts facts;
      facts.range_order = run->order;
      facts.page_index = static_cast<std::uint32_t>(i);
      facts.pages_in_range = static_cast<std::uint32_t>(run->pages.size());
      facts.bytes = run->pages[i].frame.bytes;
      facts.large = run->kind == RunKind::large;
      facts.packed = run->kind == RunKind::packed;
      facts.resident = run->pages[i].frame.tier == Tier::hbm;
      facts.peer = run->pages[i].frame.tier == Tier::peer;
      facts.pinned = run->pinned || run->pinning || run->moving != 0;
      facts.wants_hbm = run->place == policy::Place::resident;
      facts.wants_stream = run->place == policy::Place::stream;
      if (heat.watching()) facts.heat = heat.of(run->pages[i].address, facts.bytes, carried);
      out.facts.push_back(facts);
      out.pages.emplace_back(run.get(), i);
    }
  }
  return out;
}

// Where launches go to their bytes, what lies on a peer is where it should be.
void keep_on_peers(Candidates& all) {
  for (policy::PageFacts& page : all.facts) page.pinned = page.pinned || page.peer;
}

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

// A swap needs an alias for each of its two sides.
constexpr std::size_t kSwapPagesMax = kJobsMax / 2;

bool may_turn(const Run& run, Die die) {
  return run.home == die && run.live && run.kind == RunKind::large && !run.pinned &&
         run.place == policy::Place::automatic;
}

}  // namespace

std::vector<Pager::Job> Pager::choose(Die die, std::uint64_t batch_bytes,
                                      std::uint64_t evict_bytes, Lent lent) {
  std::vector<Job> jobs;
  Lock lock(pages_);
  Candidates all = candidates_of(runs_, die, heat_);
  if (settings_.whole) keep_on_peers(all);
  const auto large = settings_.whole ? policy::Large::whole : policy::Large::spread;
  const std::uint64_t free_bytes = frames_.free_hbm(die);
  const std::uint64_t keep_bytes = headroom(die);
  // What it lent comes before anything of its own leaves.
  if (lent == Lent::comes_back && frames_.lent(die) > 0 && (evict_bytes > 0 || wants_back(die))) {
    const std::uint64_t wanted_bytes = evict_bytes > 0 ? evict_bytes : lacking(die);
    return choose_lent(die, std::min(wanted_bytes, batch_bytes));
  }
  std::uint64_t small_away = 0;
  for (const policy::PageFacts& page : all.facts)
    if (!page.resident && !page.large && !page.pinned && !page.wants_stream)
      small_away += page.bytes;

  const auto add = [&](std::size_t index, Cause cause, Tier target) {
    if (jobs.size() == kJobsMax) return;
    Job job;
    job.run = all.pages[index].first;
    job.page = all.pages[index].second;
    job.cause = cause;
    job.target = target;
    job.address = job.run->pages[job.page].address;
    job.old = job.run->pages[job.page].frame;
    ++job.run->moving;
    jobs.push_back(job);
  };

  // Small pages come in first, into what is free.
  if (evict_bytes == 0 && small_away > 0 && free_bytes > 0) {
    for (const std::size_t i :
         policy::promotions(all.facts, std::min({free_bytes, small_away, batch_bytes})))
      if (!all.facts[i].large) add(i, Cause::small, Tier::hbm);
    if (!jobs.empty()) return jobs;
  }
  // A swap begins with room for the first that comes in.
  std::uint64_t first_bytes = 0;
  if (!heat_decides(die)) swap_wanted_[slot(die)] = false;
  if (evict_bytes == 0 && swap_wanted_[slot(die)]) {
    const policy::Swap swap = policy::swaps(all.facts, std::max(free_bytes, page_most()));
    swap_wanted_[slot(die)] = !swap.empty();
    if (!swap.empty()) first_bytes = all.facts[swap.in.front()].bytes;
  }
  std::uint64_t leave_bytes = evict_bytes;
  const std::uint64_t wanted_bytes = std::max(keep_bytes, first_bytes);
  const bool cramped = first_bytes > free_bytes;
  if (evict_bytes == 0 && (small_away > 0 || cramped || free_bytes < keep_bytes / 2))
    leave_bytes = small_away + wanted_bytes - std::min(free_bytes, wanted_bytes);
  if (leave_bytes > 0) {
    for (const std::size_t i :
         policy::victims(all.facts, std::min(leave_bytes, batch_bytes), large))
      // Only what is large makes place: small for small would gain nothing.
      if (all.facts[i].large || all.facts[i].wants_stream)
        add(i, small_away > 0 ? Cause::small : cramped ? Cause::hot : Cause::headroom,
            all.facts[i].wants_stream ? Tier::host : Tier::peer);
    if (evict_bytes > 0)
      for (Job& job : jobs) job.cause = Cause::pressure;
    if (evict_bytes > 0 || !jobs.empty()) return jobs;
  }
  if (const std::uint64_t full = policy::refilled_bytes(keep_bytes);
      first_bytes == 0 && free_bytes > full)
    for (const std::size_t i :
         policy::promotions(all.facts, std::min(free_bytes - full, batch_bytes)))
      add(i, Cause::refill, Tier::hbm);
  // HBM of a peer is free, and reads faster than the host.
  if (jobs.empty() && first_bytes == 0 && comes_nearer(die)) {
    const std::uint64_t lent_bytes = room_of_lenders(die, page_most());
    for (policy::PageFacts& page : all.facts) page.pinned = page.pinned || page.peer;
    for (const std::size_t i : policy::promotions(all.facts, std::min(lent_bytes, batch_bytes)))
      add(i, Cause::refill, Tier::peer);
  }
  if (!jobs.empty() || first_bytes == 0) return jobs;
  const policy::Swap swap = policy::swaps(
      all.facts, std::min({free_bytes, batch_bytes, kSwapPagesMax * page_most()}));
  swap_wanted_[slot(die)] = !swap.empty();
  // Should frames on the host run out, what comes in lives on the headroom, and gives the host back
  // the frames that restore it.
  for (const std::size_t i : swap.out) add(i, Cause::hot, Tier::peer);
  for (const std::size_t i : swap.in) add(i, Cause::hot, Tier::hbm);
  return jobs;
}

// Ranges take turns, which bring in what launches name. Of those the ones named last look hot,
// since counts fade, and what changed places for that would have no copy to leave for.
bool Pager::turns_taken(Die die) const { return spare_bytes_[slot(die)] > 0; }

// Nor where a whole cycle was looked at: an address that was named once, while data were made, is
// the beginning of a stretch that looks cold for good, though kernels that name the one before it
// read all of it.
bool Pager::heat_decides(Die die) const { return !turns_taken(die) && !spread_[slot(die)]; }

// Whether places are worth changing. It walks all pages, on a thread of the program: so it takes at
// most a fiftieth of the time.
void Pager::weigh_heat() {
  constexpr std::uint64_t kRestTimes = 50;
  heat_.look();
  const std::uint64_t start_ns = now_ns();
  if (start_ns < weigh_after_ns_.load(std::memory_order_relaxed)) return;
  for (const Die die : dies_) {
    std::uint64_t free_bytes = 0;
    policy::Swap swap;
    {
      Lock lock(pages_);
      free_bytes = frames_.free_hbm(die);
      Candidates all = candidates_of(runs_, die, heat_);
      if (settings_.whole) keep_on_peers(all);
      if (heat_decides(die)) swap = policy::swaps(all.facts, std::max(free_bytes, page_most()));
      swap_wanted_[slot(die)] = !swap.empty();
    }
    BARSWAP_LOG(debug, "pager",
                "die %d: %zu hot pages could come in for %zu cold ones, %llu MiB free",
                index_of(die), swap.in.size(), swap.out.size(),
                static_cast<unsigned long long>(free_bytes / 1_MiB));
  }
  const std::uint64_t end_ns = now_ns();
  weigh_after_ns_.store(end_ns + kRestTimes * (end_ns - start_ns), std::memory_order_relaxed);
  update_wish();
}

std::vector<policy::RangeFacts> Pager::survey(Die die, With with) const {
  std::vector<policy::RangeFacts> out;
  {
    Lock lock(pages_);
    for (const auto& run : runs_) {
      if (!may_turn(*run, die)) continue;
      std::uint32_t heat = 0, carried = 0;
      if (with == With::heat)
        for (const Page& page : run->pages)
          heat = std::max(heat, heat_.of(page.address, page.frame.bytes, carried));
      // What a peer has takes no turns: it is neither on the host nor makes room by leaving.
      const std::uint64_t bytes = run->bytes - run->bytes_in(Tier::peer);
      if (bytes == 0) continue;
      out.push_back({static_cast<std::uint64_t>(run->base), bytes, run->host_bytes(),
                     run->moving == 0, heat, run->page_bytes});
    }
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  return out;
}

// Any page to any tier, also to a fresh frame of its own: what the rules must survive.
std::vector<Pager::Job> Pager::choose_chaos(Die die) {
  std::vector<Job> jobs;
  const bool small_stays = shared(die);
  Lock lock(pages_);
  const Candidates all = candidates_of(runs_, die, heat_);
  if (all.pages.empty()) return jobs;
  const std::size_t count = 1 + random_() % 4;
  for (std::size_t n = 0; n < count; ++n) {
    const std::size_t index = random_() % all.pages.size();
    const auto& [run, page] = all.pages[index];
    const bool chosen = std::any_of(jobs.begin(), jobs.end(), [&](const Job& job) {
      return job.run == all.pages[index].first && job.page == all.pages[index].second;
    });
    if (all.facts[index].pinned || chosen) continue;
    if (small_stays && !all.facts[index].large) continue;
    Job job;
    job.run = run;
    job.page = page;
    job.cause = Cause::chaos;
    job.keeps = true;
    const Tier away = has_lenders(die) && random_() % 2 ? Tier::peer : Tier::host;
    job.target = may_leave(die) && random_() % 2 ? away : Tier::hbm;
    job.address = run->pages[page].address;
    job.old = run->pages[page].frame;
    jobs.push_back(job);
  }
  for (Job& job : jobs) ++job.run->moving;
  return jobs;
}

// Pages come in as far as HBM is free, and as many leave as those still waiting need: so the first
// batch lives on the headroom, each one makes place for the next, and the last restores it. Once
// there is spare room for all of a turn, one batch does it, and both directions of the link work.
std::vector<Pager::Job> Pager::choose_turn(Die die, const policy::Exchange& exchange) {
  std::vector<Job> jobs;
  Lock lock(pages_);
  std::unordered_map<std::uint64_t, Run*> runs;
  for (const auto& run : runs_)
    if (may_turn(*run, die) && run->moving == 0)
      runs.emplace(static_cast<std::uint64_t>(run->base), run.get());
  const auto add = [&](Run* run, std::size_t page, Tier target) {
    Job job;
    job.run = run;
    job.page = page;
    job.cause = Cause::turn;
    job.keeps = exchange.keeps && !exchange.stripe;
    job.target = target;
    job.address = run->pages[page].address;
    job.old = run->pages[page].frame;
    ++run->moving;
    jobs.push_back(job);
  };
  // Pages of a share, in the tier that they leave, spread evenly.
  const auto each = [&](Run* run, std::uint64_t share_bytes, Tier from, auto take) {
    std::vector<std::size_t> there;
    for (std::size_t i = 0; i < run->pages.size(); ++i)
      if (run->pages[i].frame.tier == from) there.push_back(i);
    const std::size_t wanted = std::min<std::uint64_t>(
        there.size(), share_bytes / run->page_bytes + (share_bytes % run->page_bytes != 0 ? 1 : 0));
    for (std::size_t i = 0; i < there.size(); ++i)
      if ((i + 1) * wanted / there.size() != i * wanted / there.size()) take(there[i]);
  };
  spare_bytes_[slot(die)] = exchange.spare_bytes;
  std::uint64_t free_bytes = frames_.free_hbm(die);
  std::uint64_t waiting_bytes = 0;
  for (const policy::Part& share : exchange.in) {
    const auto found = runs.find(share.id);
    if (found == runs.end()) continue;
    Run* run = found->second;
    runs.erase(found);  // what comes in does not leave, so that an exchange ends
    each(run, share.bytes, Tier::host, [&](std::size_t page) {
      const std::uint64_t bytes = run->pages[page].frame.bytes;
      if (jobs.size() < kSwapPagesMax && bytes <= free_bytes) {
        free_bytes -= bytes;
        add(run, page, Tier::hbm);
      } else {
        waiting_bytes += bytes;
      }
    });
  }
  const std::uint64_t wanted_bytes = waiting_bytes + headroom(die);
  const std::size_t most = jobs.size() + kSwapPagesMax;
  for (const policy::Part& share : exchange.out) {
    const auto found = runs.find(share.id);
    if (found == runs.end()) continue;
    Run* run = found->second;
    each(run, share.bytes, Tier::hbm, [&](std::size_t page) {
      if (free_bytes >= wanted_bytes || jobs.size() == most) return;
      free_bytes += run->pages[page].frame.bytes;
      add(run, page, Tier::host);
    });
  }
  return jobs;
}

std::vector<Pager::Job> Pager::choose_pin(Run* run, std::uint64_t batch_bytes) {
  std::vector<Job> jobs;
  std::uint64_t bytes = 0;
  auto capable = verbs_.rdma_capable(run->home);
  const bool wants_fresh = capable && *capable;
  Lock lock(pages_);
  for (std::size_t i = 0; i < run->pages.size() && bytes < batch_bytes && jobs.size() < kJobsMax;
       ++i) {
    const Frame& frame = run->pages[i].frame;
    if (frame.tier == Tier::hbm && (frame.rdma_capable || !wants_fresh)) continue;
    Job job;
    job.run = run;
    job.page = i;
    job.cause = Cause::pin;
    job.target = Tier::hbm;
    job.address = run->pages[i].address;
    job.old = frame;
    ++run->moving;
    bytes += frame.bytes;
    jobs.push_back(job);
  }
  return jobs;
}

// Frames for the jobs; those that get none are left out, and their pages stay.
void Pager::reserve(std::vector<Job>& jobs) {
  for (Job& job : jobs) {
    const Die home = job.run->home;
    const std::uint64_t bytes = job.old.bytes;
    Result<Frame> frame = Error{Fault::out_of_memory};
    if (job.on) {
      // There or nowhere.
      frame = take_on(home, *job.on, bytes);
      if (!frame) continue;
    } else if (job.target == Tier::peer) {
      frame = take_peer(home, bytes);
      // What is on the host already has nothing to gain there.
      if (!frame && job.old.tier == Tier::host) continue;
      if (!frame) job.target = Tier::host;
    }
    if (take_copy(job)) {
      job.reserved = true;
      continue;
    }
    if (job.target == Tier::host) frame = take_host(home, bytes);
    else if (job.target == Tier::hbm && !job.on)
      frame = job.cause == Cause::pin ? frames_.take_rdma(home, bytes)
                                      : frames_.take_hbm(home, bytes, 0);
    if (!frame) continue;
    job.fresh = *frame;
    job.reserved = true;
  }
  Lock lock(pages_);
  std::erase_if(jobs, [](const Job& job) {
    if (!job.reserved) --job.run->moving;
    return !job.reserved;
  });
}

}  // namespace barswap::pager

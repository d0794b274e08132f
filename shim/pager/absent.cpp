// Absent pages (paging.overlap = "reach"). What a turn beside running work sends to the host is
// named again only after most of a cycle, and usually comes in first. So it stays mapped to nothing
// instead of to its copy on the host, whose page-table entries of 4 KiB take the driver nearly as
// long as the link needs for the page. Work that names an absent range, or cannot say what it
// names, has it mapped before it is submitted: that disturbs nobody, since nobody could use it.
//
// That holds for work which says what it touches; a kernel that follows a pointer into an absent
// range faults, loudly, as it does behind the veil of `barswap verify`.
#include <algorithm>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "pager/job.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"

namespace barswap::pager {

// The page has its frame on the host from now on, and no mapping. False: it is to be mapped at
// once. That is so where much of what left was named before it came in, since mapping late is
// waited for (what leaves for its copy is counted in any case: after enough of it another try is
// worth its risk), and where nothing is kept for the driver's page tables.
bool Pager::leave_absent(Job& job) {
  constexpr std::uint64_t kRecentBytes = 64_GiB, kCreditBytes = 4_GiB;
  left_bytes_ += job.old.bytes;
  if (left_bytes_ >= kRecentBytes) {
    left_bytes_ /= 2;
    missed_bytes_ /= 2;
  }
  const Frame& ballast = ballast_[static_cast<std::size_t>(index_of(job.run->home))];
  if (4 * missed_bytes_ > left_bytes_ + kCreditBytes || ballast.handle == driver::Handle::none)
    return false;
  job.open = false;
  job.moved = true;
  Page& page = job.run->pages[job.page];
  page.hidden = true;
  page.printed = job.copy == Job::Copy::same;
  if (page.printed) page.print = job.print;
  flights_.make_absent(job.run->base);
  return true;
}

// The driver needs room for page tables, and everything that is ours to give is given before the
// process stops. False: a context is lost.
bool Pager::lay(Run& run, std::size_t page) {
  constexpr int kTries = 5;
  constexpr std::uint64_t kRestNs = 2'000'000;
  Page& absent = run.pages[page];
  if (!absent.hidden) return true;
  Job job;
  job.run = &run;
  job.page = page;
  job.address = absent.address;
  bool laid = put(job, absent.frame);
  for (int i = 0; !laid && i < kTries && !context_lost_.load(std::memory_order_relaxed); ++i) {
    give_up_ballast(run.home);
    (void)verbs_.trim_default_pool(run.home);
    (void)frames_.release_prepared();
    sleep_ns(kRestNs << i);
    laid = put(job, absent.frame);
  }
  if (!laid && !put_one_of(job, absent.frame, absent.frame)) return false;
  absent.hidden = false;
  return true;
}

void Pager::note_presence(const Run& run) {
  if (std::none_of(run.pages.begin(), run.pages.end(),
                   [](const Page& page) { return page.hidden; }))
    flights_.make_present(run.base);
}

void Pager::lay_absent(const Names& names) {
  const std::vector<Address> bases = flights_.absent_of(names);
  // Nobody may wait for a mark that nothing stands behind.
  for (const Address base : names.bases())
    if (std::find(bases.begin(), bases.end(), base) == bases.end()) flights_.make_present(base);
  if (bases.empty()) return;
  const driver::RelaxedCapture relaxed(verbs_);
  // Marked as moving, so that nobody buries them meanwhile.
  std::vector<Run*> runs;
  {
    Lock lock(pages_);
    for (const auto& run : runs_) {
      if (std::find(bases.begin(), bases.end(), run->base) == bases.end()) continue;
      ++run->moving;
      runs.push_back(run.get());
    }
  }
  std::uint64_t bytes = 0;
  for (Run* run : runs) {
    for (std::size_t i = 0; i < run->pages.size(); ++i) {
      if (!run->pages[i].hidden || !lay(*run, i)) continue;
      bytes += run->pages[i].frame.bytes;
    }
  }
  missed_bytes_ += bytes;
  BARSWAP_LOG(debug, "pager",
              "%llu MiB are named before they come in, and are mapped where they are",
              static_cast<unsigned long long>(bytes / 1_MiB));
  // Whatever could not be mapped: its context is lost, and whoever waits is to be told by the
  // driver.
  for (const Address base : bases) flights_.make_present(base);
  Lock lock(pages_);
  for (Run* run : runs) --run->moving;
}

// Whoever holds the mover for long has mapped everything first (present_all), so that the wait ends
// with the turn in hand.
void Pager::present(const Names& names) {
  constexpr std::uint64_t kRestNs = 20'000;
  const Hurry hurry(*this);
  while (flights_.absent_for(names) || flights_.held(names)) {
    if (!mover_.try_lock()) {
      sleep_ns(kRestNs);
      continue;
    }
    lay_absent(names);
    mover_.unlock();
    return;
  }
}

}  // namespace barswap::pager

// Absent pages (paging.overlap = "reach"). What a turn beside running work sends to the host is named
// again only after most of a cycle, and usually comes in first. So it stays mapped to nothing
// instead of to its copy on the host, whose page-table entries of 4 KiB take the driver nearly as
// long as the link needs for the page. Work that names an absent range, or cannot say what it names,
// has it mapped before it is submitted: that disturbs nobody, since nobody could use it.
//
// That holds for work which says what it touches; a kernel that follows a pointer into an absent
// range faults, loudly, as it does behind the veil of `barswap verify`.
#include <algorithm>

#include "barswap/log.hpp"
#include "pager/job.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"

namespace barswap::pager {

// The page has its frame on the host from now on, and no mapping. False: much of what left so was
// named before it came in, and mapping late is waited for; so it is to be mapped at once. What leaves
// for its copy is counted in any case: after enough of it another try is worth its risk.
bool Pager::leave_absent(Job& job) {
  constexpr std::uint64_t kRecentBytes = 64_GiB, kCreditBytes = 4_GiB;
  left_bytes_ += job.old.bytes;
  if (left_bytes_ >= kRecentBytes) {
    left_bytes_ /= 2;
    missed_bytes_ /= 2;
  }
  if (4 * missed_bytes_ > left_bytes_ + kCreditBytes) return false;
  job.open = false;
  job.moved = true;
  job.run->pages[job.page].hidden = true;
  flights_.make_absent(job.run->base);
  return true;
}

// False: the context is lost, or the driver is out of everything.
bool Pager::lay(Run& run, std::size_t page) {
  Page& absent = run.pages[page];
  if (!absent.hidden) return true;
  Job job;
  job.run = &run;
  job.page = page;
  job.address = absent.address;
  if (context_lost_.load(std::memory_order_relaxed) || !put_one_of(job, absent.frame, absent.frame))
    return false;
  absent.hidden = false;
  return true;
}

void Pager::note_presence(const Run& run) {
  if (std::none_of(run.pages.begin(), run.pages.end(),
                   [](const Page& page) { return page.hidden; }))
    flights_.make_present(run.base);
}

void Pager::lay_absent(const Names& names) {
  const std::vector<Address> bases = flights_.absent(names);
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
  BARSWAP_LOG(debug, "pager", "%llu MiB are named before they come in, and are mapped where they are",
              static_cast<unsigned long long>(bytes / 1_MiB));
  // Whatever could not be mapped: its context is lost, and whoever waits is to be told by the
  // driver.
  for (const Address base : bases) flights_.make_present(base);
  Lock lock(pages_);
  for (Run* run : runs) --run->moving;
}

void Pager::present(const Names& names) {
  const Hurry hurry(*this);
  Lock lock(mover_);
  lay_absent(names);
}

}  // namespace barswap::pager

// Copies: frames on the host that still hold what a page in HBM held when it came in. Such a page,
// if a fingerprint says that nobody wrote to it, leaves without being copied. Copies belong to
// their pages; anybody who needs host memory may drop them.
#include <algorithm>

#include "base/clock.hpp"
#include "pager/job.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"
#include "stats/stats.hpp"

namespace barswap::pager {
namespace {

// Moves in without a copy, after one was kept in vain.
constexpr std::uint8_t kWrittenRest = 8;

}  // namespace

// What leaves for a copy needs no frame of the host.
bool Pager::take_copy(Job& job) {
  Lock lock(pages_);
  Page& page = job.run->pages[job.page];
  if (job.target != Tier::host || page.copy.handle == driver::Handle::none) return false;
  job.fresh = page.copy;
  job.print = page.print;
  job.copy = Job::Copy::kept;
  page.copy = {};
  frames_.copies_changed(-static_cast<std::int64_t>(job.fresh.bytes));
  return true;
}

// While there are too few frames ready for what will leave next, what comes in gives its own back:
// frames on the host are slow to make.
bool Pager::may_keep(const Job& job) const {
  if (!settings_.keep_copies || no_prints_.load(std::memory_order_relaxed) || !job.keeps ||
      !may_move() || job.target != Tier::hbm || job.old.tier != Tier::host)
    return false;
  if (job.cause == Cause::chaos) return true;
  const std::uint64_t target = prepare_target(job.run->home, job.old.bytes);
  return frames_.host_room() && frames_.host_prepared(job.old.bytes) >=
                                    std::min(settings_.prepare_bytes / 4, target / 2);
}

// True: the frame that the page left is its copy now, or the copy that it was to leave for is its
// copy again.
bool Pager::keep_copy(const Job& job) {
  Run& run = *job.run;
  Page& page = run.pages[job.page];
  if (job.copy == Job::Copy::changed && (job.moved || job.held)) page.written = kWrittenRest;
  const bool back = !job.moved && (job.copy == Job::Copy::kept || job.copy == Job::Copy::same);
  const bool gained = job.moved && job.printed;
  if (job.lost || !run.live || run.pinned || run.pinning || (!back && !gained)) return false;
  if (gained && page.written > 0 && job.cause != Cause::chaos) {
    --page.written;
    return false;
  }
  page.copy = back ? job.fresh : job.old;
  page.print = job.print;
  frames_.copies_changed(static_cast<std::int64_t>(page.copy.bytes));
  return true;
}

// At most as many as free `bytes`.
void Pager::take_copies(Run& run, std::uint64_t& bytes, std::vector<Frame>& taken) {
  for (Page& page : run.pages) {
    if (bytes == 0) return;
    if (page.copy.handle == driver::Handle::none) continue;
    bytes -= std::min(bytes, page.copy.bytes);
    frames_.copies_changed(-static_cast<std::int64_t>(page.copy.bytes));
    taken.push_back(page.copy);
    page.copy = {};
  }
}

bool Pager::drop_copies(std::uint64_t bytes) {
  std::vector<Frame> taken;
  {
    Lock lock(pages_);
    for (const auto& run : runs_) take_copies(*run, bytes, taken);
  }
  give_back_all(taken);
  return !taken.empty();
}

void Pager::give_back_all(std::span<const Frame> frames) {
  if (frames.empty()) return;
  const driver::RelaxedCapture relaxed(verbs_);
  for (const Frame& frame : frames) frames_.give_back(frame);
}

void Pager::drop_copies(Run* run) {
  std::vector<Frame> taken;
  {
    Lock lock(pages_);
    std::uint64_t bytes = kAllCopies;
    take_copies(*run, bytes, taken);
  }
  give_back_all(taken);
}

bool Pager::ready_for_copies() {
  if (!settings_.keep_copies || no_prints_.load(std::memory_order_relaxed) ||
      !worker_.running())
    return true;
  turned_ns_.store(now_ns(), std::memory_order_relaxed);
  Stock none = Stock::none;
  if (stock_.compare_exchange_strong(none, Stock::wanted)) worker_.ring();
  return stock_.load(std::memory_order_relaxed) == Stock::full;
}

bool Pager::turning() const {
  Lock lock(pages_);
  return std::any_of(dies_.begin(), dies_.end(),
                     [&](Die die) BARSWAP_REQUIRES(pages_) { return turns_taken(die); });
}

// Pages of a size that could take turns, in HBM and without a copy.
std::uint64_t Pager::copies_missing(std::uint64_t page_bytes) const {
  std::uint64_t sum = 0;
  Lock lock(pages_);
  for (const auto& run : runs_) {
    if (!run->live || run->kind != RunKind::large || run->page_bytes != page_bytes) continue;
    for (const Page& page : run->pages)
      if (page.frame.tier == Tier::hbm && page.copy.handle == driver::Handle::none)
        sum += page.frame.bytes;
  }
  return sum;
}

// When the machine runs short of memory; and some time after turns have ended, since phases of a
// program alternate.
void Pager::drop_needless_copies() {
  constexpr std::uint64_t kRestNs = 10'000'000'000;
  const bool turns =
      may_move() && now_ns() - turned_ns_.load(std::memory_order_relaxed) < kRestNs &&
      std::any_of(dies_.begin(), dies_.end(), [&](Die die) { return pressed(die); });
  if (!turns) stock_.store(Stock::none, std::memory_order_relaxed);
  if (frames_.host_copies() == 0) return;
  const std::uint64_t limit = frames_.host_limit(), held = frames_.host_bytes();
  if (!turns) (void)drop_copies(kAllCopies);
  else if (held > limit) (void)drop_copies(held - limit);
}

Result<Frame> Pager::take_host(Die near, std::uint64_t bytes) {
  for (;;) {
    auto frame = frames_.take_host(near, bytes);
    if (frame) return frame;
    // More than that if the machine has become shorter of memory since.
    const std::uint64_t held = frames_.host_bytes() + bytes;
    if (!drop_copies(std::max(bytes, held - std::min(held, frames_.host_limit())))) return frame;
  }
}

// Queues the question for every page that would leave for its copy; on the stream of the copies
// out, so that what comes in does not wait for it.
bool Pager::ask_copies(std::span<Job> jobs, const ContextEntry& entry) {
  bool asked = false;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    Job& job = jobs[i];
    if (job.copy != Job::Copy::kept) continue;
    job.copy = Job::Copy::changed;
    if (i >= Fingerprints::kMost ||
        !fingerprints_.submit(entry.context, entry.out_copier, i, job.address, job.old.bytes))
      continue;
    job.copy = Job::Copy::asked;
    asked = true;
  }
  return asked;
}

void Pager::hear_copies(std::span<Job> jobs, const ContextEntry& entry) {
  for (std::size_t i = 0; i < jobs.size(); ++i)
    if (jobs[i].copy == Job::Copy::asked)
      jobs[i].copy = fingerprints_.answer(entry.context, i) == jobs[i].print ? Job::Copy::same
                                                                             : Job::Copy::changed;
}

// What came in is read once more while the gate is still closed, beside the copies that still run.
void Pager::print_arrival(Job& job, std::size_t index, const ContextEntry& entry) {
  if (!job.moved || index >= Fingerprints::kMost || !may_keep(job)) return;
  job.printed = static_cast<bool>(
      fingerprints_.submit(entry.context, entry.out_copier, index, job.address, job.old.bytes));
}

// Without an answer no copy is kept.
void Pager::hear_arrivals(std::span<Job> jobs, const ContextEntry& entry, std::uint64_t limit_ns) {
  if (std::none_of(jobs.begin(), jobs.end(), [](const Job& job) { return job.printed; })) return;
  const bool ended =
      mark_end(entry.printed, entry.out_copier) && wait_for(entry.printed, limit_ns);
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (!jobs[i].printed) continue;
    jobs[i].printed = ended;
    if (ended) jobs[i].print = fingerprints_.answer(entry.context, i);
  }
}

// The kernel is loaded while all is idle and with an open gate: the driver opens its compiler for
// it, and a thread that holds the loader's lock may be at the gate.
void Pager::prepare_prints(std::span<const Job> jobs, const ContextEntry& entry) {
  if (fingerprints_.known(entry.context) ||
      std::none_of(jobs.begin(), jobs.end(), [&](const Job& job) { return may_keep(job); }) ||
      !idle_now())
    return;
  lay_absent(Names());
  if (!fingerprints_.prepare(entry.context)) no_prints_.store(true, std::memory_order_relaxed);
}

void Pager::context_gone(driver::Context context) {
  contexts_.forget(context);
  fingerprints_.forget(context);
  const driver::RelaxedCapture relaxed(verbs_);
  detours_.forget(context);
}

}  // namespace barswap::pager

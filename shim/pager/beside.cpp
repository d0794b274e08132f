// Turns beside running work (paging.overlap = "reach"): pages of ranges that nothing submitted
// names change places while other work goes on. The order of every batch is
//   frames taken, fresh ones mapped at aliases, but for absent pages -> ranges held, so that work
//   that names them waits
//   -> gate closed for an instant: a proof of all that was submitted before is recorded
//   -> what comes in, once the last work that named it is done: page unmapped, its host frame
//   copied from an alias that can only be read; absent pages get their aliases between the copies
//   -> what leaves, once the last work that named it is done: page unmapped, its bytes compared
//   with its copy; the same: it is left mapped to nothing (absent.cpp); written to, or without a
//   copy: its bytes are copied between two aliases
//   -> what came in, as soon as its copy has ended: prints taken, alias unmapped, fresh frame
//   mapped
//   -> what was copied out is left mapped to nothing, too
//   -> holds let go.
// A page is mapped to nothing from before its copy or comparison to their end, and one that left
// until work names its range. A kernel that reaches it through a pointer that its parameters do not
// name faults there, loudly; no byte of its is lost in silence. Until the first unmap all can be
// given up, and every wait is bounded: what is waited for may itself wait for a thread that a hold
// keeps waiting.
#include <sched.h>

#include <algorithm>
#include <iterator>
#include <span>
#include <vector>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "pager/gate.hpp"
#include "pager/job.hpp"
#include "pager/steps.hpp"
#include "stats/stats.hpp"

namespace barswap::pager {
namespace {

constexpr std::uint64_t kCopyNs = 20'000'000'000;  // our own copies are finite; this is a lost link
// Our kernels are short, but may stand behind long ones.
constexpr std::uint64_t kPrintNs = 2'000'000'000;

}  // namespace

// Where several dies work, or host functions do, an instant of rest is needed for any change.
bool Pager::may_move_beside(Die die) {
  if (must_not_wait(contexts_.all()) || shared(die)) return false;
  flights_.start();
  return true;
}

bool Pager::move_beside(std::vector<Job>& jobs, Steps& steps) {
  const auto entry = contexts_.on(jobs.front().run->home);
  const driver::RelaxedCapture relaxed(verbs_);
  if (entry) {
    const driver::Entered entered(verbs_, entry->context);
    const bool known = std::any_of(jobs.begin(), jobs.end(), [&](const Job& job) {
      return flights_.knows(job.run->base);
    });
    const bool staged = known && entered.ok() && fingerprints_.usable(entry->context) &&
                        stage(jobs, true);
    steps.done("staged");
    // Without ballast the driver's tables might find no room while pages are mapped to nothing.
    const Frame& ballast = ballast_[index_of(entry->die)];
    if (staged && ballast.handle != driver::Handle::none && hold(jobs)) {
      std::vector<Job*> coming;
      for (Job& job : jobs)
        if (job.held && job.target == Tier::hbm) coming.push_back(&job);
      std::vector<Group> groups;
      steps.done("held");
      const bool tested = !brings_absent(jobs);
      send_in(coming, jobs, *entry, groups, steps);
      const bool maps = tested || std::any_of(coming.begin(), coming.end(),
                                              [](const Job* job) { return job->staged; });
      // False: nothing is on its way out, or nobody will see its end.
      const bool marked = maps && let_out(jobs, *entry, steps);
      land(jobs, *entry, groups, marked, steps);
      settle_out(jobs, *entry, marked, steps);
      for (const Job& job : jobs)
        if (job.held) note_presence(*job.run);
      flights_.let_go();
    }
  }
  std::uint64_t moved_bytes = 0, in_bytes = 0;
  for (const Job& job : jobs) {
    if (!job.moved) continue;
    moved_bytes += job.old.bytes;
    if (job.target == Tier::hbm) in_bytes += job.old.bytes;
  }
  stats::add(stats::live().beside_bytes, in_bytes);
  finish(jobs);
  steps.done("finished");
  BARSWAP_LOG(debug, "pager", "turn: %llu MiB moved beside running work; us: %s",
              static_cast<unsigned long long>(moved_bytes / 1_MiB), steps.text().c_str());
  return moved_bytes > 0;
}

bool Pager::brings_absent(std::span<const Job> jobs) {
  return std::any_of(jobs.begin(), jobs.end(),
                     [](const Job& job) { return job.run->pages[job.page].hidden; });
}

// Who can take part: what comes in from an alias of its own, and what leaves.
bool Pager::takes_part(Job& job, std::size_t index) {
  if (index >= Fingerprints::kMost || !flights_.knows(job.run->base)) return false;
  if (job.target == Tier::host) return job.old.tier == Tier::hbm && job.alias != Address{};
  const bool absent = job.run->pages[job.page].hidden;
  if ((!job.staged && !absent) || job.alias == Address{} || job.old.tier != Tier::host)
    return false;
  const Die home[] = {job.run->home};
  auto source = frames_.alias(job.old, home);
  if (source) job.source = *source;
  return source.has_value();
}

// The proof covers our own streams, too: it comes before the copies.
bool Pager::hold(std::span<Job> jobs) {
  if (strangers()) return false;
  bool any = false;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    jobs[i].held = takes_part(jobs[i], i) && flights_.hold(jobs[i].run->base);
    any = any || jobs[i].held;
  }
  const bool proven = any && prove();
  if (!proven) flights_.let_go();
  return proven;
}

// True: once this proof is ready, what is held is named by nothing in flight. Beside a capture it
// would void that. Somebody may have stopped all moves, or have used the first host callback, since
// this turn was begun; a later one waits until it is over.
bool Pager::prove() {
  auto idle = contexts_.drained();
  if (idle && *idle) flights_.arrived();
  if (!Gate::close(settings_.deadline_ns)) return false;
  const bool recorded = may_move() && !must_not_wait(contexts_.all()) && contexts_.record_drain();
  if (recorded) flights_.depart();
  Gate::open();
  return recorded;
}

// Held ranges are named by nobody new, so that they come to rest with what is in flight. Nothing in
// flight can use a page that is absent.
bool Pager::all_at_rest(std::span<const Job> jobs, Tier target) {
  const std::uint64_t limit_ns = now_ns() + settings_.deadline_ns;
  const auto at_rest = [&] {
    return std::all_of(jobs.begin(), jobs.end(), [&](const Job& job) {
      return !job.held || job.target != target || job.run->pages[job.page].hidden ||
             flights_.at_rest(job.run->base);
    });
  };
  while (!at_rest()) {
    auto idle = contexts_.drained();
    if (!idle && driver::sticky(idle.error())) lose_context();
    if (!idle || now_ns() > limit_ns || closing_.load(std::memory_order_relaxed) ||
        hurried_.load(std::memory_order_relaxed) != 0)
      return false;
    if (*idle) {
      flights_.arrived();
      return at_rest();
    }
    sched_yield();
  }
  return true;
}

// The page is there again, as one of two frames that hold its bytes.
void Pager::close_page(Job& job, const Frame& first, const Frame& second) {
  job.open = false;
  if (context_lost_.load(std::memory_order_relaxed)) return;
  const Frame* put = put_one_of(job, first, second);
  job.moved = put == &job.fresh;
  if (put) job.run->pages[job.page].hidden = false;
}

// From here on the page is mapped to nothing.
bool Pager::open_page(Job& job) {
  if (job.run->pages[job.page].hidden) return job.open = true;
  auto unmapped = verbs_.unmap(job.address, job.old.bytes);
  if (!unmapped && driver::sticky(unmapped.error())) lose_context();
  job.open = static_cast<bool>(unmapped);
  return job.open;
}

// All are unmapped before the first copy is queued: beside a copy an unmap takes more than twice as
// long, and that costs more than a link that begins a little later.
void Pager::send_in(std::vector<Job*>& coming, std::span<const Job> jobs,
                    const ContextEntry& entry, std::vector<Group>& groups, Steps& steps) {
  if (coming.empty() || !all_at_rest(jobs, Tier::hbm)) return;
  steps.done("at rest");
  for (Job* job : coming) (void)open_page(*job);
  steps.done("unmapped");
  constexpr std::size_t kMarks = ContextEntry::kMarks;
  bool marked = true;
  for (std::size_t mark = 0; mark < kMarks && marked; ++mark) {
    const std::size_t first = coming.size() * mark / kMarks;
    const std::size_t count = coming.size() * (mark + 1) / kMarks - first;
    if (count == 0) continue;
    const Group group{std::span(coming).subspan(first, count), entry.marks[0][mark]};
    for (Job* job : group.jobs) {
      // Beside the copies that were queued before it, as long as no other page needs that.
      if (job->open && !job->staged && !map_alias(*job, job->fresh)) job->open = false;
      if (!job->open) continue;
      auto copied = verbs_.copy(job->alias, job->source, job->old.bytes, entry.copier);
      if (!copied && driver::sticky(copied.error())) lose_context();
      job->running = static_cast<bool>(copied);
    }
    marked = mark_end(group.copied, entry.copier);
    if (marked) groups.push_back(group);
  }
  steps.done("queued");
}

// True: copies are on their way out, and their end is marked.
bool Pager::let_out(std::span<Job> jobs, const ContextEntry& entry, Steps& steps) {
  const auto leaves = [](const Job& job) { return job.held && job.target == Tier::host; };
  if (std::none_of(jobs.begin(), jobs.end(), leaves) || !all_at_rest(jobs, Tier::host))
    return false;
  steps.done("leaves at rest");
  bool asked = false;
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    Job& job = jobs[i];
    if (!leaves(job) || !open_page(job)) continue;
    if (job.copy == Job::Copy::kept && map_alias(job, job.old) &&
        fingerprints_.submit(entry.context, entry.out_copier, i, job.alias, job.old.bytes)) {
      job.copy = Job::Copy::asked;
      asked = true;
    }
  }
  steps.done("asked");
  // A print that was queued and not seen to end still reads: its alias stays for good.
  const bool ended = !asked || (mark_end(entry.printed, entry.out_copier) &&
                                wait_for(entry.printed, now_ns() + kPrintNs));
  if (ended) hear_copies(jobs, entry);
  else stop_moving("a kernel of ours did not end in time");
  steps.done("compared");
  bool sent = false;
  for (Job& job : jobs) {
    if (!leaves(job) || !job.open) continue;
    job.running = !ended && job.copy == Job::Copy::asked;
    const bool same = job.copy == Job::Copy::same;
    if (ended && !same && send_out(job, entry)) {
      sent = true;
      continue;
    }
    if (!job.running) drop_alias(job);
    leave(job, same);
  }
  const bool marked = sent && mark_end(entry.marks[1][0], entry.out_copier);
  steps.done("out");
  return marked;
}

// `whole`: its fresh frame has its bytes.
void Pager::leave(Job& job, bool whole) {
  const bool gone = whole && !job.staged && !job.outlet;
  if (!gone || !leave_absent(job)) close_page(job, gone ? job.fresh : job.old, job.old);
}

Address Pager::outlet_of(const Job& job) const { return job.alias + staging_bytes_; }

// True: its bytes are on their way to its fresh frame. What could not be asked for its print may
// have an alias that cannot be read.
bool Pager::send_out(Job& job, const ContextEntry& entry) {
  if (job.copy == Job::Copy::kept || (!job.staged && !map_alias(job, job.old))) return false;
  job.outlet = static_cast<bool>(verbs_.map(outlet_of(job), job.old.bytes, job.fresh.handle));
  const Die home[] = {job.run->home};
  if (!job.outlet || !verbs_.grant(outlet_of(job), job.old.bytes, home)) return false;
  auto copied = verbs_.copy(outlet_of(job), job.alias, job.old.bytes, entry.out_copier);
  if (!copied && driver::sticky(copied.error())) lose_context();
  job.running = static_cast<bool>(copied);
  return job.running;
}

// Until its copy is seen to have ended, a page has both frames.
void Pager::settle_out(std::span<Job> jobs, const ContextEntry& entry, bool marked,
                       Steps& steps) {
  const auto sent = [](const Job& job) {
    return job.open && job.target == Tier::host && job.running && job.outlet;
  };
  if (std::none_of(jobs.begin(), jobs.end(), sent)) return;
  const bool ended = marked && wait_for(entry.marks[1][0], now_ns() + kCopyNs);
  steps.done("copied out");
  for (Job& job : jobs) {
    if (!sent(job)) continue;
    job.running = !ended;
    if (ended) drop_alias(job);
    leave(job, ended);
  }
  if (!ended) stop_moving("a copy of ours did not end in time");
  steps.done("left");
}

void Pager::drop_alias(Job& job) {
  if (job.staged && verbs_.unmap(job.alias, job.old.bytes)) job.staged = false;
  if (job.outlet && verbs_.unmap(outlet_of(job), job.old.bytes)) job.outlet = false;
}

// A copy or a print that is not seen to end keeps its alias and its frames for good.
void Pager::settle(Job& job) {
  if (!job.open) return;
  if (!job.running) drop_alias(job);
  const bool whole = job.landed && !job.staged;
  close_page(job, whole ? job.fresh : job.old, job.old);
}

// The driver works on the tables while the link works on the next pages. Prints are taken at the
// alias, while nobody can write to the page, behind what is on its way out.
void Pager::land(std::span<Job> jobs, const ContextEntry& entry, std::span<const Group> groups,
                 bool marked, Steps& steps) {
  const std::uint64_t limit_ns = now_ns() + kCopyNs;
  bool late = false;
  const auto number_of = [&](const Job* job) {
    return static_cast<std::size_t>(job - jobs.data());
  };
  for (const Group& group : groups) {
    if (late || !wait_for(group.copied, limit_ns)) break;
    std::vector<Job*> printing;
    for (Job* job : group.jobs) {
      if (!job->open || !job->running) continue;
      job->running = false;
      job->landed = true;
      if (!may_keep(*job)) continue;
      // Nobody could write to what was absent.
      const Page& page = job->run->pages[job->page];
      job->printed = page.hidden && page.printed;
      if (job->printed) job->print = page.print;
      else if (fingerprints_.submit(entry.context, entry.out_copier, number_of(job), job->alias,
                                    job->old.bytes))
        printing.push_back(job);
    }
    // Copies wait for no kernel of the program; prints may.
    late = !printing.empty() && !(mark_end(entry.printed, entry.out_copier) &&
                                  (!marked || wait_for(entry.marks[1][0], limit_ns)) &&
                                  wait_for(entry.printed, now_ns() + kPrintNs));
    for (Job* job : printing) {
      job->running = late;
      job->printed = !late;
      if (job->printed) job->print = fingerprints_.answer(entry.context, number_of(job));
    }
    for (Job* job : group.jobs) settle(*job);
  }
  steps.done("landed");
  for (Job& job : jobs) {
    if (job.target != Tier::hbm || !job.open) continue;
    late = late || job.running;
    settle(job);
  }
  if (late) stop_moving("a copy of ours did not end in time");
  steps.done("in");
}

}  // namespace barswap::pager

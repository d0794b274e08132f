// The mover: one bounded batch of moves inside one drain. The order of every batch is
//   frames taken -> fresh frames mapped at aliases -> gate closed -> all contexts idle
//   -> copies on their way; pages that leave for a host copy of theirs are compared with it first,
//   and what was written to gets an alias and a copy after all
//   -> for each page, once its copy has ended: alias unmapped, page unmapped, fresh frame mapped
//   and granted -> gate opened -> old frames back.
// Up to the first unmap it can give up without a trace, and a page whose copy has not ended stays
// where it is. After its unmap, a page is never left without a frame: the fresh frame, the old one,
// the same again with the ballast freed; else the process stops.
#include <sched.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <span>
#include <vector>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "pager/gate.hpp"
#include "pager/job.hpp"
#include "pager/steps.hpp"
#include "stats/stats.hpp"
#include "trace/trace.hpp"

namespace barswap::pager {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

constexpr std::uint64_t kBatchNs = 2'000'000;          // a drain's aim
constexpr std::uint64_t kPatienceMaxNs = 2'000'000'000;  // a drain's end, whatever progress it sees
constexpr std::uint64_t kAtOnceNs = 100'000;  // "idle at this instant", with room for the query
constexpr std::uint64_t kInsideNs = 50'000;            // for entrants that are just leaving
constexpr std::uint64_t kCopyNs = 20'000'000'000;  // our own copies are finite; this is a lost link
constexpr std::uint64_t kBackoffMinNs = 1'000'000, kBackoffMaxNs = 1'000'000'000;
constexpr std::uint64_t kBallastBytes = 128_MiB;

}  // namespace

std::uint64_t Pager::batch_bytes() const {
  return std::max(page_most(),
                  kBatchNs / std::max<std::uint64_t>(cost_ns_per_mib_, 1) * 1_MiB);
}

bool Pager::move_once(Die die, std::uint64_t evict_bytes, Patience patience) {
  if (!may_move_.load(std::memory_order_relaxed) || contexts_.capturing()) return false;
  if (patience == Patience::none && !idle_now()) return false;
  const bool chaos = settings_.chaos && evict_bytes == 0;
  auto jobs = chaos ? choose_chaos(die)
                    : choose(die, batch_bytes(), evict_bytes, Lent::comes_back);
  reserve(jobs);
  if (jobs.empty() && !chaos && frames_.lent(die) > 0) {
    // What it lent cannot move at this time.
    {
      Lock lock(pages_);
      if (wants_back(die)) stuck_bytes_[slot(die)] = frames_.lent(die);
    }
    jobs = choose(die, batch_bytes(), evict_bytes, Lent::stays);
    reserve(jobs);
  }
  if (jobs.empty() && evict_bytes == 0) {
    // Heat will ask again.
    Lock lock(pages_);
    swap_wanted_[slot(die)] = false;
  }
  Steps steps;
  const bool moved = !jobs.empty() && move_batch(jobs, patience, steps);
  update_wish();
  return moved;
}

// A cheap look before anything is prepared; only the drain itself proves.
bool Pager::idle_now() {
  const auto all = contexts_.all();
  if (all.empty()) return false;
  const driver::RelaxedCapture relaxed(verbs_);
  const driver::Entered entered(verbs_, all.front().context);
  if (!entered.ok() || !record_alone()) return false;
  const std::uint64_t limit_ns = now_ns() + kAtOnceNs;
  do {
    auto idle = contexts_.drained();
    if (!idle) return false;
    if (*idle) return true;
  } while (now_ns() < limit_ns);
  return false;
}

// Waits with an open gate until what was submitted so far has ended, so that the drain that follows
// finds a short queue. The thread that waits submits nothing meanwhile.
bool Pager::queue_ends() {
  const auto all = contexts_.all();
  if (all.empty()) return false;
  const driver::Entered entered(verbs_, all.front().context);
  if (!entered.ok() || !record_alone()) return false;
  const std::uint64_t limit_ns = now_ns() + kPatienceMaxNs;
  for (;;) {
    auto idle = contexts_.drained();
    if (idle && *idle) return true;
    if (!idle || now_ns() > limit_ns || closing_.load(std::memory_order_relaxed) ||
        hurried_.load(std::memory_order_relaxed) != 0 || !may_move() || contexts_.capturing())
      return false;
    sched_yield();
  }
}

// Who is inside the gate submits, so the answer would be "busy"; and a proof recorded beside a copy
// from pageable memory has been seen to wait for that copy inside the driver (580.159).
bool Pager::record_alone() {
  if (!Gate::close(0)) return false;
  const bool recorded = static_cast<bool>(contexts_.record_drain());
  Gate::open();
  return recorded;
}

void Pager::poll_quiet() {
  if (!contexts_.poll_quiet()) return;
  if (!mover_.try_lock()) return;
  if (Gate::close(kInsideNs)) {
    contexts_.ask_quiet();
    Gate::open();
  }
  mover_.unlock();
}

// All of one die's runs. Pages that another die lent are moved by the die whose they are.
bool Pager::move_batch(std::vector<Job>& jobs, Patience patience, Steps& steps) {
  const Die die = jobs.front().run->home;
  const auto entry = contexts_.on(die);
  std::uint64_t closed_ns = 0;
  bool moved = false;
  const char* given_up = "no context";
  const driver::RelaxedCapture relaxed(verbs_);
  if (entry) {
    const driver::Entered entered(verbs_, entry->context);
    // In a drain pages are copied from where the program has them.
    bool laid = true;
    for (Job& job : jobs) laid = lay(*job.run, job.page) && laid;
    const bool staged = laid && entered.ok() && stage(jobs, false);
    steps.done("staged");
    if (!staged) given_up = "the driver refused what prepares it";
    const bool ended = staged && (patience != Patience::queue ||
                                  must_not_wait(contexts_.all()) || queue_ends());
    if (staged && !ended) given_up = "what was submitted did not end, or others are waiting";
    if (ended) prepare_prints(jobs, *entry);
    if (ended) prepare_detours(jobs, *entry);
    steps.done("ended");
    const std::uint64_t drain_ns = now_ns();
    if (ended) given_up = "no drain";
    if (ended && drain(patience)) {
      given_up = "a copy or a remap was refused";
      const std::uint64_t start_ns = now_ns();
      steps.done("drained");
      copy_and_remap(jobs, *entry);
      Gate::open();
      steps.done("moved");
      closed_ns = now_ns() - start_ns;
      stats::add(stats::live().drain_ns, closed_ns);
    }
    if (staged && trace::on()) trace::drained(die, drain_ns, now_ns() - drain_ns);
  }
  std::uint64_t moved_bytes = 0, clean_bytes = 0, far_bytes = 0;
  for (const Job& job : jobs) {
    moved_bytes += job.moved ? job.old.bytes : 0;
    far_bytes += job.moved ? job.far_bytes : 0;
    clean_bytes += job.moved && job.copy == Job::Copy::same ? job.old.bytes : 0;
  }
  if (moved_bytes > 0) {
    moved = true;
    const std::uint64_t cost = closed_ns / std::max<std::uint64_t>(moved_bytes / 1_MiB, 1);
    cost_ns_per_mib_ = (3 * cost_ns_per_mib_ + cost) / 4;
  }
  const char* cause = barswap::name_of(jobs.front().cause);
  if (moved_bytes == 0) {
    BARSWAP_LOG(debug, "pager", "%s: given up: %s", cause, given_up);
  } else {
    BARSWAP_LOG(debug, "pager",
                "%s: %llu MiB moved, %llu of them clean and not copied, %llu over links of other"
                " dies, %llu us behind a closed gate",
                cause, static_cast<unsigned long long>(moved_bytes / 1_MiB),
                static_cast<unsigned long long>(clean_bytes / 1_MiB),
                static_cast<unsigned long long>(far_bytes / 1_MiB),
                static_cast<unsigned long long>(closed_ns / 1000));
  }
  if (flights_.any_absent())
    for (const Job& job : jobs) note_presence(*job.run);
  finish(jobs);
  steps.done("finished");
  return moved;
}

// Aliases are mapped before the gate closes: nobody knows these addresses, so it needs no drain.
bool Pager::stage(std::vector<Job>& jobs, bool beside) {
  if (staging_bytes_ == 0) {
    const std::uint64_t bytes = 64 * round_up(settings_.page_bytes, 2_MiB);
    auto reserved = verbs_.reserve(2 * bytes);  // the second half is for outlets
    if (!reserved) return false;
    staging_ = *reserved;
    staging_bytes_ = bytes;
  }
  std::uint64_t offset = 0;
  for (Job& job : jobs) {
    if (offset + job.old.bytes > staging_bytes_) return true;  // the rest waits for another batch
    job.alias = staging_ + offset;
    offset += job.old.bytes;
    // A page that will probably leave for its copy needs no alias; beside running work it gets one
    // once it is unmapped.
    const bool needs = job.copy == Job::Copy::none && (!job.leaves() || !beside);
    // What is absent can still be given up when its copy is queued.
    const bool later = beside && job.run->pages[job.page].hidden;
    if (needs && !later && !map_alias(job, job.fresh)) return false;
  }
  // Whether the driver still maps and grants is to be known before a page is unmapped; where absent
  // pages come in, their aliases tell.
  Job& first = jobs.front();
  if (std::none_of(jobs.begin(), jobs.end(), [](const Job& job) { return job.staged; }) &&
      !(beside && brings_absent(jobs))) {
    if (!map_alias(first, first.fresh) || !verbs_.unmap(first.alias, first.old.bytes)) return false;
    first.staged = false;
  }
  // The driver's own page tables may need HBM in the middle of a batch: this is what we free then.
  const Die die = jobs.front().run->home;
  Frame& ballast = ballast_[slot(die)];
  if (ballast.handle == driver::Handle::none) {
    const std::uint64_t bytes =
        std::min(kBallastBytes, frames_.budget(die) / 32 / 2_MiB * 2_MiB);
    if (bytes > 0) {
      auto frame = frames_.take_hbm(die, bytes, 0);
      if (frame) ballast = *frame;
    }
  }
  return true;
}

bool Pager::map_alias(Job& job, const Frame& frame) {
  if (!verbs_.map(job.alias, job.old.bytes, frame.handle)) return false;
  job.staged = true;
  const Die home[] = {job.run->home};
  // What a page has had is only compared there.
  const bool reads = frame.handle == job.old.handle;
  return static_cast<bool>(reads ? verbs_.grant_reading(job.alias, job.old.bytes, home)
                                 : verbs_.grant(job.alias, job.old.bytes, home));
}

// The error is the program's own: no further driver calls of ours, and its next call will tell it.
void Pager::lose_context() {
  context_lost_.store(true, std::memory_order_relaxed);
  stop_moving("a context of the program has failed");
}

bool Pager::drain_failed(bool timed_out) {
  timed_out_ = timed_out;
  last_failure_ns_ = now_ns();
  backoff_ns_ = std::clamp(2 * backoff_ns_, kBackoffMinNs, kBackoffMaxNs);
  stats::add(stats::live().drains_failed, 1);
  return false;
}

// A die may spin for a launch on another that our closed gate holds, and a host callback may want a
// lock whose holder waits at the gate: then only an instant at which all is idle will do. Where we
// alone submit, a die waits for nothing that its own chain of launches does not hold already.
bool Pager::must_not_wait(std::span<const ContextEntry> all) const {
  const auto home = std::find_if(all.begin(), all.end(),
                                 [](const ContextEntry& entry) { return !entry.ours; });
  return callbacks_.load(std::memory_order_relaxed) ||
         std::any_of(all.begin(), all.end(), [&](const ContextEntry& entry) {
           return !entry.ours && entry.die != home->die;
         });
}

// Work of a context that we never saw would not be in a proof.
bool Pager::strangers() const {
  return std::any_of(dies_.begin(), dies_.end(), [&](Die die) {
    auto active = verbs_.primary_active(die);
    return active && *active && !contexts_.knows_primary(die);
  });
}

// True: the gate is closed and everything submitted has ended.
bool Pager::drain(Patience patience) {
  const auto all = contexts_.all();
  const bool at_once = patience == Patience::none || must_not_wait(all);
  if (!at_once && timed_out_) {
    // If the proof that was given up has turned ready since, the device makes progress and a longer
    // wait is worth it; if not, a kernel that never ends is running.
    auto late = contexts_.drained();
    patience_ns_ =
        late && *late ? std::min(4 * patience_ns_, kPatienceMaxNs) : settings_.deadline_ns;
  }
  if (strangers()) return drain_failed(false);
  if (!Gate::close(at_once ? kInsideNs : settings_.deadline_ns)) return drain_failed(false);
  // Somebody may have found, since the batch was chosen, that work is submitted behind the gate.
  if (!may_move()) {
    Gate::open();
    return false;
  }
  const std::uint64_t start_ns = now_ns();
  // Captures pass the gate, so this count cannot rise while it is closed.
  auto recorded = contexts_.record_drain();
  if (!recorded) {
    Gate::open();
    if (driver::sticky(recorded.error())) lose_context();
    return drain_failed(false);
  }
  const std::uint64_t limit_ns = start_ns + (at_once ? kAtOnceNs : patience_ns_);
  for (;;) {
    auto idle = contexts_.drained();
    if (idle && *idle) break;
    if (!idle || now_ns() > limit_ns) {
      Gate::open();
      stats::add(stats::live().drain_ns, now_ns() - start_ns);
      if (!idle && driver::sticky(idle.error())) lose_context();
      if (idle) stats::event(BARSWAP_EVENT_DRAIN_FAILED, Cause::headroom, all.front().die, 0);
      return drain_failed(idle.has_value());
    }
    sched_yield();
  }
  contexts_.all_quiet();
  timed_out_ = false;
  backoff_ns_ = 0;
  patience_ns_ = settings_.deadline_ns;
  stats::add(stats::live().drains, 1);
  stats::add(stats::live().drain_ns, now_ns() - start_ns);
  return true;
}

// Queues the copies of one direction, with marks that say how far they have come. False: the driver
// refused a copy. `marked`: the end of all that were queued can be seen.
bool Pager::queue_copies(std::vector<Job*>& jobs, std::size_t lane, const ContextEntry& entry,
                         std::vector<Group>& groups, bool& marked) {
  constexpr std::size_t kMarks = ContextEntry::kMarks;
  const driver::Stream stream = lane == 0 ? entry.copier : entry.out_copier;
  const std::vector<Detour*> ways =
      lane == 0 ? detours_.ways(entry, contexts_.all()) : std::vector<Detour*>();
  bool queued = true;
  for (std::size_t mark = 0; mark < kMarks && queued && marked; ++mark) {
    const std::size_t first = jobs.size() * mark / kMarks;
    const std::size_t count = jobs.size() * (mark + 1) / kMarks - first;
    if (count == 0) continue;
    Group group{std::span(jobs).subspan(first, count), entry.marks[lane][mark]};
    for (Job* job : group.jobs) {
      if (!queued) break;
      job->running = true;
      queued = send_over(*job, stream, ways);
    }
    marked = mark_end(group.copied, stream);
    for (const Detour* way : ways) {
      if (!way->running) continue;
      marked = mark_end(way->marks[mark], way->onward) && marked;
      group.far.push_back({way->marks[mark], way->far.printed});
    }
    if (marked) groups.push_back(group);
  }
  return queued && marked;
}

// From the end of the first group to that of the last. What else crosses the link meanwhile only
// makes it look slower, so the best of all batches counts.
void Pager::note_rate(std::span<const Group> in) {
  constexpr std::uint64_t kLeastBytes = 16_MiB, kLeastNs = 10'000;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (!in[i].far.empty()) return;
    for (const Job* job : in[i].jobs) {
      if (job->old.tier != Tier::host) return;
      if (i > 0) bytes += job->old.bytes;
    }
  }
  if (bytes < kLeastBytes) return;
  auto elapsed_ns = verbs_.elapsed_ns(in.front().copied, in.back().copied);
  if (!elapsed_ns || *elapsed_ns < kLeastNs) return;
  const double rate = static_cast<double>(bytes) / static_cast<double>(*elapsed_ns);
  if (rate <= link_bytes_per_ns()) return;
  link_rate_.store(rate, std::memory_order_relaxed);
  BARSWAP_LOG(debug, "pager", "the link brings in %.1f GB/s", rate);
}

// A page from the host comes in equal parts over all links that lead to it.
bool Pager::send_over(Job& job, driver::Stream stream, std::span<Detour* const> ways) {
  constexpr std::uint64_t kPartBytes = 1_MiB;
  std::vector<Detour*> usable;
  if (job.old.tier == Tier::host && job.fresh.tier == Tier::hbm) {
    Lock lock(pages_);
    std::copy_if(ways.begin(), ways.end(), std::back_inserter(usable),
                 [&](const Detour* way) { return job.run->reached_from(way->die); });
  }
  const std::uint64_t bytes = job.old.bytes, links = 1 + usable.size();
  const std::uint64_t part = std::min(bytes, round_up((bytes + links - 1) / links, kPartBytes));
  auto sent = verbs_.copy(job.alias, job.address, part, stream);
  std::uint64_t offset = part;
  for (Detour* way : usable) {
    if (!sent || offset == bytes) break;
    const std::uint64_t next = std::min(part, bytes - offset);
    sent = detours_.send(*way, job.alias + offset, job.address + offset, next);
    offset += next;
  }
  job.far_bytes = bytes - part;
  if (!sent && driver::sticky(sent.error())) lose_context();
  return static_cast<bool>(sent);
}

// The driver makes streams and frames while all is idle and with an open gate, as it loads kernels.
void Pager::prepare_detours(const std::vector<Job>& jobs, const ContextEntry& entry) {
  const bool wanted = std::any_of(jobs.begin(), jobs.end(), [](const Job& job) {
    return job.staged && job.old.tier == Tier::host && job.fresh.tier == Tier::hbm;
  });
  if (!wanted || contexts_.count() == 1) return;
  const auto all = contexts_.all();
  if (detours_.lacks(entry, all) && idle_now()) detours_.prepare(entry, all);
}

bool Pager::mark_end(driver::Event event, driver::Stream stream) {
  auto recorded = verbs_.record(event, stream);
  if (!recorded && driver::sticky(recorded.error())) lose_context();
  return static_cast<bool>(recorded);
}

// Both directions at once; a page is remapped as soon as its copy is seen to have ended, so that
// the driver works on its tables while the link works on the next pages. Pages that leave for a
// copy of theirs are remapped first, beside the copies in.
void Pager::copy_and_remap(std::vector<Job>& jobs, const ContextEntry& entry) {
  const std::uint64_t limit_ns = now_ns() + kCopyNs;
  const bool prints = std::any_of(jobs.begin(), jobs.end(), [&](const Job& job) {
    return job.copy == Job::Copy::kept || may_keep(job);
  });
  const bool printing = prints && fingerprints_.usable(entry.context);
  const bool asked = prints && ask_copies(jobs, entry);
  std::vector<Job*> lanes[2];
  for (Job& job : jobs)
    if (job.staged) lanes[job.leaves() ? 1 : 0].push_back(&job);
  std::vector<Group> in, out;
  detours_.all_ended();  // that is what the drain has shown
  // What is queued and never seen to end keeps its fresh frame and alias for good. Until all copies
  // are on their way nothing has been unmapped, and a refusal costs nothing.
  bool ended = !asked || mark_end(entry.printed, entry.out_copier);
  bool queued = ended && queue_copies(lanes[0], 0, entry, in, ended);
  if (asked && ended) ended = wait_for(entry.printed, limit_ns);
  if (queued && ended) {
    hear_copies(jobs, entry);
    // Written to since it came in, or nobody knows: it is copied like any other page.
    for (Job& job : jobs)
      if (job.copy == Job::Copy::changed && job.alias != Address{} && map_alias(job, job.fresh))
        lanes[1].push_back(&job);
    queued = queue_copies(lanes[1], 1, entry, out, ended);
  }
  queued = queued && ended;
  if (queued)
    for (Job& job : jobs)
      if (job.copy == Job::Copy::same) remap(job);
  std::vector<Group> groups;
  for (std::size_t i = 0; i < std::max(in.size(), out.size()); ++i) {
    if (i < in.size()) groups.push_back(in[i]);
    if (i < out.size()) groups.push_back(out[i]);
  }
  for (const Group& group : groups) {
    if (!has_landed(group, limit_ns)) {
      ended = false;
      break;
    }
    for (Job* job : group.jobs) {
      job->running = false;
      if (queued) remap(*job);
      if (printing) print_arrival(*job, static_cast<std::size_t>(job - jobs.data()), entry);
    }
  }
  if (queued && ended) {
    detours_.all_ended();
    note_rate(in);
  }
  if (!ended) stop_moving("a copy of ours failed; the driver reports a lost context or link");
  if (printing) hear_arrivals(jobs, entry, ended ? limit_ns : 0);
}

// A second stage begins, or never does, when the first one has failed with its context; so that
// is looked at last.
bool Pager::has_landed(const Group& group, std::uint64_t limit_ns) {
  return wait_for(group.copied, limit_ns) &&
         std::all_of(group.far.begin(), group.far.end(),
                     [&](const Group::Far& far) BARSWAP_REQUIRES(mover_) {
                       return wait_for(far.last, limit_ns, far.first);
                     });
}

bool Pager::wait_for(driver::Event copied, std::uint64_t limit_ns, driver::Event watched) {
  for (;;) {
    auto ready = verbs_.ready(copied);
    if (ready && watched != driver::Event::none)
      if (auto lives = verbs_.ready(watched); !lives) ready = lives.error();
    if (!ready && driver::sticky(ready.error())) lose_context();
    if (!ready || now_ns() > limit_ns) return false;
    if (*ready) return true;
    sched_yield();
  }
}

void Pager::remap(Job& job) {
  if (context_lost_.load(std::memory_order_relaxed)) return;
  if (job.staged && !verbs_.unmap(job.alias, job.old.bytes)) return;
  job.staged = false;
  if (auto result = verbs_.unmap(job.address, job.old.bytes); !result) return;
  job.moved = put_one_of(job, job.fresh, job.old) == &job.fresh;
}

// The one of the two that the page has now; none: the context is lost, and so is the page.
const Frame* Pager::put_one_of(const Job& job, const Frame& first, const Frame& second) {
  for (int round = 0; round < 2; ++round) {
    if (put(job, first)) return &first;
    if (context_lost_.load(std::memory_order_relaxed)) return nullptr;
    if (put(job, second)) return &second;
    give_up_ballast(job.run->home);
  }
  BARSWAP_LOG(error, "pager",
              "the driver maps neither the new nor the old frame of a page; stopping "
              "before bytes are wrong. Cure: a larger vram.reserve");
  std::abort();
}

std::vector<Die> Pager::reachers(const Run& run) const {
  Lock lock(pages_);
  return run.reachers();
}

bool Pager::put(const Job& job, const Frame& frame) {
  auto mapped = verbs_.map(job.address, frame.bytes, frame.handle);
  if (mapped) {
    auto granted = verbs_.grant(job.address, frame.bytes, reachers(*job.run));
    if (granted) return true;
    (void)verbs_.unmap(job.address, frame.bytes);
    mapped = granted.error();
  }
  if (driver::sticky(mapped.error())) lose_context();
  return false;
}

void Pager::give_up_ballast(Die die) {
  Frame& ballast = ballast_[slot(die)];
  if (ballast.handle != driver::Handle::none) frames_.destroy(ballast);
  ballast = {};
  (void)frames_.release_warm(die);
}

void Pager::finish(std::vector<Job>& jobs) {
  barswap_stats& live = stats::live();
  bool moved = false;
  for (Job& job : jobs) {
    moved = moved || job.moved;
    if (!job.running) drop_alias(job);
    job.lost = job.running || job.staged || job.outlet;
    const Frame spare = job.moved ? job.old : job.fresh;
    bool kept = false;
    {
      Lock lock(pages_);
      Run& run = *job.run;
      if (job.moved) {
        if (run.live) count_page(run, job.old, false);
        run.pages[job.page].frame = job.fresh;
        places_.note(job.address, job.fresh);
        if (run.live) count_page(run, job.fresh, true);
        trace::moved(run.home, run.order, job.page, job.old.tier, job.fresh.tier, job.cause);
      }
      kept = keep_copy(job);
    }
    if (job.moved) {
      const bool out = job.leaves();
      barswap_cause_stats& cause = live.causes[static_cast<std::size_t>(job.cause)];
      stats::add(out ? cause.pages_out : cause.pages_in, 1);
      if (job.copy == Job::Copy::same) stats::add(live.clean_bytes, job.old.bytes);
      else stats::add(out ? cause.bytes_out : cause.bytes_in, job.old.bytes);
      stats::event(out ? BARSWAP_EVENT_MOVE_OUT : BARSWAP_EVENT_MOVE_IN, job.cause, job.run->home,
                   job.old.bytes);
      const auto bytes = static_cast<std::int64_t>(job.old.bytes);
      const std::int64_t host = (job.fresh.tier == Tier::host ? bytes : 0) -
                                (job.old.tier == Tier::host ? bytes : 0);
      for (const Die die : reachers(*job.run)) frames_.host_mapped(die, host);
    }
    if (!job.lost && !kept) frames_.give_back(spare);
    // Last of all: from here on the run may be buried by another thread.
    Lock lock(pages_);
    --job.run->moving;
  }
  if (moved) changes_.fetch_add(1, std::memory_order_relaxed);
}

}  // namespace barswap::pager

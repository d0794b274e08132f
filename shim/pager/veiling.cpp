// The pages behind the veil (`barswap verify`): before each piece of work the large ranges that it
// does not name are mapped to nothing, and those that it names are mapped again, to the frames that
// they had all along. Nothing moves in such a process. What is hidden is hidden with all before it
// ended, and shown at any time: a page that was mapped to nothing is in nobody's way.
#include <sched.h>

#include <algorithm>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "pager/gate.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"

namespace barswap::pager {
namespace {

// Work that waits for work that was not submitted yet never ends before it. After such a wait the
// next are short, and longer again with each that was not in vain.
constexpr std::uint64_t kEndMostNs = 5'000'000'000, kEndLeastNs = 50'000'000;
constexpr std::uint64_t kDumpNs = 600'000'000'000;  // the driver writes at some 20 MB/s
constexpr std::uint64_t kLookNs = 50'000'000;

}  // namespace

// Others submit nothing meanwhile: they wait to be admitted.
Pager::Ended Pager::all_ended(const Veil& veil) {
  const auto all = contexts_.all();
  if (all.empty()) return Ended::yes;
  if (strangers()) return Ended::no;
  const driver::Entered entered(verbs_, all.front().context);
  if (!entered.ok()) return veil.dumped() ? Ended::fault : Ended::no;
  if (!Gate::close(settings_.deadline_ns)) return Ended::no;
  auto recorded = contexts_.record_drain();
  Gate::open();
  const std::uint64_t start_ns = now_ns();
  std::uint64_t look_ns = start_ns;
  bool dumping = false;
  while (recorded) {
    auto idle = contexts_.drained();
    if (!idle) {
      recorded = idle.error();
      break;
    }
    // A kernel that faulted counts as ended once its dump is written, and its error may come later.
    if (*idle) {
      veil_ns_ = std::min(2 * veil_ns_, kEndMostNs);
      return veil.dumped() ? Ended::fault : Ended::yes;
    }
    const std::uint64_t ns = now_ns();
    const bool late = ns - start_ns > (dumping ? kDumpNs : veil_ns_);
    if (!dumping && (late || ns - look_ns > kLookNs)) {
      look_ns = ns;
      dumping = veil.dumped();
      if (dumping) continue;
    }
    if (late) {
      veil_ns_ = kEndLeastNs;
      return dumping ? Ended::fault : Ended::no;
    }
    sched_yield();
  }
  return driver::sticky(recorded.error()) || veil.dumped() ? Ended::fault : Ended::no;
}

// Under Rank::mover alone pages are hidden and shown.
bool Pager::hide(Run& run) {
  bool hidden = false;
  for (Page& page : run.pages) {
    if (!page.hidden) page.hidden = static_cast<bool>(verbs_.unmap(page.address, page.frame.bytes));
    hidden = hidden || page.hidden;
  }
  return hidden;
}

bool Pager::show(Run& run) {
  bool whole = true;
  const std::vector<Die> dies = reachers(run);
  for (Page& page : run.pages) {
    if (!page.hidden) continue;
    auto mapped = verbs_.map(page.address, page.frame.bytes, page.frame.handle);
    if (mapped) {
      mapped = verbs_.grant(page.address, page.frame.bytes, dies);
      // Where that is refused too the page stays mapped, without access.
      if (!mapped && !verbs_.unmap(page.address, page.frame.bytes)) page.hidden = false;
    }
    if (mapped) page.hidden = false;
    whole = whole && mapped;
  }
  return whole;
}

// Marked as moving, so that nobody buries or parks them meanwhile.
std::vector<Run*> Pager::hold_large() {
  std::vector<Run*> runs;
  Lock lock(pages_);
  for (const auto& run : runs_) {
    if (run->kind != RunKind::large || run->moving != 0) continue;
    if (runs.size() == BARSWAP_VERIFY_RANGES) break;
    ++run->moving;
    runs.push_back(run.get());
  }
  return runs;
}

void Pager::let_go(const std::vector<Run*>& runs) {
  Lock lock(pages_);
  for (Run* run : runs) --run->moving;
}

bool Pager::show_all() {
  const driver::RelaxedCapture relaxed(verbs_);
  const std::vector<Run*> runs = hold_large();
  bool whole = true;
  for (Run* run : runs) whole = show(*run) && whole;
  let_go(runs);
  return whole;
}

void Pager::end_veil(Veil& veil, barswap_verify_state state, const char* why) {
  (void)show_all();
  veil.stop(state, why);
}

void Pager::lift_veil(const char* why) {
  Veil* veil = Veil::current();
  if (!veil) return;
  const Hurry hurry(*this);
  Lock lock(mover_);
  end_veil(*veil, BARSWAP_VERIFY_GAVE_UP, why);
}

// What was submitted last is counted once its end is known.
void Pager::count_last(barswap_verify& record, Ended ended) {
  if (last_ == Last::none) return;
  if (ended != Ended::yes) ++record.waited;
  else ++(last_ == Last::open ? record.open : record.checked);
  last_ = Last::none;
}

void Pager::last_look(Veil& veil) {
  const Hurry hurry(*this);
  Lock lock(mover_);
  const Ended ended = contexts_.capturing() ? Ended::no : all_ended(veil);
  if (ended != Ended::fault) count_last(veil.record(), ended);
  end_veil(veil, ended == Ended::fault ? BARSWAP_VERIFY_FAULT : BARSWAP_VERIFY_ENDED, "");
}

void Pager::show_only(Veil& veil, const Names& names, const Work& work) {
  const Hurry hurry(*this);
  Lock lock(mover_);
  if (Veil::current() != &veil) return;
  barswap_verify& record = veil.record();
  const bool captured = contexts_.capturing();
  const Ended ended = captured ? Ended::no : all_ended(veil);
  if (ended == Ended::fault) {
    // What is described is what faulted.
    end_veil(veil, BARSWAP_VERIFY_FAULT, "");
    return;
  }
  const bool everything = names.everything() || ended == Ended::no;
  if (!captured) count_last(record, ended);
  if (captured) ++record.captured;
  else if (ended == Ended::no) ++record.waited;
  else last_ = everything ? Last::open : Last::checked;
  const driver::RelaxedCapture relaxed(verbs_);
  const std::vector<Run*> runs = hold_large();
  const auto named = [&](const Run& run) {
    const auto bases = names.bases();
    return everything || run.pinned ||
           std::find(bases.begin(), bases.end(), run.base) != bases.end();
  };
  bool whole = true;
  std::uint32_t count = 0;
  for (Run* run : runs) {
    bool hidden = false;
    if (named(*run)) whole = show(*run) && whole;
    else hidden = hide(*run);
    // Of what was not seen to end a fault may still come, and of what finds everything none of
    // ours.
    if (ended != Ended::yes) continue;
    record.ranges[count++] = {value_of(run->base), run->bytes, run->page_bytes, run->order,
                              hidden ? std::uint64_t{1} : 0};
  }
  let_go(runs);
  if (ended == Ended::yes) {
    record.range_count = count;
    veil.describe(work, everything);
  }
  if (!whole) end_veil(veil, BARSWAP_VERIFY_GAVE_UP, "the driver does not map a page again");
}

}  // namespace barswap::pager

#include "workload.hpp"

#include <algorithm>
#include <limits>
#include <unordered_map>

#include "barswap/units.hpp"
#include "policy/recall.hpp"
#include "scale.hpp"

namespace barswap::replay {
namespace {

constexpr std::uint8_t kPeer = 1;
constexpr std::uint64_t kLaunchNs = 2'000;  // the least that a launch takes on the die
// A wait that was over sooner met a die that had ended before, so it says nothing about the work.
constexpr std::uint64_t kWaitedNs = 20'000;

// What is known of one launch while the trace is read.
struct Seen {
  std::size_t step = 0;
  std::uint64_t instance = 0;
  std::uint64_t submit_ns = 0;
  std::uint64_t link_ns = 0;   // to read in place, once, what lay on the host
  std::uint64_t local_ns = 0;  // to read all of its reach in HBM
  std::uint64_t device_ns =
      0;               // as timed, by itself or on the average of its instance; or shared out
  bool timed = false;  // by itself
};

// The same for the same function, grid and ranges.
std::uint64_t instance_of(const Record& record) {
  std::uint64_t instance = policy::scatter(record.as<barswap_trace_launch>().variant);
  for (const std::uint32_t word : record.ranges()) instance = policy::scatter(instance ^ word);
  return instance;
}

// All launches of one instance.
struct Fit {
  std::uint64_t launches = 0;
  std::uint64_t device_ns = 0, link_ns = 0;  // sums
};

class Maker {
 public:
  Maker(const Trace& trace, const Rates& rates) : trace_(trace), rates_(rates) {}
  Workload make();

 private:
  void take(const Record& record);
  void run(const Record& record);
  void run_end(std::uint64_t number);
  void launch(const Record& record);
  void copy(const Record& record);
  void memset(const Record& record);
  void wait(const Record& record);
  Step& add(Step::Kind kind, const barswap_trace_record& head);
  void add_uses(Step& step, const std::vector<std::uint32_t>& words);
  void note(const Step& step, std::size_t index, std::uint64_t instance, std::uint64_t submit_ns);
  void apportion(std::uint64_t until_ns);
  void find_timed();
  void fit();

  const Trace& trace_;
  const Rates rates_;
  Workload out_;
  std::unordered_map<std::uint64_t, std::uint32_t> runs_;    // by number, while they live
  std::unordered_map<std::uint32_t, std::uint64_t> ranges_;  // to the number of their run
  std::vector<std::uint64_t> host_bytes_;                    // of each run, as recorded
  std::vector<std::vector<std::uint8_t>> tiers_;
  std::vector<Seen> seen_;
  std::unordered_map<std::uint64_t, std::uint64_t> times_;  // by launch, counted from 0
  std::unordered_map<std::uint64_t, Fit> timed_;            // by instance
  std::vector<std::size_t> segment_;                        // of seen_, since the last wait
  std::uint64_t host_ns_ = 0;     // until when the program's time is accounted for
  std::uint64_t device_ns_ = 0;   // when the die was last known to be idle
  std::uint64_t drained_ns_ = 0;  // closed gates since then, no time of the program's
  std::uint64_t segment_drained_ns_ = 0;
  bool worked_ = false;  // something was submitted since the last wait
};

Step& Maker::add(Step::Kind kind, const barswap_trace_record& head) {
  Step step;
  step.kind = kind;
  step.die = head.die < kDiesMax ? head.die : -1;
  step.stream = head.stream;
  const std::uint64_t gap_ns = head.time_ns - std::min(head.time_ns, host_ns_);
  const std::uint64_t closed_ns = std::min(gap_ns, drained_ns_);
  step.think_ns = gap_ns - closed_ns;
  drained_ns_ -= closed_ns;
  host_ns_ = std::max(host_ns_, head.time_ns);
  if (kind == Step::Kind::work || kind == Step::Kind::copy_in || kind == Step::Kind::copy_out)
    worked_ = true;
  out_.dies = std::max(out_.dies, step.die + 1);
  out_.steps.push_back(step);
  return out_.steps.back();
}

void Maker::run(const Record& record) {
  const auto facts = record.as<barswap_trace_run>();
  RunInfo info;
  info.die = facts.head.die;
  info.kind = facts.kind;
  info.place = facts.place;
  info.bytes = facts.bytes;
  info.page_bytes = std::max<std::uint64_t>(facts.page_bytes, 1);
  info.born_tiers = record.tiers();
  if (info.pages() == 0 || info.die >= kDiesMax) return;  // broken: not of our writer
  run_end(facts.run);
  std::uint64_t host_bytes = 0;
  for (std::uint32_t i = 0; i < info.pages(); ++i) {
    if (info.born_tiers[i] != 0) host_bytes += info.bytes_of_page(i);
    if (info.born_tiers[i] == kPeer) ++out_.on_peers;
  }
  Step& step = add(Step::Kind::birth, facts.head);
  tiers_.push_back(info.born_tiers);
  host_bytes_.push_back(host_bytes);
  step.run = out_.add_run(std::move(info));
  runs_[facts.run] = step.run;
}

void Maker::run_end(std::uint64_t number) {
  const auto found = runs_.find(number);
  if (found == runs_.end()) return;
  barswap_trace_record head{};
  head.time_ns = host_ns_;
  head.die = static_cast<std::uint8_t>(out_.runs[found->second].die);
  add(Step::Kind::death, head).run = found->second;
  runs_.erase(found);
}

// Each run once, however many of its ranges are named.
void Maker::add_uses(Step& step, const std::vector<std::uint32_t>& words) {
  step.first_use = static_cast<std::uint32_t>(out_.uses.size());
  const auto use = [&](std::uint32_t run, std::uint32_t word) {
    const bool known = (word & (BARSWAP_TRACE_READS | BARSWAP_TRACE_WRITES)) != 0;
    const bool reads = !known || (word & BARSWAP_TRACE_READS) != 0;
    const bool writes = !known || (word & BARSWAP_TRACE_WRITES) != 0;
    for (std::size_t i = step.first_use; i < out_.uses.size(); ++i)
      if (out_.uses[i].run == run) {
        out_.uses[i].reads |= reads;
        out_.uses[i].writes |= writes;
        out_.uses[i].surely_writes |= known && writes;
        return;
      }
    out_.uses.push_back({run, reads, writes, known && writes});
  };
  bool opaque = false;
  for (const std::uint32_t word : words) {
    const std::uint32_t range = BARSWAP_TRACE_RANGE_OF(word);
    if (range == BARSWAP_TRACE_EVERYTHING) {
      opaque = true;
      continue;
    }
    const auto number = ranges_.find(range);
    if (number == ranges_.end()) continue;
    const auto run = runs_.find(number->second);
    if (run != runs_.end()) use(run->second, word);
  }
  // Nobody knows what it reaches. That it reaches all would make every policy look alike; the step
  // keeps its time, and the count is told.
  if (opaque) ++out_.opaque;
  step.uses = static_cast<std::uint32_t>(out_.uses.size()) - step.first_use;
}

void Maker::note(const Step& step, std::size_t index, std::uint64_t instance,
                 std::uint64_t submit_ns) {
  Seen seen;
  seen.step = index;
  seen.instance = instance;
  seen.submit_ns = submit_ns;
  std::uint64_t reach_bytes = 0, host_bytes = 0;
  for (std::uint32_t i = 0; i < step.uses; ++i) {
    const std::uint32_t run = out_.uses[step.first_use + i].run;
    reach_bytes += out_.runs[run].bytes;
    host_bytes += host_bytes_[run];
  }
  seen.link_ns = ns_of(host_bytes, rates_.in_place);
  seen.local_ns = std::max(kLaunchNs, ns_of(reach_bytes, rates_.local));
  if (const auto own = times_.find(out_.launches); own != times_.end()) {
    seen.device_ns = own->second;
    seen.timed = true;
    ++out_.timed;
  } else if (const auto fit = timed_.find(instance); fit != timed_.end()) {
    seen.device_ns = fit->second.device_ns / fit->second.launches;
  }
  segment_.push_back(seen_.size());
  seen_.push_back(seen);
}

void Maker::launch(const Record& record) {
  const auto facts = record.as<barswap_trace_launch>();
  Step& step = add(Step::Kind::work, facts.head);
  add_uses(step, record.ranges());
  step.site = facts.site;
  step.variant = facts.variant;
  note(step, out_.steps.size() - 1, instance_of(record), facts.head.time_ns);
  ++out_.launches;
}

void Maker::copy(const Record& record) {
  const auto facts = record.as<barswap_trace_copy>();
  const bool in = facts.direction == BARSWAP_TRACE_TO_DIE;
  const bool out = facts.direction == BARSWAP_TRACE_TO_HOST;
  Step& step = add(in    ? Step::Kind::copy_in
                   : out ? Step::Kind::copy_out
                         : Step::Kind::work,
                   facts.head);
  step.bytes = facts.bytes;
  step.blocking = facts.blocking != 0;
  add_uses(step, record.ranges());
  std::uint64_t reach_bytes = 0;
  for (std::uint32_t i = 0; i < step.uses; ++i)
    reach_bytes += out_.runs[out_.uses[step.first_use + i].run].bytes;
  // A copy of a part says nothing about the rest of its run.
  if (reach_bytes > facts.bytes + facts.bytes / 8) step.uses = 0;
  if (in || out) {
    if (step.blocking) host_ns_ += ns_of(facts.bytes, in ? rates_.copy_in : rates_.copy_out);
  } else {
    step.compute_ns = kLaunchNs + ns_of(2 * facts.bytes, rates_.local);
  }
}

void Maker::memset(const Record& record) {
  const auto facts = record.as<barswap_trace_copy>();
  Step& step = add(Step::Kind::work, facts.head);
  add_uses(step, record.ranges());
  for (std::uint32_t i = 0; i < step.uses; ++i)
    out_.uses[step.first_use + i] = {out_.uses[step.first_use + i].run, false, true, true};
  step.compute_ns = kLaunchNs + ns_of(facts.bytes, rates_.local);
}

// The die was busy from its first launch to the end of the wait: shared out among the launches that
// were not timed themselves, by what each must take at least.
void Maker::apportion(std::uint64_t until_ns) {
  if (segment_.empty()) return;
  const std::uint64_t from_ns = std::max(device_ns_, seen_[segment_.front()].submit_ns);
  std::uint64_t busy_ns = until_ns - std::min(until_ns, from_ns);
  busy_ns -= std::min(busy_ns, segment_drained_ns_);
  std::uint64_t least_ns = 0;
  for (const std::size_t i : segment_) {
    if (seen_[i].device_ns != 0) busy_ns -= std::min(busy_ns, seen_[i].device_ns);
    else least_ns += std::max(seen_[i].link_ns, seen_[i].local_ns);
  }
  for (const std::size_t i : segment_) {
    Seen& seen = seen_[i];
    if (seen.device_ns != 0) continue;
    const std::uint64_t own_ns = std::max(seen.link_ns, seen.local_ns);
    seen.device_ns = scaled(busy_ns, own_ns, least_ns);
  }
  segment_.clear();
}

void Maker::wait(const Record& record) {
  const auto facts = record.as<barswap_trace_sync>();
  const std::uint64_t after_ns = std::max(facts.after_ns, facts.head.time_ns);
  const bool waited = after_ns - facts.head.time_ns >= kWaitedNs;
  // It waited for work that is not in the trace: that takes its time, whatever the policy.
  if (waited && !worked_) {
    const std::uint64_t ns = after_ns - facts.head.time_ns;
    Step& unseen = add(Step::Kind::work, facts.head);
    unseen.compute_ns = ns - std::min(ns, drained_ns_);  // what is left fell into the wait
    ++out_.unseen;
  }
  add(Step::Kind::wait, facts.head);
  if (waited) apportion(after_ns);
  segment_.clear();
  worked_ = false;
  segment_drained_ns_ = drained_ns_ = 0;
  host_ns_ = device_ns_ = std::max(host_ns_, after_ns);
}

void Maker::take(const Record& record) {
  const barswap_trace_record head = record.head();
  switch (head.kind) {
    case BARSWAP_TRACE_DIE: {
      const auto facts = record.as<barswap_trace_die>();
      if (head.die >= kDiesMax) return;
      if (out_.budget_bytes.size() <= head.die)
        out_.budget_bytes.resize(head.die + std::size_t{1}, 0);
      out_.budget_bytes[head.die] = facts.budget_bytes;
      return;
    }
    case BARSWAP_TRACE_RUN: return run(record);
    case BARSWAP_TRACE_RUN_END: return run_end(record.as<barswap_trace_run_end>().run);
    case BARSWAP_TRACE_ALLOC: {
      const auto facts = record.as<barswap_trace_alloc>();
      ranges_[facts.range] = facts.run;
      return;
    }
    case BARSWAP_TRACE_FREE: ranges_.erase(record.as<barswap_trace_free>().range); return;
    case BARSWAP_TRACE_LAUNCH:
    case BARSWAP_TRACE_GRAPH: return launch(record);
    case BARSWAP_TRACE_COPY: return copy(record);
    case BARSWAP_TRACE_MEMSET: return memset(record);
    case BARSWAP_TRACE_SYNC: return wait(record);
    case BARSWAP_TRACE_MOVE: {
      const auto facts = record.as<barswap_trace_move>();
      const auto found = runs_.find(facts.run);
      if (found == runs_.end() || facts.page >= out_.runs[found->second].pages()) return;
      const std::uint32_t run = found->second;
      barswap_trace_record at = head;
      at.time_ns = host_ns_;  // the gate's time stands in its own record
      Step& step = add(Step::Kind::move, at);
      step.run = run;
      step.page = facts.page;
      step.to = facts.to;
      std::uint8_t& tier = tiers_[run][facts.page];
      const std::uint64_t bytes = out_.runs[run].bytes_of_page(facts.page);
      if (tier != 0) host_bytes_[run] -= bytes;
      tier = facts.to;
      if (tier != 0) host_bytes_[run] += bytes;
      if (tier == kPeer) ++out_.on_peers;
      return;
    }
    case BARSWAP_TRACE_DRAIN: {
      const auto facts = record.as<barswap_trace_drain>();
      barswap_trace_record at = head;
      at.time_ns = host_ns_;
      add(Step::Kind::drain, at).closed_ns = facts.closed_ns;
      drained_ns_ += facts.closed_ns;
      segment_drained_ns_ += facts.closed_ns;
      return;
    }
    default: return;
  }
}

// One time for all launches of an instance, so that what happened to a single one does not stick to
// it; where some of them were timed, those alone count. Where work took about as long as its bytes
// on the host need, the link was what it waited for; where it took much longer, its computing was.
void Maker::fit() {
  std::unordered_map<std::uint64_t, Fit> fits;
  for (const bool timed : {true, false})
    for (const Seen& seen : seen_) {
      if (seen.device_ns == 0 || seen.timed != timed ||
          (!timed && timed_.count(seen.instance) != 0))
        continue;
      Fit& fit = fits[seen.instance];
      ++fit.launches;
      fit.device_ns += seen.device_ns;
      fit.link_ns += seen.link_ns;
    }
  constexpr std::uint64_t kRereadMax = 64'000;
  for (const Seen& seen : seen_) {
    Step& step = out_.steps[seen.step];
    step.compute_ns = seen.local_ns;
    const auto found = fits.find(seen.instance);
    if (found == fits.end()) continue;
    const Fit& fit = found->second;
    const std::uint64_t device_ns = fit.device_ns / fit.launches;
    const std::uint64_t link_ns = fit.link_ns / fit.launches;
    if (link_ns == 0 || device_ns > link_ns + link_ns / 4) {
      step.compute_ns = device_ns;
    } else {
      step.compute_ns = std::min(device_ns, seen.local_ns);
      step.reread_permille = static_cast<std::uint32_t>(
          std::clamp<std::uint64_t>(device_ns * 1000 / link_ns, 1, kRereadMax));
    }
  }
}

// What was timed is known before the launches are weighed.
void Maker::find_timed() {
  for (std::size_t i = 0; i < trace_.pieces.size(); ++i)
    if (trace_.at(i).head().kind == BARSWAP_TRACE_TIMED) {
      const auto facts = trace_.at(i).as<barswap_trace_timed>();
      times_[facts.launch] = facts.device_ns;
    }
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < trace_.pieces.size(); ++i) {
    const std::uint8_t kind = trace_.at(i).head().kind;
    if (kind != BARSWAP_TRACE_LAUNCH && kind != BARSWAP_TRACE_GRAPH) continue;
    const auto found = times_.find(number++);
    if (found == times_.end()) continue;
    Fit& fit = timed_[instance_of(trace_.at(i))];
    ++fit.launches;
    fit.device_ns += found->second;
  }
}

Workload Maker::make() {
  find_timed();
  std::uint64_t first_ns = std::numeric_limits<std::uint64_t>::max(), last_ns = 0;
  for (std::size_t i = 0; i < trace_.pieces.size(); ++i) {
    const Record record = trace_.at(i);
    const barswap_trace_record head = record.head();
    if (first_ns > head.time_ns) first_ns = head.time_ns;
    if (i == 0) host_ns_ = device_ns_ = head.time_ns;
    take(record);
    last_ns = std::max({last_ns, host_ns_});
  }
  out_.recorded_ns = last_ns - std::min(first_ns, last_ns);
  out_.budget_bytes.resize(static_cast<std::size_t>(out_.dies), 0);
  fit();
  return std::move(out_);
}

}  // namespace

std::uint32_t Workload::add_run(RunInfo run) {
  run.first_page = static_cast<std::uint32_t>(pages);
  pages += run.pages();
  dies = std::max(dies, run.die + 1);
  runs.push_back(std::move(run));
  return static_cast<std::uint32_t>(runs.size() - 1);
}

std::uint64_t Workload::peak_bytes(int die) const {
  std::uint64_t bytes = 0, peak = 0;
  for (const Step& step : steps) {
    if (step.kind != Step::Kind::birth && step.kind != Step::Kind::death) continue;
    if (runs[step.run].die != die) continue;
    bytes += step.kind == Step::Kind::birth ? runs[step.run].bytes : -runs[step.run].bytes;
    peak = std::max(peak, bytes);
  }
  return peak;
}

Workload workload_of(const Trace& trace, const Rates& rates) { return Maker(trace, rates).make(); }

Rates rates_in(const Trace& trace, Rates rates) {
  for (std::size_t i = 0; i < trace.pieces.size(); ++i) {
    if (trace.at(i).head().kind != BARSWAP_TRACE_DIE) continue;
    const auto die = trace.at(i).as<barswap_trace_die>();
    if (die.copy_in_rate != 0) rates.copy_in = die.copy_in_rate;
    if (die.copy_out_rate != 0) rates.copy_out = die.copy_out_rate;
    if (die.in_place_rate != 0) rates.in_place = rates.in_place_out = die.in_place_rate;
    if (die.local_rate != 0) rates.local = die.local_rate;
  }
  return rates;
}

}  // namespace barswap::replay

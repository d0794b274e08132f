#include "engine.hpp"

#include <algorithm>
#include <limits>
#include <map>
#include <memory>

#include "link.hpp"
#include "order.hpp"
#include "policy/place.hpp"
#include "policy/turns.hpp"
#include "scale.hpp"

namespace barswap::replay {
namespace {

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::uint8_t kHbm = 0, kHost = 2;
constexpr const char* kPolicyNames[] = {"recorded", "resident", "lru",    "fifo",  "clock",
                                        "bip",      "min",      "stream", "place", "auto",
                                        "move",     "all-host"};
constexpr const char* kStallNames[] = {"page-in", "write-back", "remap", "in-place", "gate"};
constexpr std::uint64_t kNever = std::numeric_limits<std::uint64_t>::max() - 1;

bool as_pager(Policy policy) { return policy >= Policy::place && policy <= Policy::move; }
bool pages_on_demand(Policy policy) { return policy >= Policy::lru && policy <= Policy::min; }

struct Page {
  std::uint32_t run = 0;
  std::uint8_t tier = kHost;
  bool dirty = false;
  bool live = false;
  std::uint64_t locked_by = kNever;  // the step in hand
};

struct DieState {
  explicit DieState(const Rates& rates) : link(rates.duplex_permille) {}
  Link link;
  std::uint64_t used_bytes = 0;
  std::uint64_t held_bytes[2][2] = {};  // of living pages: small or large, in HBM or not
  std::vector<std::uint32_t> runs;      // that live
  std::uint64_t idle_ns = 0;            // when what was submitted ends
  bool pressed = false;                 // something of this die has spilled
  std::uint64_t spare_bytes = 0;        // left free for turns
  std::uint64_t moment_ns = 0;          // the end of the last free moment
  policy::Recent recent;                // what small runs were born with, for the headroom
  std::unique_ptr<policy::Turns> turns;
  std::uint32_t resting = 0;  // launches, after an exchange that brought nothing
};

std::uint64_t mib_part(std::uint64_t bytes, std::uint64_t mib_ns) { return bytes * mib_ns / kMib; }

class Simulator {
 public:
  Simulator(const Workload& workload, Policy policy, const Machine& machine);
  Outcome run();

 private:
  std::uint64_t budget(int die) const {
    return policy_ == Policy::resident ? kNever
                                       : machine_.budget_bytes[static_cast<std::size_t>(die)];
  }
  std::uint64_t keep_bytes(int die) {
    return std::max(at(die).spare_bytes,
                    policy::headroom_bytes({}, budget(die), at(die).recent.bytes(host_ns_)));
  }
  std::uint64_t free_bytes(int die) const {
    const std::uint64_t used = at(die).used_bytes;
    return budget(die) - std::min(budget(die), used);
  }
  DieState& at(int die) { return dies_[static_cast<std::size_t>(die)]; }
  const DieState& at(int die) const { return dies_[static_cast<std::size_t>(die)]; }
  void stall(Stall why, std::uint64_t ns) {
    outcome_.stall_ns[static_cast<std::size_t>(why)] += ns;
  }
  std::uint64_t bytes_of(std::uint32_t page) const {
    const RunInfo& run = workload_.runs[pages_[page].run];
    return run.bytes_of_page(page - run.first_page);
  }
  std::uint64_t& held(std::uint32_t page) {
    const RunInfo& run = workload_.runs[pages_[page].run];
    return at(run.die).held_bytes[run.kind == BARSWAP_TRACE_LARGE][pages_[page].tier != kHbm];
  }
  policy::PageFacts facts_of(std::uint32_t page) const;
  void put(std::uint32_t page, std::uint8_t tier);
  bool wishes(int die, std::uint64_t free, std::uint64_t keep) const;

  void plan_next_uses();
  void plan_stream();
  void birth(const Step& step);
  void birth_as_pager(const RunInfo& run);
  void death(const Step& step);
  void work(const Step& step, std::size_t index);
  std::uint64_t fetch(const Step& step, std::size_t index, std::uint64_t ready_ns);
  std::uint64_t bring(int die, std::uint32_t page, std::size_t index, std::uint64_t ready_ns,
                      std::uint64_t& frames_ns, std::uint64_t& remap_ns);
  void touch(const Step& step);
  void copy(const Step& step);
  void wait(const Step& step);
  void move(const Step& step);
  void drain(const Step& step);
  void free_moment(int die);
  void turn(const Step& step);
  bool exchange(int die, const policy::Exchange& exchange);
  void carry_out(int die, const std::vector<std::pair<std::uint32_t, std::uint8_t>>& jobs);

  const Workload& workload_;
  const Policy policy_;
  const Machine& machine_;
  Outcome outcome_;
  std::vector<Page> pages_;
  std::vector<DieState> dies_;
  std::vector<std::unique_ptr<Order>> orders_;  // of each die
  std::vector<bool> stays_out_;                 // pages, by plan_stream()
  std::vector<std::uint64_t> next_use_;         // of each use: the step that uses its run again
  std::vector<std::uint64_t> upcoming_;         // of each run, as the simulation goes
  std::map<std::pair<int, std::uint32_t>, std::uint64_t> streams_;  // when each is idle
  std::uint64_t host_ns_ = 0;
};

Simulator::Simulator(const Workload& workload, Policy policy, const Machine& machine)
    : workload_(workload), policy_(policy), machine_(machine), pages_(workload.pages) {
  for (std::size_t run = 0; run < workload.runs.size(); ++run)
    for (std::uint32_t i = 0; i < workload.runs[run].pages(); ++i)
      pages_[workload.runs[run].first_page + i].run = static_cast<std::uint32_t>(run);
  for (int die = 0; die < workload.dies; ++die) {
    dies_.emplace_back(machine.rates);
    orders_.push_back(pages_on_demand(policy) ? std::make_unique<Order>(policy, pages_.size())
                                              : nullptr);
    if (policy == Policy::automatic || policy == Policy::move) {
      dies_.back().turns = std::make_unique<policy::Turns>(
          policy == Policy::move ? policy::Plan::move : policy::Plan::automatic);
      dies_.back().turns->link(static_cast<double>(machine.rates.copy_in) / 1e9);
    }
  }
  plan_next_uses();
  if (policy == Policy::stream) plan_stream();
}

void Simulator::plan_next_uses() {
  next_use_.assign(workload_.uses.size(), kNever);
  upcoming_.assign(workload_.runs.size(), kNever);
  for (std::size_t i = workload_.steps.size(); i-- > 0;) {
    const Step& step = workload_.steps[i];
    for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u) {
      std::uint64_t& next = upcoming_[workload_.uses[u].run];
      next_use_[u] = next;
      next = i;
    }
  }
}

// With all pages of the fullest moment on the table, the product's own order says which stay out.
void Simulator::plan_stream() {
  stays_out_.assign(pages_.size(), false);
  for (int die = 0; die < workload_.dies; ++die) {
    std::uint64_t bytes = 0, peak = 0;
    std::vector<bool> live(workload_.runs.size()), fullest;
    for (const Step& step : workload_.steps) {
      const bool birth = step.kind == Step::Kind::birth;
      if ((!birth && step.kind != Step::Kind::death) || workload_.runs[step.run].die != die)
        continue;
      live[step.run] = birth;
      bytes += birth ? workload_.runs[step.run].bytes : -workload_.runs[step.run].bytes;
      if (bytes > peak) {
        peak = bytes;
        fullest = live;
      }
    }
    if (peak <= budget(die)) continue;
    std::vector<policy::PageFacts> facts;
    std::vector<std::uint32_t> which;
    for (std::uint32_t page = 0; page < pages_.size(); ++page) {
      const RunInfo& run = workload_.runs[pages_[page].run];
      if (run.die != die || !fullest[pages_[page].run]) continue;
      policy::PageFacts fact = facts_of(page);
      fact.resident = true;
      facts.push_back(fact);
      which.push_back(page);
    }
    for (const std::size_t i : policy::victims(facts, peak - budget(die)))
      stays_out_[which[i]] = true;
  }
}

policy::PageFacts Simulator::facts_of(std::uint32_t page) const {
  const RunInfo& run = workload_.runs[pages_[page].run];
  policy::PageFacts fact;
  fact.range_order = pages_[page].run;
  fact.page_index = page - run.first_page;
  fact.pages_in_range = run.pages();
  fact.bytes = bytes_of(page);
  fact.large = run.kind == BARSWAP_TRACE_LARGE;
  fact.packed = run.kind == BARSWAP_TRACE_PACKED;
  fact.resident = pages_[page].tier == kHbm;
  fact.wants_hbm = run.place == 1;
  fact.wants_stream = run.place == 2;
  return fact;
}

void Simulator::put(std::uint32_t page, std::uint8_t tier) {
  Page& state = pages_[page];
  if (state.tier == tier) return;
  DieState& die = at(workload_.runs[state.run].die);
  if (state.tier == kHbm) die.used_bytes -= bytes_of(page);
  if (tier == kHbm) die.used_bytes += bytes_of(page);
  else die.pressed = true;
  held(page) -= bytes_of(page);
  state.tier = tier;
  held(page) += bytes_of(page);
}

void Simulator::birth(const Step& step) {
  const RunInfo& run = workload_.runs[step.run];
  Order* order = orders_[static_cast<std::size_t>(run.die)].get();
  for (std::uint32_t i = 0; i < run.pages(); ++i) {
    pages_[run.first_page + i].live = true;
    pages_[run.first_page + i].dirty = false;
    held(run.first_page + i) += run.bytes_of_page(i);
  }
  at(run.die).runs.push_back(step.run);
  if (run.kind != BARSWAP_TRACE_LARGE) at(run.die).recent.add(run.bytes, host_ns_);
  if (as_pager(policy_)) return birth_as_pager(run);
  for (std::uint32_t i = 0; i < run.pages(); ++i) {
    const std::uint32_t page = run.first_page + i;
    const bool fits = bytes_of(page) <= free_bytes(run.die);
    std::uint8_t tier = fits ? kHbm : kHost;
    if (policy_ == Policy::recorded) tier = run.born_tiers[i];
    if (policy_ == Policy::all_host) tier = kHost;
    if (policy_ == Policy::stream && stays_out_[page]) tier = kHost;
    put(page, tier);
    if (tier != kHbm) at(run.die).pressed = true;
    if (order && tier == kHbm) order->enter(page, upcoming_[step.run], false);
  }
}

// As the pager's births: what does not fit is spread evenly over the range.
void Simulator::birth_as_pager(const RunInfo& run) {
  DieState& die = at(run.die);
  const std::uint64_t free = free_bytes(run.die);
  const bool large = run.kind == BARSWAP_TRACE_LARGE;
  std::uint64_t keep = 0;
  if (large && (die.pressed || run.bytes > free))
    keep = keep_bytes(run.die);
  const std::uint64_t fitting = free - std::min(free, keep);
  std::uint64_t host_pages = 0;
  const std::uint64_t count = run.pages();
  if (run.place == 2) host_pages = count;
  else if (run.bytes > fitting && run.place != 1)
    host_pages = count - std::min(count, fitting / run.page_bytes);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint32_t page = run.first_page + static_cast<std::uint32_t>(i);
    const bool out = (i + 1) * host_pages / count != i * host_pages / count;
    const bool fits = bytes_of(page) <= free_bytes(run.die);
    put(page, out || !fits ? kHost : kHbm);
    if ((out || !fits) && run.place != 2) die.pressed = true;
  }
}

void Simulator::death(const Step& step) {
  const RunInfo& run = workload_.runs[step.run];
  Order* order = orders_[static_cast<std::size_t>(run.die)].get();
  DieState& die = at(run.die);
  const bool pressed = die.pressed;
  std::erase(die.runs, step.run);
  for (std::uint32_t i = 0; i < run.pages(); ++i) {
    const std::uint32_t page = run.first_page + i;
    if (!pages_[page].live) continue;
    if (order && order->has(page)) order->leave(page);
    put(page, kHost);
    held(page) -= bytes_of(page);
    pages_[page].live = false;
  }
  die.pressed = pressed;  // what ends has not spilled
}

// A page into HBM: a frame of a victim if none is free, its bytes out if they changed, then ours
// in. Without a victim the page stays where it is and is read in place.
std::uint64_t Simulator::bring(int die, std::uint32_t page, std::size_t index,
                               std::uint64_t ready_ns, std::uint64_t& frames_ns,
                               std::uint64_t& remap_ns) {
  Order& order = *orders_[static_cast<std::size_t>(die)];
  const Rates& rates = machine_.rates;
  std::uint64_t frame_ns = ready_ns;
  while (free_bytes(die) < bytes_of(page)) {
    const auto out = order.victim([&](std::uint32_t p) { return pages_[p].locked_by == index; });
    if (!out) return ready_ns;
    if (pages_[*out].dirty) {
      frame_ns = std::max(frame_ns, at(die).link.out(ready_ns, bytes_of(*out), rates.copy_out));
      outcome_.bytes_out += bytes_of(*out);
    }
    remap_ns += machine_.costs.out_ns(bytes_of(*out));
    order.leave(*out);
    put(*out, kHost);
    pages_[*out].dirty = false;
    ++outcome_.moves;
  }
  frames_ns = std::max(frames_ns, frame_ns);
  const std::uint64_t end_ns = at(die).link.in(frame_ns, bytes_of(page), rates.copy_in);
  remap_ns += machine_.costs.in_ns(bytes_of(page));
  outcome_.bytes_in += bytes_of(page);
  ++outcome_.moves;
  put(page, kHbm);
  order.enter(page, upcoming_[pages_[page].run], true);
  return end_ns;
}

// On demand: the die drains, the missing pages come, the work starts.
std::uint64_t Simulator::fetch(const Step& step, std::size_t index, std::uint64_t ready_ns) {
  std::uint64_t end_ns = ready_ns, frames_ns = ready_ns, remap_ns = 0;
  bool any = false;
  for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u) {
    const RunInfo& run = workload_.runs[workload_.uses[u].run];
    for (std::uint32_t i = 0; i < run.pages(); ++i)
      if (pages_[run.first_page + i].live) pages_[run.first_page + i].locked_by = index;
  }
  for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u) {
    const RunInfo& run = workload_.runs[workload_.uses[u].run];
    for (std::uint32_t i = 0; i < run.pages(); ++i) {
      const std::uint32_t page = run.first_page + i;
      if (!pages_[page].live) continue;
      if (pages_[page].tier == kHbm) {
        orders_[static_cast<std::size_t>(run.die)]->use(page, upcoming_[pages_[page].run]);
        continue;
      }
      if (run.place == 2) continue;
      any = true;
      end_ns = std::max(end_ns, bring(run.die, page, index, ready_ns, frames_ns, remap_ns));
    }
  }
  if (!any) return ready_ns;
  if (remap_ns != 0) remap_ns += machine_.costs.drain_ns;
  stall(Stall::write_back, frames_ns - ready_ns);
  stall(Stall::page_in, end_ns - std::min(end_ns, frames_ns));
  stall(Stall::remap, remap_ns);
  return end_ns + remap_ns;
}

// What the use leaves behind: next uses move on, written pages are dirty.
void Simulator::touch(const Step& step) {
  for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u) {
    const Use& use = workload_.uses[u];
    if (!use.writes) continue;
    const RunInfo& run = workload_.runs[use.run];
    for (std::uint32_t i = 0; i < run.pages(); ++i)
      if (pages_[run.first_page + i].tier == kHbm) pages_[run.first_page + i].dirty = true;
  }
}

void Simulator::work(const Step& step, std::size_t index) {
  const int die_index = std::max(step.die, 0);
  DieState& die = at(die_index);
  for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u)
    upcoming_[workload_.uses[u].run] = next_use_[u];
  if (die.turns && step.site != 0) turn(step);
  std::uint64_t& stream_ns = streams_[{die_index, step.stream}];
  std::uint64_t start_ns = std::max({host_ns_, die.idle_ns, stream_ns});
  if (pages_on_demand(policy_)) start_ns = fetch(step, index, start_ns);
  std::uint64_t read_bytes = 0, write_bytes = 0;
  for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u) {
    const Use& use = workload_.uses[u];
    const RunInfo& run = workload_.runs[use.run];
    std::uint64_t host_bytes = 0;
    for (std::uint32_t i = 0; i < run.pages(); ++i)
      if (pages_[run.first_page + i].live && pages_[run.first_page + i].tier != kHbm)
        host_bytes += run.bytes_of_page(i);
    if (use.reads) read_bytes += host_bytes;
    else write_bytes += host_bytes;
  }
  // A part that both reads and writes is counted as read: how much of it is written nobody knows.
  read_bytes = scaled(read_bytes, step.reread_permille, 1000);
  write_bytes = scaled(write_bytes, step.reread_permille, 1000);
  outcome_.bytes_in_place += read_bytes + write_bytes;
  std::uint64_t end_ns = start_ns + step.compute_ns;
  const std::uint64_t computed_ns = end_ns;
  if (read_bytes > 0)
    end_ns = std::max(end_ns, die.link.in(start_ns, read_bytes, machine_.rates.in_place));
  if (write_bytes > 0)
    end_ns = std::max(end_ns, die.link.out(start_ns, write_bytes, machine_.rates.in_place_out));
  stall(Stall::in_place, end_ns - computed_ns);
  die.idle_ns = stream_ns = end_ns;
  outcome_.work_end_ns.push_back(end_ns);
  touch(step);
}

void Simulator::copy(const Step& step) {
  const int die_index = std::max(step.die, 0);
  std::uint64_t& stream_ns = streams_[{die_index, step.stream}];
  const std::uint64_t start_ns = std::max(host_ns_, stream_ns);
  const bool in = step.kind == Step::Kind::copy_in;
  Link& link = at(die_index).link;
  stream_ns = in ? link.in(start_ns, step.bytes, machine_.rates.copy_in)
                 : link.out(start_ns, step.bytes, machine_.rates.copy_out);
  if (step.blocking) host_ns_ = stream_ns;
  for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u)
    upcoming_[workload_.uses[u].run] = next_use_[u];
  if (in) touch(step);
}

void Simulator::wait(const Step& step) {
  for (const auto& [name, idle_ns] : streams_) {
    const bool meant = (step.die < 0 || name.first == step.die) &&
                       (step.stream == 0 || name.second == step.stream);
    if (meant) host_ns_ = std::max(host_ns_, idle_ns);
  }
  if (!as_pager(policy_)) return;
  for (const auto& [name, idle_ns] : streams_)
    if (idle_ns > host_ns_) return;
  for (int die = 0; die < workload_.dies; ++die) free_moment(die);
}

void Simulator::move(const Step& step) {
  if (policy_ != Policy::recorded) return;
  const std::uint32_t page = workload_.runs[step.run].first_page + step.page;
  if (!pages_[page].live) return;
  const std::uint64_t bytes = bytes_of(page);
  if (step.to == kHbm) outcome_.bytes_in += bytes;
  else outcome_.bytes_out += bytes;
  ++outcome_.moves;
  put(page, step.to);
}

// The gate was closed for the process: nothing ran, and whoever submitted waited.
void Simulator::drain(const Step& step) {
  if (policy_ != Policy::recorded) return;
  host_ns_ += step.closed_ns;
  stall(Stall::gate, step.closed_ns);
}

// As the pager's own wishes: what a move could gain.
bool Simulator::wishes(int die, std::uint64_t free, std::uint64_t keep) const {
  const DieState& state = at(die);
  const std::uint64_t small_host = state.held_bytes[0][1];
  const std::uint64_t large_hbm = state.held_bytes[1][0], large_host = state.held_bytes[1][1];
  if (!state.pressed) return false;
  if (small_host > 0 && (large_hbm > 0 || free >= 2 * kMib)) return true;
  return (free < keep / 2 && large_hbm > 0) || (large_host > 0 && free > 2 * keep);
}

// The choice of the pager's mover (shim/pager/planning.cpp), with the same policy code.
void Simulator::free_moment(int die) {
  const std::uint64_t free = free_bytes(die);
  const std::uint64_t keep = keep_bytes(die);
  if (!wishes(die, free, keep)) return;
  std::vector<policy::PageFacts> facts;
  std::vector<std::uint32_t> which;
  std::uint64_t small_host = 0, large_hbm = 0, large_host = 0, page_bytes = 2 * kMib;
  for (const std::uint32_t number : at(die).runs) {
    const RunInfo& run = workload_.runs[number];
    for (std::uint32_t i = 0; i < run.pages(); ++i) {
      policy::PageFacts fact = facts_of(run.first_page + i);
      if (!fact.large && !fact.resident && !fact.wants_stream) small_host += fact.bytes;
      if (fact.large) (fact.resident ? large_hbm : large_host) += fact.bytes;
      if (fact.large) page_bytes = std::max(page_bytes, run.page_bytes);
      facts.push_back(fact);
      which.push_back(run.first_page + i);
    }
  }
  const std::uint64_t page_cost =
      machine_.costs.out_ns(page_bytes) +
      page_bytes * 1000 / std::max<std::uint64_t>(machine_.rates.copy_out / 1'000'000, 1);
  // As many batches as the time since the last moment pays for are one here.
  const std::uint64_t since_ns = host_ns_ - std::min(host_ns_, at(die).moment_ns);
  const std::uint64_t batch_ns =
      std::max(machine_.costs.batch_ns, policy::moment_ns(since_ns));
  const std::uint64_t batch_bytes =
      std::max(page_bytes, batch_ns / std::max<std::uint64_t>(page_cost, 1) * page_bytes);
  std::vector<std::pair<std::uint32_t, std::uint8_t>> jobs;
  if (small_host > 0 && free > 0) {
    for (const std::size_t i : policy::promotions(facts, std::min({free, small_host, batch_bytes})))
      if (!facts[i].large) jobs.emplace_back(which[i], kHbm);
    if (!jobs.empty()) return carry_out(die, jobs);
  }
  if (large_hbm > 0 && (small_host > 0 || free < keep / 2)) {
    const std::uint64_t leave = small_host + keep - std::min(free, keep);
    for (const std::size_t i : policy::victims(facts, std::min(leave, batch_bytes)))
      if (facts[i].large || facts[i].wants_stream) jobs.emplace_back(which[i], kHost);
  } else if (large_host > 0 && free > 2 * keep + page_bytes) {
    for (const std::size_t i : policy::promotions(facts, std::min(free - 2 * keep, batch_bytes)))
      jobs.emplace_back(which[i], kHbm);
  }
  carry_out(die, jobs);
  at(die).moment_ns = host_ns_;
}

// As session's foresight: launches that name large runs teach the cycle, and where one names what
// is not all in HBM, runs may change places before it.
void Simulator::turn(const Step& step) {
  const int die_index = std::max(step.die, 0);
  DieState& die = at(die_index);
  const auto may_turn = [&](std::uint32_t number) {
    const RunInfo& run = workload_.runs[number];
    return run.die == die_index && run.kind == BARSWAP_TRACE_LARGE && run.place == 0;
  };
  const auto facts_of_run = [&](std::uint32_t number) {
    const RunInfo& run = workload_.runs[number];
    policy::RangeFacts facts{number, run.bytes, 0, true};
    for (std::uint32_t i = 0; i < run.pages(); ++i)
      if (pages_[run.first_page + i].tier != kHbm) facts.host_bytes += run.bytes_of_page(i);
    return facts;
  };
  if (!die.pressed) return;
  std::vector<policy::RangeId> named;
  policy::OnHost host;
  for (std::uint32_t u = step.first_use; u < step.first_use + step.uses; ++u) {
    const std::uint32_t number = workload_.uses[u].run;
    if (!may_turn(number)) continue;
    host.add(named.size(), facts_of_run(number).host_bytes);
    named.push_back(number);
  }
  if (named.empty()) return;
  die.turns->launch(step.site, step.variant, named, host, host_ns_);
  if (die.resting > 0) --die.resting;
  if (!die.turns->moving()) die.spare_bytes = 0;
  const bool due = die.turns->stripe_due();
  if (!due && (die.resting > 0 || !die.turns->turn_due(host.bytes))) return;
  std::vector<policy::RangeFacts> held;
  for (const std::uint32_t number : die.runs)
    if (may_turn(number)) held.push_back(facts_of_run(number));
  std::sort(held.begin(), held.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
  const policy::Exchange chosen =
      due ? die.turns->stripe(held)
          : die.turns->choose(held, policy::turn_bytes(budget(die_index)));
  const bool made = !chosen.in.empty() && !chosen.later && exchange(die_index, chosen);
  if (due || !chosen.in.empty()) die.turns->exchanged(chosen, made);
  if (!made && !chosen.later && host.bytes != 0) die.resting = 64;
}

// As the mover's: the launching thread waits until the die is idle; both directions of the link at
// once. Grants wait for the engine that copies out; beside copies in they run.
bool Simulator::exchange(int die, const policy::Exchange& exchange) {
  at(die).spare_bytes = exchange.spare_bytes;
  const std::uint64_t keep = keep_bytes(die);
  const auto pages_of = [&](const std::vector<policy::Part>& shares, std::uint8_t tier) {
    std::vector<std::uint32_t> pages;
    for (const policy::Part& share : shares) {
      const RunInfo& run = workload_.runs[share.id];
      std::vector<std::uint32_t> there;
      for (std::uint32_t i = 0; i < run.pages(); ++i)
        if (pages_[run.first_page + i].tier == tier) there.push_back(run.first_page + i);
      const std::uint64_t wanted = std::min<std::uint64_t>(
          there.size(), share.bytes / run.page_bytes + (share.bytes % run.page_bytes != 0 ? 1 : 0));
      for (std::uint64_t i = 0; i < there.size(); ++i)
        if ((i + 1) * wanted / there.size() != i * wanted / there.size())
          pages.push_back(there[i]);
    }
    return pages;
  };
  const std::vector<std::uint32_t> in = pages_of(exchange.in, kHost);
  const std::vector<std::uint32_t> out = pages_of(exchange.out, kHbm);
  std::uint64_t waiting_bytes = 0, in_bytes = 0, out_bytes = 0, remap_ns = 0, stage_ns = 0;
  for (const std::uint32_t page : in) waiting_bytes += bytes_of(page);
  for (const std::uint32_t page : out) {
    if (free_bytes(die) >= waiting_bytes + keep) break;
    put(page, kHost);
    out_bytes += bytes_of(page);
    remap_ns += machine_.costs.out_ns(bytes_of(page)) + machine_.costs.unmap_host_ns;
    stage_ns +=
        machine_.costs.map_host_ns + mib_part(bytes_of(page), machine_.costs.map_host_mib_ns);
    ++outcome_.moves;
  }
  for (const std::uint32_t page : in) {
    if (free_bytes(die) < bytes_of(page)) break;
    put(page, kHbm);
    in_bytes += bytes_of(page);
    remap_ns += machine_.costs.in_ns(bytes_of(page)) + machine_.costs.unmap_hbm_ns;
    stage_ns += machine_.costs.map_hbm_ns;
    ++outcome_.moves;
  }
  if (in_bytes + out_bytes == 0) return false;
  outcome_.bytes_in += in_bytes;
  outcome_.bytes_out += out_bytes;
  std::uint64_t idle_ns = host_ns_ + stage_ns;
  for (const auto& [name, stream_ns] : streams_)
    if (name.first == die) idle_ns = std::max(idle_ns, stream_ns);
  const std::uint64_t from_ns = idle_ns + machine_.costs.drain_ns;
  std::uint64_t in_ns = from_ns, out_ns = from_ns;
  if (in_bytes > 0) in_ns = at(die).link.in(from_ns, in_bytes, machine_.rates.copy_in);
  if (out_bytes > 0) out_ns = at(die).link.out(from_ns, out_bytes, machine_.rates.copy_out);
  const std::uint64_t end_ns = std::max(in_ns, out_ns + remap_ns);
  stall(Stall::page_in, end_ns - idle_ns);
  host_ns_ = end_ns;
  return true;
}

// One batch, as the mover makes it: the gate closed, copies one behind the other, then the remaps.
void Simulator::carry_out(int die,
                          const std::vector<std::pair<std::uint32_t, std::uint8_t>>& jobs) {
  if (jobs.empty()) return;
  std::uint64_t at_ns = host_ns_ + machine_.costs.drain_ns;
  for (const auto& [page, tier] : jobs) {
    const std::uint64_t bytes = bytes_of(page);
    const bool in = tier == kHbm;
    at_ns = in ? at(die).link.in(at_ns, bytes, machine_.rates.copy_in)
               : at(die).link.out(at_ns, bytes, machine_.rates.copy_out);
    (in ? outcome_.bytes_in : outcome_.bytes_out) += bytes;
    ++outcome_.moves;
    put(page, tier);
  }
  for (const auto& [page, tier] : jobs)
    at_ns +=
        tier == kHbm ? machine_.costs.in_ns(bytes_of(page)) : machine_.costs.out_ns(bytes_of(page));
  stall(Stall::gate, at_ns - host_ns_);
  host_ns_ = at_ns;
}

Outcome Simulator::run() {
  for (std::size_t index = 0; index < workload_.steps.size(); ++index) {
    const Step& step = workload_.steps[index];
    host_ns_ += step.think_ns;
    switch (step.kind) {
      case Step::Kind::birth: birth(step); break;
      case Step::Kind::death: death(step); break;
      case Step::Kind::work: work(step, index); break;
      case Step::Kind::copy_in:
      case Step::Kind::copy_out: copy(step); break;
      case Step::Kind::wait: wait(step); break;
      case Step::Kind::move: move(step); break;
      case Step::Kind::drain: drain(step); break;
    }
  }
  outcome_.time_ns = host_ns_;
  for (const auto& [name, idle_ns] : streams_)
    outcome_.time_ns = std::max(outcome_.time_ns, idle_ns);
  return std::move(outcome_);
}

}  // namespace

const char* name_of(Policy policy) { return kPolicyNames[static_cast<std::size_t>(policy)]; }
const char* name_of(Stall stall) { return kStallNames[static_cast<std::size_t>(stall)]; }

std::optional<Policy> policy_named(const std::string& name) {
  for (std::size_t i = 0; i < std::size(kPolicyNames); ++i)
    if (name == kPolicyNames[i]) return static_cast<Policy>(i);
  return std::nullopt;
}

std::uint64_t Costs::in_ns(std::uint64_t bytes) const {
  return unmap_host_ns + map_hbm_ns + mib_part(bytes, unmap_host_mib_ns + map_hbm_mib_ns);
}

std::uint64_t Costs::out_ns(std::uint64_t bytes) const {
  return unmap_hbm_ns + map_host_ns + mib_part(bytes, unmap_hbm_mib_ns + map_host_mib_ns);
}

Outcome simulate(const Workload& workload, Policy policy, const Machine& machine) {
  return Simulator(workload, policy, machine).run();
}

}  // namespace barswap::replay

#include "session/far_graphs.hpp"

#include <algorithm>

#include "barswap/log.hpp"
#include "session/door.hpp"
#include "session/reach.hpp"
#include "session/router.hpp"
#include "stats/stats.hpp"

namespace barswap::session {
namespace {

constexpr driver::Stream kForgotten{~std::uintptr_t{0}};

bool same(const std::vector<GraphCut>& one, const std::vector<GraphCut>& other) {
  const auto first = [](const policy::Stretch& stretch) { return stretch.first; };
  return std::ranges::equal(one, other, [&](const GraphCut& a, const GraphCut& b) {
    return a.node == b.node && std::ranges::equal(a.along, b.along, {}, first, first);
  });
}

}  // namespace

std::shared_ptr<FarGraphs::Entry> FarGraphs::find(driver::Exec exec) {
  Lock lock(mutex_);
  const auto found = entries_.find(exec);
  return found == entries_.end() ? nullptr : found->second;
}

// The clone is of this moment: the program may change its own, and destroy it.
void FarGraphs::take(Entry& entry, driver::Graph graph) {
  const Submission inside(true);  // the driver may look addresses up
  auto clone = verbs_.clone(graph);
  if (!clone) return;
  auto nodes = verbs_.chain_of(graph, *clone);
  if (!nodes || nodes->empty() || nodes->size() > kNodesMost) return verbs_.destroy(*clone);
  entry.clone = *clone;
  entry.nodes = std::move(*nodes);
  for (std::size_t i = 0; i < entry.nodes.size(); ++i)
    entry.places.emplace(entry.nodes[i].original, i);
  entry.dies.assign(entry.nodes.size(), router_.home());
  entry.looked = false;
}

void FarGraphs::made(driver::Exec exec, driver::Graph graph, std::uint64_t flags) {
  gone(exec);
  if (!router_.routes() || !verbs_.plain_graph(flags)) return;
  auto entry = std::make_shared<Entry>();
  entry->flags = flags;
  take(*entry, graph);
  if (entry->clone == driver::Graph::none) return;
  Lock lock(mutex_);
  entries_[exec] = std::move(entry);
}

void FarGraphs::updated(driver::Exec exec, driver::Graph graph) {
  const auto entry = find(exec);
  if (!entry || entry->home) return;
  drop(*entry);
  if (++entry->updates > kUpdatesMost) entry->home = true;
  else take(*entry, graph);
  entry->home = entry->home || entry->clone == driver::Graph::none;
  entry->next_look = entry->launches + 1;
}

void FarGraphs::changed(driver::Exec exec, driver::Node node, const driver::KernelChange& change,
                        Reach& reach) {
  const auto entry = find(exec);
  if (!entry || entry->home) return;
  const auto found = entry->places.find(node);
  if (found == entry->places.end()) return left(exec);
  const driver::GraphNode& known = entry->nodes[found->second];
  // Who changes its graph all the time need not pay for a second one.
  if (entry->legs.empty() && ++entry->changes > kChangesMost) return left(exec);
  const bool away = entry->dies[found->second] != router_.home();
  if (known.function != change.function ||
      (away && reach.route_names(change.function, change.parameters, change.extra).foreign) ||
      !this->change(*entry, found->second, change))
    left(exec);
}

// In the clone, for what will be made of it, and in what was.
bool FarGraphs::change(Entry& entry, std::size_t node, const driver::KernelChange& change) {
  if (!verbs_.change(entry.nodes[node].node, change)) return false;
  if (entry.legs.empty()) return true;
  const Leg& leg = leg_of(entry, node);
  const driver::Node placed = entry.placed[node];
  if (leg.graph != driver::Graph::none && !verbs_.change(placed, change)) return false;
  return static_cast<bool>(verbs_.change(leg.exec, placed));
}

FarGraphs::Leg& FarGraphs::leg_of(Entry& entry, std::size_t node) {
  return *std::find_if(entry.legs.rbegin(), entry.legs.rend(),
                       [&](const Leg& leg) { return leg.first <= node; });
}

void FarGraphs::left(driver::Exec exec) {
  const auto entry = find(exec);
  if (!entry) return;
  drop(*entry);
  entry->home = true;
}

void FarGraphs::gone(driver::Exec exec) {
  const auto entry = find(exec);
  if (!entry) return;
  drop(*entry);
  Lock lock(mutex_);
  if (entry->done != driver::Event::none) spare_.push_back(entry->done);
  entries_.erase(exec);
}

void FarGraphs::all_gone() {
  Lock lock(mutex_);
  entries_.clear();
  spare_.clear();
}

// It may be asked after no more. What it held may still be running.
void FarGraphs::forget(driver::Stream stream) {
  Lock lock(mutex_);
  for (auto& [exec, entry] : entries_)
    if (entry->last == stream) entry->last = kForgotten;
}

// What is in flight ends, and is freed then.
void FarGraphs::drop_ours(Entry& entry) {
  for (const Leg& leg : entry.legs) {
    if (leg.exec != driver::Exec::none) verbs_.destroy(leg.exec);
    if (leg.graph != driver::Graph::none) verbs_.destroy(leg.graph);
  }
  entry.legs.clear();
  entry.placed.clear();
  entry.uploaded = false;
}

void FarGraphs::drop(Entry& entry) {
  drop_ours(entry);
  if (entry.clone != driver::Graph::none) verbs_.destroy(entry.clone);
  entry.clone = driver::Graph::none;
  entry.nodes.clear();
  entry.places.clear();
  entry.dies.clear();
  entry.cuts.clear();
}

// Where its bytes lie is looked at before the second launch, and again after pages have moved, ever
// more seldom.
void FarGraphs::look(Entry& entry, Reach& reach) {
  const std::uint64_t moved = stats::get(stats::live().drains);
  const std::uint64_t judged = router_.judged();
  const bool due = entry.launches >= entry.next_look && moved != entry.moved;
  if (entry.looked && !due && judged == entry.judged) return;
  entry.looked = true;
  entry.judged = judged;
  entry.moved = moved;
  entry.next_look = 2 * entry.launches;
  std::vector<Router::Node> named;
  for (const driver::GraphNode& node : entry.nodes) {
    Router::Node one{node.function, node.tied, node.follows, {}};
    if (node.function != driver::Function::none) {
      auto work = verbs_.work_of(node.node);
      if (work) one.names = reach.route_names(work->function, work->parameters, work->extra);
      else one.tied = true;
    }
    named.push_back(one);
  }
  GraphPlan plan = router_.plan_nodes(named);
  if (entry.missed >= kMissedMost) plan.cuts.clear();
  if (plan.dies == entry.dies && same(plan.cuts, entry.cuts)) return;
  drop_ours(entry);
  entry.cuts = std::move(plan.cuts);
  if (!make(entry, plan.dies)) {
    BARSWAP_LOG(debug, "session", "a graph of %zu nodes stays on its die", entry.nodes.size());
    drop(entry);
    entry.home = true;
  }
}

// False: the driver would not have it so. Nothing of it was launched.
bool FarGraphs::make(Entry& entry, const std::vector<Die>& dies) {
  const Submission inside(true);
  const Die home = router_.home();
  std::size_t away = 0;
  for (std::size_t i = 0; i < entry.nodes.size(); ++i) {
    const driver::GraphNode& node = entry.nodes[i];
    const bool kernel = node.function != driver::Function::none;
    if (dies[i] != home && kernel) ++away;
    if (dies[i] == entry.dies[i]) continue;
    // Copies and fills are the same wherever they are launched.
    const auto there = kernel ? router_.there(node.function, dies[i]) : std::nullopt;
    if (kernel && (!there || !verbs_.place(node.node, there->kernel, there->context))) return false;
    entry.dies[i] = dies[i];
  }
  entry.away = away;
  if (away == 0) return true;
  for (Leg& leg : legs_of(entry))
    if (!make_leg(entry, std::move(leg))) return false;
  BARSWAP_LOG(debug, "session", "a graph of %zu nodes runs %zu of them on other dies, in %zu parts",
              entry.nodes.size(), away, entry.legs.size());
  for (const Leg& leg : entry.legs)
    BARSWAP_LOG(debug, "session", "%zu nodes from %zu on die %d, %zu ranges along", leg.count,
                leg.first, index_of(leg.die), leg.along.size());
  return true;
}

std::vector<FarGraphs::Leg> FarGraphs::legs_of(const Entry& entry) const {
  std::vector<Leg> legs;
  auto cut = entry.cuts.begin();
  for (std::size_t i = 0; i < entry.dies.size(); ++i) {
    const bool carries = cut != entry.cuts.end() && cut->node == i;
    if (legs.empty() || carries || legs.back().die != entry.dies[i])
      legs.push_back({i, 0, driver::Graph::none, driver::Exec::none, entry.dies[i], {}});
    ++legs.back().count;
    if (carries) legs.back().along = (cut++)->along;
  }
  if (legs.size() <= kLegsMost) return legs;
  return {{0, entry.dies.size(), driver::Graph::none, driver::Exec::none, router_.home(), {}}};
}

bool FarGraphs::make_leg(Entry& entry, Leg leg) {
  driver::Graph graph = entry.clone;
  if (leg.count == entry.nodes.size()) {
    for (const driver::GraphNode& node : entry.nodes) entry.placed.push_back(node.node);
  } else {
    auto part = verbs_.part_of(entry.clone, entry.nodes, leg.first, leg.count);
    if (!part) return false;
    leg.graph = graph = part->graph;
    entry.placed.insert(entry.placed.end(), part->nodes.begin(), part->nodes.end());
  }
  auto made = verbs_.instantiate(graph, entry.flags);
  if (made) leg.exec = *made;
  entry.legs.push_back(std::move(leg));
  return made.has_value();
}

bool FarGraphs::has_event(Entry& entry) {
  if (entry.done != driver::Event::none) return true;
  {
    Lock lock(mutex_);
    if (!spare_.empty()) {
      entry.done = spare_.back();
      spare_.pop_back();
      return true;
    }
  }
  auto made = verbs_.make_event();
  if (made) entry.done = *made;
  return made.has_value();
}

// Launches of one executable graph come one after another, whatever their streams. Answers which of
// the two may come now, and has it wait where only an event says so: ours may be another one by
// now.
bool FarGraphs::follows_on(Entry& entry, driver::Stream stream, bool ours) {
  {
    Lock lock(mutex_);
    if (entry.last == driver::Stream::none || entry.last == stream) return ours;
    if (!entry.last_ours) {
      if (!ours || entry.last == kForgotten) return false;
      auto idle = verbs_.idle(entry.last);
      return idle && *idle;
    }
  }
  if (!verbs_.wait(stream, entry.done)) router_.graph_lost();
  return ours;
}

bool FarGraphs::choose(driver::Exec exec, driver::Stream stream, Reach& reach) {
  const auto entry = find(exec);
  if (!entry) return false;
  const driver::RelaxedCapture relaxed(verbs_);
  auto captured = verbs_.capturing(stream);
  entry->captured = !captured || *captured;
  if (entry->captured) return false;
  ++entry->launches;
  const bool may = !entry->home && reach.wanted() && router_.graph_may_leave(stream);
  if (may && entry->launches > 1) look(*entry, reach);
  const bool ours = may && !entry->legs.empty() && has_event(*entry);
  return follows_on(*entry, stream, ours);
}

// What can be refused is, before anything is launched.
bool FarGraphs::prepare_legs(Entry& entry, driver::Stream stream) {
  std::uint32_t dies = 0;
  for (const Leg& leg : entry.legs) dies |= 1u << index_of(leg.die);
  if (!router_.can_hop(stream, dies)) return false;
  if (entry.uploaded) return true;
  Die at = router_.home();
  for (const Leg& leg : entry.legs) {
    auto there = router_.hop(stream, at, leg.die);
    at = leg.die;
    const Submission inside{Submission::Away{}};
    if (!there || !verbs_.upload(leg.exec, *there)) return false;
  }
  entry.uploaded = router_.hop(stream, at, router_.home()).has_value();
  return entry.uploaded;
}

// What is not carried is read from afar; also when others wait for us.
bool FarGraphs::carry_for(Entry& entry, const Leg& leg) {
  if (leg.along.empty() || router_.carry_for_graph(leg.along, leg.die)) {
    if (!leg.along.empty()) entry.missed = 0;
    return true;
  }
  if (router_.waited_for()) return false;
  entry.looked = entry.looked && ++entry.missed != kMissedMost;
  return false;
}

Result<void> FarGraphs::launch_leg(const Leg& leg, driver::Stream stream) {
  const Submission inside{Submission::Away{}};
  auto launched = verbs_.launch(leg.exec, stream);
  if (launched) router_.leg_sent(stream, leg.die);
  return launched;
}

// Nothing of the graph was launched, if that is the answer.
std::optional<int> FarGraphs::launch_legs(Entry& entry, driver::Stream stream) {
  Die at = router_.home();
  for (const Leg& leg : entry.legs) {
    if (leg.first > 0) (void)carry_for(entry, leg);
    auto there = router_.hop(stream, at, leg.die);
    auto launched = there ? launch_leg(leg, *there) : there.error();
    const bool sticky = !launched && driver::sticky(launched.error());
    if (!launched && !sticky && leg.first == 0) {
      (void)router_.hop(stream, leg.die, router_.home());
      return std::nullopt;
    }
    if (there && !launched && !sticky && after_out_of_memory()) launched = launch_leg(leg, *there);
    at = leg.die;
    if (launched) continue;
    return router_.graph_lost(launched.error());
  }
  const auto back = router_.hop(stream, at, router_.home());
  return back ? 0 : router_.graph_lost(back.error());
}

std::optional<int> FarGraphs::launch(driver::Exec exec, driver::Stream stream) {
  const auto entry = find(exec);
  if (!entry || entry->legs.empty()) return std::nullopt;
  const driver::RelaxedCapture relaxed(verbs_);
  for (const Leg& leg : entry->legs)
    if (leg.die != router_.home()) router_.await_room(leg.die);
  (void)carry_for(*entry, entry->legs.front());
  std::optional<int> code;
  {
    const Router::Held held(router_);
    if (held.ours()) {
      if (prepare_legs(*entry, stream)) code = launch_legs(*entry, stream);
      if (!code) left(exec);
    }
    // Something of another thread may be between the legs: no wrong bytes without a word.
    if (code == 0 && !held.lasts()) code = router_.graph_lost(Error{Fault::busy});
    // Before anybody else goes on.
    if (code == 0) ended_with(*entry, stream);
  }
  // The program's own comes behind what ours did.
  if (!code) (void)follows_on(*entry, stream, false);
  return code;
}

void FarGraphs::ended_with(Entry& entry, driver::Stream stream) {
  if (!verbs_.record(entry.done, stream)) router_.graph_lost();
  {
    Lock lock(mutex_);
    entry.last = stream;
    entry.last_ours = true;
  }
  router_.launched_on(stream);
  router_.graph_left(stream, entry.done, entry.dies, entry.away);
}

void FarGraphs::launched(driver::Exec exec, driver::Stream stream) {
  const auto entry = find(exec);
  if (!entry || entry->captured) return;
  {
    Lock lock(mutex_);
    // One name for the streams of all threads.
    entry->last = stream == driver::kPerThreadStream ? kForgotten : stream;
    entry->last_ours = false;
  }
  router_.launched_on(stream);
}

}  // namespace barswap::session

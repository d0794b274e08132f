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

}  // namespace

std::shared_ptr<FarGraphs::Entry> FarGraphs::find(driver::Exec exec) {
  Lock lock(mutex_);
  const auto found = entries_.find(exec);
  return found == entries_.end() ? nullptr : found->second;
}

// The clone is of this moment: the program may change its own, and destroy it.
void FarGraphs::take(Entry& entry, driver::Graph graph) {
  const Submission inside(true, Says::nothing);  // the driver may look addresses up
  auto clone = verbs_.clone(graph);
  if (!clone) return;
  auto nodes = verbs_.chain_of(graph, *clone);
  if (!nodes || nodes->empty() || nodes->size() > kNodesMost) return verbs_.destroy(*clone);
  entry.clone = *clone;
  entry.nodes = std::move(*nodes);
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

void FarGraphs::changed(driver::Exec exec, driver::Node node, const driver::KernelChange& change) {
  const auto entry = find(exec);
  if (!entry || entry->home) return;
  const auto found =
      std::find_if(entry->nodes.begin(), entry->nodes.end(),
                   [&](const driver::GraphNode& one) { return one.original == node; });
  const bool known = found != entry->nodes.end() && found->function == change.function;
  if (!known || !verbs_.change(found->node, change)) return left(exec);
  if (entry->ours == driver::Exec::none) return;
  if (!verbs_.change(entry->ours, found->node)) left(exec);
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
  if (entry->done != driver::Event::none) verbs_.destroy(entry->done);
  Lock lock(mutex_);
  entries_.erase(exec);
}

void FarGraphs::all_gone() {
  Lock lock(mutex_);
  entries_.clear();
}

// It may be asked after no more. What it held may still be running.
void FarGraphs::forget(driver::Stream stream) {
  Lock lock(mutex_);
  for (auto& [exec, entry] : entries_)
    if (entry->last == stream) entry->last = kForgotten;
}

// What is in flight ends, and is freed then.
void FarGraphs::drop_ours(Entry& entry) {
  if (entry.ours != driver::Exec::none) verbs_.destroy(entry.ours);
  entry.ours = driver::Exec::none;
}

void FarGraphs::drop(Entry& entry) {
  drop_ours(entry);
  if (entry.clone != driver::Graph::none) verbs_.destroy(entry.clone);
  entry.clone = driver::Graph::none;
  entry.nodes.clear();
  entry.dies.clear();
}

// Where its bytes lie is looked at before the second launch, and again after pages have moved, ever
// more seldom.
void FarGraphs::look(Entry& entry, Reach& reach) {
  const std::uint64_t moved = stats::get(stats::live().drains);
  if (entry.launches < entry.next_look || (entry.looked && moved == entry.moved)) return;
  entry.looked = true;
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
  const std::vector<Die> dies = router_.plan_nodes(named);
  if (dies == entry.dies) return;
  drop_ours(entry);
  if (!make(entry, dies)) {
    BARSWAP_LOG(debug, "session", "a graph of %zu nodes stays on its die", entry.nodes.size());
    drop(entry);
    entry.home = true;
  }
}

// False: the driver would not have it so. Nothing of it was launched.
bool FarGraphs::make(Entry& entry, const std::vector<Die>& dies) {
  const driver::RelaxedCapture relaxed(verbs_);
  const Submission inside(true, Says::nothing);
  const Die home = router_.home();
  std::size_t away = 0;
  for (std::size_t i = 0; i < entry.nodes.size(); ++i) {
    const driver::GraphNode& node = entry.nodes[i];
    if (dies[i] != home) ++away;
    if (dies[i] == entry.dies[i]) continue;
    const auto there = router_.there(node.function, dies[i]);
    if (!there || !verbs_.place(node.node, there->kernel, there->context)) return false;
    entry.dies[i] = dies[i];
  }
  if (away == 0) return true;
  auto made = verbs_.instantiate(entry.clone, entry.flags);
  if (!made) return false;
  entry.ours = *made;
  BARSWAP_LOG(debug, "session", "a graph of %zu nodes runs %zu of them on other dies",
              entry.nodes.size(), away);
  return true;
}

driver::Exec FarGraphs::choose(driver::Exec exec, driver::Stream stream, Reach& reach) {
  const auto entry = find(exec);
  if (!entry) return exec;
  ++entry->launches;
  const bool may = !entry->home && router_.graph_may_leave(stream);
  if (may && entry->launches > 1) look(*entry, reach);
  bool ours = may && entry->ours != driver::Exec::none;
  if (ours && entry->done == driver::Event::none) {
    auto made = verbs_.make_event();
    if (made) entry->done = *made;
    else ours = false;
  }
  // Launches of one executable graph come one after another, whatever their streams. Those of the
  // other one are ordered by hand, or that stays for now.
  if (entry->last != driver::Stream::none && entry->last != stream && ours != entry->last_ours) {
    if (entry->last_ours) {
      if (!verbs_.wait(stream, entry->done)) router_.graph_lost();
    } else {
      auto idle = entry->last == kForgotten ? Result<bool>(false) : verbs_.idle(entry->last);
      ours = idle && *idle;
    }
  }
  return ours ? entry->ours : exec;
}

void FarGraphs::launched(driver::Exec exec, driver::Exec chosen, driver::Stream stream) {
  const auto entry = find(exec);
  if (!entry) return;
  entry->last = stream;
  entry->last_ours = chosen != exec;
  if (chosen == exec) return;
  if (!verbs_.record(entry->done, stream)) router_.graph_lost();
  router_.graph_left(stream, entry->done, entry->dies);
}

}  // namespace barswap::session

#include "session/parted_graphs.hpp"

#include <algorithm>

#include "barswap/log.hpp"
#include "session/door.hpp"
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

std::shared_ptr<PartedGraphs::Entry> PartedGraphs::find(driver::Exec exec) {
  Lock lock(mutex_);
  const auto found = entries_.find(exec);
  return found == entries_.end() ? nullptr : found->second;
}

// The clone is of this moment: the program may change its own, and destroy it.
void PartedGraphs::take(Entry& entry, driver::Graph graph) {
  const Submission inside(true);  // the driver may look addresses up
  auto clone = verbs_.clone(graph);
  if (!clone) return;
  auto nodes = verbs_.chain_of(graph, *clone);
  if (!nodes || nodes->empty() || nodes->size() > kNodesMost) return verbs_.destroy(*clone);
  entry.clone = *clone;
  entry.nodes = std::move(*nodes);
  for (std::size_t i = 0; i < entry.nodes.size(); ++i)
    entry.places.emplace(entry.nodes[i].original, i);
  entry.dies.assign(entry.nodes.size(), parting_.home());
  entry.looked = false;
}

void PartedGraphs::made(driver::Exec exec, driver::Graph graph, std::uint64_t flags) {
  gone(exec);
  if (!parting_.parts() || !verbs_.plain_graph(flags)) return;
  auto entry = std::make_shared<Entry>();
  entry->flags = flags;
  auto context = verbs_.current();
  if (!context) return;
  entry->context = *context;
  take(*entry, graph);
  if (entry->clone == driver::Graph::none) return;
  any_.store(true, std::memory_order_relaxed);
  Lock lock(mutex_);
  entries_[exec] = std::move(entry);
}

void PartedGraphs::updated(driver::Exec exec, driver::Graph graph) {
  const auto entry = find(exec);
  if (!entry || entry->home) return;
  drop(*entry);
  if (++entry->updates > kUpdatesMost) entry->home = true;
  else take(*entry, graph);
  entry->home = entry->home || entry->clone == driver::Graph::none;
  entry->next_look = entry->launches + 1;
}

void PartedGraphs::changed(driver::Exec exec, driver::Node node,
                           const driver::KernelChange& change) {
  const auto entry = find(exec);
  if (!entry || entry->home) return;
  const auto found = entry->places.find(node);
  if (found == entry->places.end()) return left(exec);
  const driver::GraphNode& known = entry->nodes[found->second];
  // Who changes its graph all the time need not pay for a second one.
  if (entry->parts.empty() && ++entry->changes > kChangesMost) return left(exec);
  if (known.function != change.function || !parting_.may_run(change, entry->dies[found->second]) ||
      !this->change(*entry, found->second, change))
    left(exec);
}

// In the clone, for what will be made of it, and in what was.
bool PartedGraphs::change(Entry& entry, std::size_t node, const driver::KernelChange& change) {
  if (!verbs_.change(entry.nodes[node].node, change)) return false;
  if (entry.parts.empty()) return true;
  const GraphPart& part = part_of(entry, node);
  const driver::Node placed = entry.placed[node];
  if (part.graph != driver::Graph::none && !verbs_.change(placed, change)) return false;
  return static_cast<bool>(verbs_.change(part.exec, placed));
}

GraphPart& PartedGraphs::part_of(Entry& entry, std::size_t node) {
  return *std::find_if(entry.parts.rbegin(), entry.parts.rend(),
                       [&](const GraphPart& part) { return part.first <= node; });
}

void PartedGraphs::left(driver::Exec exec) {
  const auto entry = find(exec);
  if (!entry) return;
  drop(*entry);
  entry->home = true;
}

void PartedGraphs::gone(driver::Exec exec) {
  const auto entry = find(exec);
  if (!entry) return;
  drop(*entry);
  Lock lock(mutex_);
  if (entry->done != driver::Event::none) spare_.push_back({entry->context, entry->done});
  entries_.erase(exec);
}

void PartedGraphs::context_gone(driver::Context context) {
  Lock lock(mutex_);
  std::erase_if(entries_, [&](const auto& known) { return known.second->context == context; });
  std::erase_if(spare_, [&](const Spare& spare) { return spare.context == context; });
}

// It may be asked after no more. What it held may still be running.
void PartedGraphs::forget(driver::Stream stream) {
  Lock lock(mutex_);
  for (auto& [exec, entry] : entries_)
    if (entry->last == stream) entry->last = kForgotten;
}

// What is in flight ends, and is freed then.
void PartedGraphs::drop_ours(Entry& entry) {
  for (const GraphPart& part : entry.parts) {
    if (part.exec != driver::Exec::none) verbs_.destroy(part.exec);
    if (part.graph != driver::Graph::none) verbs_.destroy(part.graph);
  }
  entry.parts.clear();
  entry.placed.clear();
  entry.uploaded = false;
}

void PartedGraphs::drop(Entry& entry) {
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
void PartedGraphs::look(Entry& entry) {
  const std::uint64_t moved = stats::get(stats::live().drains);
  const std::uint64_t judged = parting_.judged();
  const bool due = entry.launches >= entry.next_look && moved != entry.moved;
  if (entry.looked && !due && judged == entry.judged) return;
  entry.looked = true;
  entry.judged = judged;
  entry.moved = moved;
  entry.next_look = 2 * entry.launches;
  GraphPlan plan = parting_.plan(entry.nodes);
  if (entry.missed >= kMissedMost) plan.cuts.clear();
  if (plan.dies == entry.dies && same(plan.cuts, entry.cuts)) return;
  drop_ours(entry);
  entry.cuts = std::move(plan.cuts);
  if (!make(entry, plan.dies)) {
    BARSWAP_LOG(debug, "session", "a graph of %zu nodes stays one", entry.nodes.size());
    drop(entry);
    entry.home = true;
  }
}

// False: the driver would not have it so. Nothing of it was launched.
bool PartedGraphs::make(Entry& entry, const std::vector<Die>& dies) {
  const Submission inside(true);
  const Die home = parting_.home();
  std::size_t away = 0;
  for (std::size_t i = 0; i < entry.nodes.size(); ++i) {
    const driver::GraphNode& node = entry.nodes[i];
    const bool kernel = node.function != driver::Function::none;
    if (dies[i] != home && kernel) ++away;
    if (dies[i] == entry.dies[i]) continue;
    // Copies and fills are the same wherever they are launched.
    const auto there = kernel ? parting_.there(node.function, dies[i]) : std::nullopt;
    if (kernel && (!there || !verbs_.place(node.node, there->kernel, there->context))) return false;
    entry.dies[i] = dies[i];
  }
  entry.away = away;
  if (away == 0 && entry.cuts.empty()) return true;
  for (GraphPart& part : parts_of(entry))
    if (!make_part(entry, std::move(part))) return false;
  BARSWAP_LOG(debug, "session", "a graph of %zu nodes runs %zu of them on other dies, in %zu parts",
              entry.nodes.size(), away, entry.parts.size());
  for (const GraphPart& part : entry.parts)
    BARSWAP_LOG(debug, "session", "%zu nodes from %zu on die %d, %zu ranges along", part.count,
                part.first, index_of(part.die), part.along.size());
  return true;
}

std::vector<GraphPart> PartedGraphs::parts_of(const Entry& entry) const {
  std::vector<GraphPart> parts;
  auto cut = entry.cuts.begin();
  for (std::size_t i = 0; i < entry.dies.size(); ++i) {
    const bool carries = cut != entry.cuts.end() && cut->node == i;
    if (parts.empty() || carries || parts.back().die != entry.dies[i])
      parts.push_back({i, 0, driver::Graph::none, driver::Exec::none, entry.dies[i], {}});
    ++parts.back().count;
    if (carries) parts.back().along = (cut++)->along;
  }
  if (parts.size() <= parting_.most_parts()) return parts;
  return {{0, entry.dies.size(), driver::Graph::none, driver::Exec::none, parting_.home(), {}}};
}

bool PartedGraphs::make_part(Entry& entry, GraphPart part) {
  driver::Graph graph = entry.clone;
  if (part.count == entry.nodes.size()) {
    for (const driver::GraphNode& node : entry.nodes) entry.placed.push_back(node.node);
  } else {
    auto some = verbs_.part_of(entry.clone, entry.nodes, part.first, part.count);
    if (!some) return false;
    part.graph = graph = some->graph;
    entry.placed.insert(entry.placed.end(), some->nodes.begin(), some->nodes.end());
  }
  auto made = verbs_.instantiate(graph, entry.flags);
  if (made) part.exec = *made;
  entry.parts.push_back(std::move(part));
  return made.has_value();
}

bool PartedGraphs::has_event(Entry& entry) {
  if (entry.done != driver::Event::none) return true;
  {
    Lock lock(mutex_);
    const auto found = std::find_if(spare_.begin(), spare_.end(), [&](const Spare& spare) {
      return spare.context == entry.context;
    });
    if (found != spare_.end()) {
      entry.done = found->event;
      spare_.erase(found);
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
bool PartedGraphs::follows_on(Entry& entry, driver::Stream stream, bool ours) {
  {
    Lock lock(mutex_);
    if (entry.last == driver::Stream::none || entry.last == stream) return ours;
    if (!entry.last_ours) {
      if (!ours || entry.last == kForgotten) return false;
      auto idle = verbs_.idle(entry.last);
      return idle && *idle;
    }
  }
  if (!verbs_.wait(stream, entry.done)) parting_.lost_order();
  return ours;
}

bool PartedGraphs::choose(driver::Exec exec, driver::Stream stream) {
  const auto entry = find(exec);
  if (!entry) return false;
  const driver::RelaxedCapture relaxed(verbs_);
  auto captured = verbs_.capturing(stream);
  entry->captured = !captured || *captured;
  if (entry->captured) return false;
  ++entry->launches;
  auto context = verbs_.current();
  const bool may =
      !entry->home && context && *context == entry->context && parting_.may_part(stream);
  if (may && entry->launches >= parting_.from_launch()) look(*entry);
  const bool ours = may && !entry->parts.empty() && has_event(*entry) && has_room(*entry);
  return follows_on(*entry, stream, ours);
}

// Else the program's own comes behind what is in flight.
bool PartedGraphs::has_room(Entry& entry) {
  if (entry.ahead + entry.parts.size() <= parting_.most_ahead()) return true;
  auto ended = verbs_.ready(entry.done);
  if (!ended || !*ended) return false;
  entry.ahead = 0;
  return true;
}

// What can be refused is, before anything is launched.
bool PartedGraphs::prepare_parts(Entry& entry, driver::Stream stream) {
  std::uint32_t dies = 0;
  for (const GraphPart& part : entry.parts) dies |= 1u << index_of(part.die);
  if (!parting_.can_hop(stream, dies)) return false;
  if (entry.uploaded) return true;
  Die at = parting_.home();
  for (const GraphPart& part : entry.parts) {
    auto there = parting_.hop(stream, at, part.die);
    at = part.die;
    if (!there || !parting_.upload(part, *there)) return false;
  }
  entry.uploaded = parting_.hop(stream, at, parting_.home()).has_value();
  return entry.uploaded;
}

// What is not there is read from afar; also when others wait for us.
void PartedGraphs::prepare(Entry& entry, const GraphPart& part, driver::Stream stream) {
  const std::span<const driver::GraphNode> nodes(entry.nodes);
  if (parting_.prepare(part, nodes.subspan(part.first, part.count), stream)) {
    if (!part.along.empty()) entry.missed = 0;
    return;
  }
  if (parting_.turnstile().waited_for()) return;
  entry.looked = entry.looked && ++entry.missed != kMissedMost;
}

// Nothing of the graph was launched, if that is the answer.
std::optional<int> PartedGraphs::launch_parts(Entry& entry, driver::Stream stream) {
  Die at = parting_.home();
  for (const GraphPart& part : entry.parts) {
    if (part.first > 0) prepare(entry, part, stream);
    auto there = parting_.hop(stream, at, part.die);
    auto launched = there ? parting_.launch(part, *there, stream) : there.error();
    const bool sticky = !launched && driver::sticky(launched.error());
    if (!launched && !sticky && part.first == 0) {
      (void)parting_.hop(stream, part.die, parting_.home());
      return std::nullopt;
    }
    if (there && !launched && !sticky && after_out_of_memory())
      launched = parting_.launch(part, *there, stream);
    at = part.die;
    if (launched) continue;
    return parting_.lost(launched.error());
  }
  const auto back = parting_.hop(stream, at, parting_.home());
  return back ? 0 : parting_.lost(back.error());
}

std::optional<int> PartedGraphs::launch(driver::Exec exec, driver::Stream stream) {
  const auto entry = find(exec);
  if (!entry || entry->parts.empty()) return std::nullopt;
  const driver::RelaxedCapture relaxed(verbs_);
  for (const GraphPart& part : entry->parts)
    if (part.die != parting_.home()) parting_.await_room(part.die);
  prepare(*entry, entry->parts.front(), stream);
  std::optional<int> code;
  {
    const Turnstile::Held held(parting_.turnstile());
    if (held.ours() && parting_.begin()) {
      if (prepare_parts(*entry, stream)) code = launch_parts(*entry, stream);
      if (!code) left(exec);
      parting_.end();
    }
    // Something of another thread may be between the parts: no wrong bytes without a word.
    if (code == 0 && !held.lasts()) code = parting_.lost(Error{Fault::busy});
    // Before anybody else goes on.
    if (code == 0) ended_with(*entry, stream);
  }
  // The program's own comes behind what ours did.
  if (!code) (void)follows_on(*entry, stream, false);
  return code;
}

void PartedGraphs::ended_with(Entry& entry, driver::Stream stream) {
  if (!verbs_.record(entry.done, stream)) parting_.lost_order();
  entry.ahead += entry.parts.size();
  {
    Lock lock(mutex_);
    entry.last = stream;
    entry.last_ours = true;
  }
  parting_.launched_on(stream);
  parting_.ended(stream, entry.done, entry.dies, entry.away);
}

void PartedGraphs::launched(driver::Exec exec, driver::Stream stream) {
  const auto entry = find(exec);
  if (!entry || entry->captured) return;
  {
    Lock lock(mutex_);
    // One name for the streams of all threads.
    entry->last = stream == driver::kPerThreadStream ? kForgotten : stream;
    entry->last_ours = false;
  }
  parting_.launched_on(stream);
}

}  // namespace barswap::session

// What the router knows of graphs: on which dies their kernels run, and what is carried between.
#include <algorithm>

#include "session/door.hpp"
#include "session/reach.hpp"
#include "session/router.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"

namespace barswap::session {
namespace {

void place(policy::Stretch& stretch, const std::unordered_map<std::uint64_t, Die>& moved) {
  const auto found = moved.find(stretch.first);
  if (found == moved.end()) return;
  stretch.on = {};
  stretch.on[static_cast<std::size_t>(index_of(found->second))] = stretch.bytes;
}

}  // namespace

void Router::plan_graph(std::span<const policy::Route::Often> named) {
  policy::Route::Advice advice;
  {
    Lock lock(mutex_);
    at_ = home_;
    if (stopped_.load(std::memory_order_relaxed)) return;
    advice = route_.graph(home_, named);
  }
  if (!advice.carry.empty()) carry(advice);
}

void Router::make_twins(std::span<const Node> nodes) {
  for (const Node& node : nodes) {
    std::optional<Twins::Wanted> wanted;
    {
      Lock lock(mutex_);
      if (node.function != driver::Function::none) wanted = kernels_.wanted(node.function);
    }
    if (wanted) make_twin(*wanted);
  }
}

// Once through the nodes, as `route` knows them. `moved`: where what was carried lies by then.
// False: the graph cannot be parted as it would have to be.
bool Router::plan_round(std::span<const Node> nodes, policy::Route& route, Moved& moved,
                        GraphPlan& plan) {
  const std::uint32_t at_home = 1u << index_of(home_), open = open_dies();
  Die at = plan.dies.empty() ? home_ : plan.dies.back();
  plan = {};
  for (const Node& node : nodes) {
    Die die = at;  // copies and fills come as they come
    if (node.function != driver::Function::none) {
      RouteNames names = node.names;
      for (std::size_t i = 0; i < names.count; ++i) place(names.stretches[i], moved);
      const bool stays =
          kept_by({node.function, driver::Stream::none, node.tied}, names).has_value();
      auto advice = route.launch(at, stays ? at_home : open, names.all());
      if (pager_.settings().chaos && !stays) at_random(open, names, advice);
      die = at = advice.die;
      if (!advice.carry.empty() && !node.follows) {
        for (const policy::Stretch& stretch : advice.carry) moved[stretch.first] = die;
        plan.cuts.push_back({plan.dies.size(), std::move(advice.carry)});
      }
    }
    // The two cannot part, and one of them may have no choice.
    if (node.follows && !plan.dies.empty() && die != plan.dies.back()) return false;
    plan.used |= 1u << index_of(die);
    plan.dies.push_back(die);
  }
  return true;
}

// Each graph is judged by itself, launched again and again: what comes along is found in the first
// round, where it lies from then on in the second.
GraphPlan Router::plan_open(std::span<const Node> nodes) {
  constexpr int kRounds = 3;
  const std::uint32_t at_home = 1u << index_of(home_);
  Lock lock(mutex_);
  policy::Route route;
  Moved moved;
  GraphPlan plan;
  for (int round = 0; round < kRounds; ++round) {
    if (!plan_round(nodes, route, moved, plan)) return GraphPlan::whole(nodes.size(), home_);
    route.again();
  }
  if ((plan.used & ~at_home) == 0) plan.cuts.clear();
  return plan;
}

GraphPlan Router::plan_nodes(std::span<const Node> nodes) {
  make_twins(nodes);
  for (;;) {
    GraphPlan plan = plan_open(nodes);
    bool all_open = true;
    for (const Die die : dies_)
      if (die != home_ && (plan.used >> index_of(die) & 1u) != 0) all_open = open(die) && all_open;
    if (all_open) return plan;
    // Refused for good, or by another thread that opens it: that is the next look's.
    Lock lock(mutex_);
    if ((open_dies() & plan.used) == plan.used) return GraphPlan::whole(nodes.size(), home_);
  }
}

GraphPlan Router::plan(std::span<const driver::GraphNode> nodes) {
  std::vector<Node> named;
  for (const driver::GraphNode& node : nodes) {
    Node one{node.function, node.tied, node.follows, {}};
    if (node.function != driver::Function::none) {
      auto work = verbs_.work_of(node.node);
      if (work)
        one.names = session_.reach().route_names(work->function, work->parameters, work->extra);
      else one.tied = true;
    }
    named.push_back(one);
  }
  return plan_nodes(named);
}

bool Router::may_run(const driver::KernelChange& change, Die die) {
  return die == home_ ||
         !session_.reach().route_names(change.function, change.parameters, change.extra).foreign;
}

// What is not carried is read from afar.
bool Router::prepare(const GraphPart& part, std::span<const driver::GraphNode>, driver::Stream) {
  return part.along.empty() ||
         pager_.carry(home_, part.die, part.along) == pager::Pager::Carried::all;
}

bool Router::can_hop(driver::Stream stream, std::uint32_t dies) {
  const Order order{driver::Function::none, stream, false};
  if (!mark_stream(order)) return false;
  Lock lock(mutex_);
  for (const Die die : dies_)
    if (die != home_ && (dies >> index_of(die) & 1u) != 0 && !lane_for(order, die)) return false;
  return true;
}

Result<void> Router::upload(const GraphPart& part, driver::Stream there) {
  const Submission inside{Submission::Away{}};
  return verbs_.upload(part.exec, there);
}

Result<void> Router::launch(const GraphPart& part, driver::Stream there, driver::Stream) {
  const Submission inside{Submission::Away{}};
  BARSWAP_TRY_VOID(verbs_.launch(part.exec, there));
  if (part.die == home_) return {};
  Lock lock(mutex_);
  lanes_[slot(part.die)].unheard = true;
  count_launch(lanes_[slot(part.die)], there);
  return {};
}

// What is submitted to the answer comes after all that was submitted to the stream's end on `from`.
Result<driver::Stream> Router::hop(driver::Stream stream, Die from, Die to) {
  const Order order{driver::Function::none, stream, false};
  if (from == to && to == home_) return stream;
  driver::Event event = driver::Event::none;
  if (from == home_ && from != to) {
    const auto marked = mark_stream(order);
    if (!marked) return Error{Fault::busy};
    event = *marked;
  }
  Lock lock(mutex_);
  const auto left = from == home_ ? std::optional(stream) : lane_for(order, from);
  const auto there = to == home_ ? std::optional(stream) : lane_for(order, to);
  if (!left || !there) return Error{Fault::not_supported};
  if (from == to) return *there;
  if (from != home_) {
    event = lanes_[slot(from)].back;
    const driver::Entered entered(verbs_, lanes_[slot(from)].context);
    BARSWAP_TRY_VOID(entered.outcome());
    BARSWAP_TRY_VOID(verbs_.record(event, *left));
  }
  BARSWAP_TRY_VOID(verbs_.wait(*there, event));
  return *there;
}

std::optional<Parting::There> Router::there(driver::Function function, Die die) {
  Lock lock(mutex_);
  if (die == home_) return There{function, pager_.contexts().only_one()};
  if (!kernels_.prepare(function, home_, die)) return std::nullopt;
  return There{kernels_.kernel_of(function), lanes_[slot(die)].context};
}

bool Router::may_part(driver::Stream stream) {
  if (!routes() || turnstile().broken() || !session_.reach().wanted()) return false;
  if (stream == driver::kPerThreadStream) return false;
  if (!session_.ordered_here(stream)) return false;
  Lock lock(mutex_);
  if (std::find(tied_.begin(), tied_.end(), stream) != tied_.end()) return false;
  return !session_.outside().addressed() && !pager_.contexts().capturing() &&
         !others_at_work(stream);
}

void Router::ended(driver::Stream stream, driver::Event done, std::span<const Die> dies,
                   std::uint64_t away) {
  std::uint64_t changes = 0;
  Die at = home_;
  Lock lock(mutex_);
  for (const Die die : dies) {
    if (die != home_) lanes_[slot(die)].unheard = true;
    changes += die != at ? 1 : 0;
    at = die;
  }
  far_ = {stream, done, true};
  stats::add(stats::live().routed, away);
  stats::add(stats::live().die_changes, changes + (at != home_ ? 1 : 0));
}

void Router::lost_order() { stop(BARSWAP_KEPT_REFUSED, "an event of ours was refused"); }

int Router::lost(Error error) {
  lose(error);
  return lost_away.load();
}

}  // namespace barswap::session

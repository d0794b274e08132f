#include "sim/graph_run.hpp"

#include <algorithm>
#include <map>

#include "sim/machine.hpp"

namespace barswap::sim {

bool GraphRun::ready(const Part& part) const {
  return !part.done && std::all_of(part.after.begin(), part.after.end(),
                                   [&](std::size_t i) { return parts[i].done; });
}

bool GraphRun::works_on(int on, std::uintptr_t base, std::size_t bytes) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
    if (part.done || !part.enabled || !part.op) return false;
    return (part.op->own ? part.op->own->die : die) == on && part.op->may_touch(base, bytes);
  });
}

bool GraphRun::may_touch(std::uintptr_t base, std::size_t bytes) const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
    return part.op && part.op->may_touch(base, bytes);
  });
}

bool GraphRun::wants_host() const {
  return std::any_of(parts.begin(), parts.end(), [&](const Part& part) {
    return ready(part) && part.enabled && part.op != nullptr && part.op->wants_host();
  });
}

Progress GraphRun::step(Machine& machine, bool host_allowed) {
  std::vector<std::size_t> candidates;
  bool all_done = true;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    all_done = all_done && parts[i].done;
    if (ready(parts[i])) candidates.push_back(i);
  }
  if (all_done) return Progress::Done;
  const std::size_t first = machine.scheduler().random().below(candidates.size());
  for (std::size_t i = 0; i < candidates.size(); ++i) {
    Part& part = parts[candidates[(first + i) % candidates.size()]];
    if (part.op == nullptr || !part.enabled) {
      part.done = true;
      return Progress::More;
    }
    if (part.op->wants_host() && !host_allowed) continue;
    part.op->context = part.op->own ? part.op->own : context;
    part.op->die = part.op->own ? part.op->own->die : die;
    part.op->start_ns = start_ns;
    const Progress progress = part.op->step(machine, host_allowed);
    if (progress == Progress::Stalled) continue;
    cost_ns = part.op->cost_ns;
    engine = part.op->engine;
    part.done = progress == Progress::Done;
    return Progress::More;
  }
  return Progress::Stalled;
}

std::unique_ptr<Op> GraphRun::clone() const {
  auto copy = std::make_unique<GraphRun>();
  copy->context = context;
  copy->die = die;
  for (const Part& part : parts)
    copy->parts.push_back(
        {part.op == nullptr ? nullptr : part.op->clone(), part.after, part.enabled, false});
  return copy;
}

namespace {

bool acyclic(const GraphRun& run) {
  std::vector<bool> done(run.parts.size());
  for (std::size_t round = 0; round < run.parts.size(); ++round)
    for (std::size_t i = 0; i < run.parts.size(); ++i)
      done[i] = done[i] || std::all_of(run.parts[i].after.begin(), run.parts[i].after.end(),
                                       [&](std::size_t before) { return done[before]; });
  return std::all_of(done.begin(), done.end(), [](bool each) { return each; });
}

}  // namespace

std::unique_ptr<GraphRun> make_run(const Graph& graph) {
  auto run = std::make_unique<GraphRun>();
  std::map<std::size_t, std::size_t> position;
  for (const auto& node : graph.nodes) {
    if (node->removed) continue;
    position[node->number] = run->parts.size();
    run->parts.push_back({node->op == nullptr ? nullptr : node->op->clone(), {}, true, false});
  }
  for (const auto& node : graph.nodes) {
    if (node->removed) continue;
    for (const std::size_t before : node->after)
      if (const auto found = position.find(before); found != position.end())
        run->parts[position[node->number]].after.push_back(found->second);
  }
  return acyclic(*run) ? std::move(run) : nullptr;
}

}  // namespace barswap::sim

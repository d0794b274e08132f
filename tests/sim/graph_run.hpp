// A graph as one piece of work in a stream: its nodes run in seeded order, each after those it
// follows.
#pragma once

#include "sim/objects.hpp"

namespace barswap::sim {

struct GraphRun : Op {
  struct Part {
    std::unique_ptr<Op> op;
    std::vector<std::size_t> after;
    bool enabled = true;
    bool done = false;
  };
  std::vector<Part> parts;

  Progress step(Machine& machine, bool host_allowed) override;
  std::unique_ptr<Op> clone() const override;
  bool wants_host() const override;
  bool may_touch(std::uintptr_t base, std::size_t bytes) const override;
  bool works_on(int on, std::uintptr_t base, std::size_t bytes) const override;

 private:
  bool ready(const Part& part) const;
};

// The graph's nodes as work that can be launched again and again. Null if an edge makes a cycle.
std::unique_ptr<GraphRun> make_run(const Graph& graph);

}  // namespace barswap::sim

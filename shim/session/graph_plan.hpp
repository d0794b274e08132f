// How a graph runs on several dies: what the router decides and far graphs do.
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy/route.hpp"

namespace barswap::session {

// Before that node these are carried to its die.
struct GraphCut {
  std::size_t node = 0;
  std::vector<policy::Stretch> along;
};

struct GraphPlan {
  std::vector<Die> dies;       // of each node
  std::vector<GraphCut> cuts;  // in the order of their nodes
  std::uint32_t used = 0;      // a bit for each die
};

}  // namespace barswap::session

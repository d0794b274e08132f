// The inside of a run: its pages and what is known of them. Private to this room.
#pragma once
#include <cstdint>
#include <vector>

#include "pager/frames.hpp"
#include "pager/pager.hpp"

namespace barswap::pager {

struct Page {
  Address address{};
  Frame frame;
};

// Guarded by Pager::pages_, but for what never changes after birth. While `moving` is set, only the
// mover may change `pages`, and nobody may bury the run.
struct Run {
  Die home{0};
  RunKind kind = RunKind::small;
  policy::Place place = policy::Place::automatic;
  std::uint64_t order = 0;
  Address base{};
  std::uint64_t bytes = 0;
  std::vector<Page> pages;
  std::size_t index = 0;     // in Pager::runs_
  std::uint32_t moving = 0;  // jobs in hand on its pages
  bool live = true;          // the program holds it
  bool pinned = false;
};

}  // namespace barswap::pager

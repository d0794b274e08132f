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
  // On the host, while the frame is not: what the page held when `print` was taken of it.
  Frame copy;
  Fingerprint print;
  // Mapped to nothing: behind the veil, or after a turn beside work. Written under Rank::mover
  // while the run counts as moving; who finds it not moving, under Rank::pages, may read it.
  bool hidden = false;
  bool printed = false;  // if hidden: its frame has the bytes that `print` was taken of
  std::uint8_t written = 0;  // moves in that keep no copy, since the last one was in vain
};

// Guarded by Pager::pages_, but for what never changes after birth. While `moving` is set, only the
// mover may change `pages`, and nobody may bury the run.
struct Run {
  bool reached_from(Die die) const { return (reach >> index_of(die) & 1u) != 0; }
  std::vector<Die> reachers() const {
    std::vector<Die> dies;
    for (int i = 0; i < kDiesMax; ++i)
      if (reached_from(Die{i})) dies.push_back(Die{i});
    return dies;
  }
  std::uint64_t bytes_in(Tier tier) const {
    std::uint64_t sum = 0;
    for (const Page& page : pages)
      if (page.frame.tier == tier) sum += page.frame.bytes;
    return sum;
  }
  std::uint64_t host_bytes() const { return bytes_in(Tier::host); }

  // A frame of it that is not in HBM of its own die though the policy did not ask for that.
  bool spilled(const Frame& frame) const {
    return frame.tier != Tier::hbm && place != policy::Place::stream;
  }
  bool has_spilled() const {
    for (const Page& page : pages)
      if (spilled(page.frame)) return true;
    return false;
  }

  Die home{0};
  RunKind kind = RunKind::small;
  policy::Place place = policy::Place::automatic;
  std::uint64_t order = 0;
  Address base{};
  std::uint64_t bytes = 0;
  std::uint64_t page_bytes = 0;  // of all but perhaps the last
  std::vector<Page> pages;
  std::uint32_t reach = 0;   // a bit for each die that was granted its pages, and pays for tables
  std::size_t index = 0;     // in Pager::runs_
  std::uint32_t moving = 0;  // jobs in hand on its pages
  bool live = true;          // the program holds it
  bool pinned = false;
  bool pinning = false;  // it is being brought in for that
};

}  // namespace barswap::pager

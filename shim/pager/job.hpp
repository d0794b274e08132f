// One move of one page, from choice to end. Private to this room.
#pragma once
#include <optional>

#include "pager/pager.hpp"
#include "pager/run.hpp"

namespace barswap::pager {

// Aliases of one batch; more pages than this would not fit a bounded batch anyway.
constexpr std::size_t kJobsMax = 64;

struct Pager::Job {
  // It goes further away, or from one frame outside HBM to another of that tier; else it comes
  // nearer, or stays in HBM.
  bool leaves() const { return target != Tier::hbm && target >= old.tier; }

  Run* run = nullptr;
  std::size_t page = 0;
  Cause cause = Cause::headroom;
  Tier target = Tier::host;  // while nothing is reserved, Tier::peer stands for the host as well
  std::optional<Die> on;     // with Tier::peer: on that die, and nowhere else
  Address address{};       // of the page
  Frame old;               // behind it when chosen
  Frame fresh;             // will be behind it
  Address alias{};         // where the fresh frame is mapped for the copy, if `staged`
  // What is known of the copy that it leaves for, which is then its fresh frame.
  enum class Copy : std::uint8_t { none, kept, asked, same, changed };
  Copy copy = Copy::none;
  Fingerprint print;       // of that copy; or of what came in, if `printed`
  bool printed = false;
  bool keeps = false;      // its page will leave again soon: a copy would serve
  std::uint64_t far_bytes = 0;  // of those that came over other dies' links
  bool reserved = false;   // fresh is ours
  bool staged = false;
  bool moved = false;
  bool running = false;    // its copy may not have ended: frame and alias stay as they are for good
  bool lost = false;       // the driver would not let go of the fresh frame; it is never used again
  // Beside running work (beside.cpp).
  Address source{};        // where its host frame can be read
  bool held = false;       // takes part; work that names its range waits
  bool open = false;       // the page is mapped to nothing at this moment
  bool landed = false;     // its bytes are in the fresh frame
  bool outlet = false;     // the fresh frame is mapped at outlet_of(), for a copy out
};

}  // namespace barswap::pager

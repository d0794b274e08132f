// Detours: ways from the host into a die's HBM over the links of other dies. A copy uses the link
// of the die whose memory it writes to, whoever issues it (580.159), so a detour has two stages:
// from the host into a bounce frame in the other die's HBM, by a stream of our own context there,
// and on from there by a stream of the page's own die, which alone reaches the page's new frame.
//
// It owns the bounce frames, their addresses, and a stream and events in the context of the pages'
// die. All calls are made under Rank::mover. It never knows whether a copy has ended: whoever sent
// it finds out by the events that it hands out.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "driver/verbs.hpp"
#include "pager/contexts.hpp"
#include "pager/frames.hpp"

namespace barswap::pager {

// One way, over the link of `die`.
struct Detour {
  static constexpr std::size_t kSlots = 4;
  Die die{0};
  // Our context there, of whose objects nobody else makes use: no page has its home there.
  ContextEntry far;
  driver::Context home = driver::Context::none;  // where the page's die works
  driver::Stream onward = driver::Stream::none;  // in `home`, as are the events
  std::array<driver::Event, kSlots> emptied{};   // by the last second stage of each slot
  std::array<driver::Event, ContextEntry::kMarks> marks{};
  Frame bounce;
  Address address{};  // of the bounce frame; it stays reserved
  std::uint64_t address_bytes = 0;
  std::uint64_t sent = 0;      // pieces, ever
  bool running = false;        // something was sent that was not seen to end
  std::uint64_t tried_ns = 0;  // when there was no room last
};

class Detours {
 public:
  Detours(const driver::Verbs& verbs, Frames& frames) : verbs_(verbs), frames_(frames) {}

  // What a bounce frame takes of a die with such a budget; 0: too little to be worth it.
  static std::uint64_t bounce_bytes(std::uint64_t budget_bytes);
  // How much of it a die does not hold yet. From any thread.
  std::uint64_t missing_bytes(Die die) const;

  // Whether prepare() would have something to make, as far as can be told.
  bool lacks(const ContextEntry& home, const std::vector<ContextEntry>& all) const;
  // Makes what is missing, in the current context, which is that of `home`; all is idle and the
  // gate is open. A way that cannot be made is left out for a while.
  void prepare(const ContextEntry& home, const std::vector<ContextEntry>& all);
  // Those that stand now.
  std::vector<Detour*> ways(const ContextEntry& home, const std::vector<ContextEntry>& all);

  // Queues a copy in both stages; `to` is reached by the home die, `from` by the other one. What
  // was queued before a refusal runs.
  Result<void> send(Detour& way, Address to, Address from, std::uint64_t bytes);
  // Everything that was ever sent has ended.
  void all_ended();

  // The die's HBM is wanted; true if that freed some.
  bool give_up(Die die);
  // Its objects are gone.
  void forget(driver::Context context);

 private:
  bool make_objects(Detour& way, driver::Context home) const;
  bool make_bounce(Detour& way, Die home);

  const driver::Verbs& verbs_;
  Frames& frames_;
  std::array<Detour, kDiesMax> ways_;
  std::array<std::atomic<std::uint64_t>, kDiesMax> held_bytes_{};
};

}  // namespace barswap::pager

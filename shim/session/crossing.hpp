// Crossing: copies between dies, and work on one die that a stream of another ordered. Virtual
// memory is reachable only from dies that were granted access, while plain device memory is copied
// by the driver wherever it lies; this restores that. It owns two bounce buffers in host memory and
// guards them with Rank::crossing while a copy is submitted. It never waits for the device, and is
// never given a stream that captures: our own streams would join the capture.
#pragma once
#include <functional>
#include <optional>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "pager/pager.hpp"

namespace barswap::session {

class Crossing {
 public:
  Crossing(const driver::Verbs& verbs, pager::Pager& pager) : verbs_(verbs), pager_(pager) {}
  Crossing(const Crossing&) = delete;
  Crossing& operator=(const Crossing&) = delete;

  // The die that work on `stream` runs on; its context need not be the current one.
  Result<Die> die_of(driver::Stream stream) const;
  // Bytes from one die's memory to another's, in the order of `stream`.
  Result<void> copy(Address to, Die to_die, Address from, Die from_die, std::uint64_t bytes,
                    driver::Stream stream);
  // Whether work on `die` reaches the memory of `home`.
  bool reaches(Die die, Die home) const { return die == home || pager_.granted(home, die); }

  // Submits work to a stream of `die` after all that `stream` holds, and makes `stream` wait for
  // it.
  template <class Work>
  Result<void> on(Die die, driver::Stream stream, Work work) {
    const auto entry = pager_.contexts().on(die);
    if (!entry) return Error{Fault::not_supported};
    const Lane program = BARSWAP_TRY(lane_of(stream));
    BARSWAP_TRY_VOID(follow(ours(*entry), program));
    {
      const driver::Entered entered(verbs_, entry->context);
      if (!entered.ok()) return Error{Fault::not_supported};
      BARSWAP_TRY_VOID(work(entry->copier));
    }
    return follow(program, ours(*entry));
  }

 private:
  struct Bounce {
    Address address{};          // none: not made yet
    std::uint32_t granted = 0;  // a bit for each die
    bool in_hbm = false;
  };
  static constexpr std::uint64_t kPieceBytes = 4_MiB;
  // A stream with the context in which its events are made. An event is of one context, and only a
  // stream of that context can record it.
  struct Lane {
    driver::Stream stream;
    driver::Context context;
  };

  // Both buffers exist, and both dies reach them.
  Result<void> make_bounces(Die from, Die to, bool borrows) BARSWAP_REQUIRES(mutex_);
  Result<void> make(Bounce& bounce, Die near, bool borrows) BARSWAP_REQUIRES(mutex_);
  Result<void> submit_pieces(Address to, const pager::ContextEntry& target, Address from,
                             const pager::ContextEntry& source, std::uint64_t bytes)
      BARSWAP_REQUIRES(mutex_);
  static Lane ours(const pager::ContextEntry& entry) { return {entry.copier, entry.context}; }
  Result<Lane> lane_of(driver::Stream stream) const;
  // `behind` waits for what `ahead` holds now.
  Result<void> follow(const Lane& behind, const Lane& ahead);

  const driver::Verbs& verbs_;
  pager::Pager& pager_;
  Mutex<Rank::crossing> mutex_;
  Bounce bounces_[2] BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

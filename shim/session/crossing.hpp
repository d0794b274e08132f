// Crossing: copies between dies, and work on one die that a stream of another ordered. Virtual
// memory is reachable only from dies that were granted access, while plain device memory is copied
// by the driver wherever it lies; this restores that. It owns two bounce buffers in host memory and
// guards them with Rank::crossing while a copy is submitted. It never waits for the device.
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

  // Bytes from one die's memory to another's, in the order of `stream`, whose context is current.
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
    BARSWAP_TRY_VOID(follow(entry->copier, entry->context, stream));
    {
      const driver::Entered entered(verbs_, entry->context);
      if (!entered.ok()) return Error{Fault::not_supported};
      BARSWAP_TRY_VOID(work(entry->copier));
    }
    return follow_back(stream, entry->copier, entry->context);
  }

 private:
  struct Bounce {
    Address address{};          // none: not made yet
    std::uint32_t granted = 0;  // a bit for each die
  };
  static constexpr std::uint64_t kPieceBytes = 4_MiB;

  // Both buffers exist, and both dies reach them.
  Result<void> make_bounces(Die from, Die to) BARSWAP_REQUIRES(mutex_);
  Result<void> make(Bounce& bounce, Die near) BARSWAP_REQUIRES(mutex_);
  Result<void> submit_pieces(Address to, const pager::ContextEntry& target, Address from,
                             const pager::ContextEntry& source, std::uint64_t bytes)
      BARSWAP_REQUIRES(mutex_);
  // `behind`, of context `other`, waits for what `ahead`, of the current context, holds now.
  Result<void> follow(driver::Stream behind, driver::Context other, driver::Stream ahead);
  Result<void> follow_back(driver::Stream behind, driver::Stream ahead, driver::Context other);

  const driver::Verbs& verbs_;
  pager::Pager& pager_;
  Mutex<Rank::crossing> mutex_;
  Bounce bounces_[2] BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

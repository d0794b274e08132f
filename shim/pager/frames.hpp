// Frames: the memory behind pages. Owns the budget of each die, the limit of the host tier, the
// frames that are made and unused ("warm" in HBM, "prepared" on the host), guarded by Rank::frames.
// It knows neither addresses nor pages. No lock is held while the driver makes or releases a frame.
//
// Accounting comes first: bytes are claimed, then the frame is made, and a refusal gives the claim
// back. A refusal of HBM by the driver lowers the die's budget: it is a ceiling, never the
// program's error.
#pragma once
#include <atomic>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "policy/options.hpp"

namespace barswap::pager {

struct Frame {
  driver::Handle handle = driver::Handle::none;
  std::uint64_t bytes = 0;
  Tier tier = Tier::hbm;
  Die die{0};  // whose HBM it is, with Tier::hbm and Tier::peer
  bool rdma_capable = false;
};

class Frames {
 public:
  explicit Frames(const driver::Verbs& verbs) : verbs_(verbs) {}

  void set_budget(Die die, std::uint64_t budget_bytes);
  // `limit` is a size, or a share of the memory that is available at each growth.
  void set_host(bool enabled, const policy::Amount& limit);

  // `keep_free_bytes` of the budget stay untouched by this call.
  Result<Frame> take_hbm(Die die, std::uint64_t bytes, std::uint64_t keep_free_bytes);
  // As take_hbm, for pages of another die.
  Result<Frame> take_lent(Die lender, std::uint64_t bytes, std::uint64_t keep_free_bytes);
  Result<Frame> take_rdma(Die die, std::uint64_t bytes);
  Result<Frame> take_host(Die near, std::uint64_t bytes);
  // For a buffer that the driver would have of its own: counted, and made past the tier's limit.
  Result<Frame> take_buffer(Die near, std::uint64_t bytes) { return make_host(near, bytes, true); }
  // The same in HBM, past the budget: of what is left to the driver.
  Result<Frame> take_hbm_buffer(Die die, std::uint64_t bytes) {
    return make_hbm(die, bytes, false, true);
  }
  // For reuse, as long as the budget holds.
  void give_back(const Frame& frame);
  // To the driver, and off the books.
  void destroy(const Frame& frame);

  // Where a host frame can always be read by the dies that are named when this is first asked, and
  // by nobody written; it stays there as long as the frame lives. Called by one thread at a time.
  Result<Address> alias(const Frame& frame, std::span<const Die> dies);

  // Makes one host frame of `bytes` ahead of need; false when there are enough of this size, or no
  // room.
  bool prepare_host(Die near, std::uint64_t bytes, std::uint64_t target_bytes);
  // Gives one prepared frame of `bytes` back to the driver if there are more than `target_bytes`.
  bool trim_host(std::uint64_t bytes, std::uint64_t target_bytes);

  std::uint64_t budget(Die die) const;     // in force: less what is outside and page tables
  std::uint64_t used(Die die) const;       // frames behind pages
  std::uint64_t lent(Die die) const;       // of these: behind pages of other dies
  std::uint64_t held(Die die) const;       // all frames, unused ones too
  std::uint64_t free_hbm(Die die) const;   // what pages may still take
  std::uint64_t host_bytes() const;
  std::uint64_t host_prepared() const;
  std::uint64_t host_prepared(std::uint64_t size_bytes) const;  // in frames of this size
  std::uint64_t host_copies() const;       // of pages in HBM: nobody would miss them
  std::uint64_t host_needed() const;       // without those two
  bool host_room() const;                  // the tier holds no more than it may
  std::uint64_t host_limit() const;        // most the tier may hold now
  bool host_enabled() const;
  // The driver gives no kind of host memory that a die can read.
  bool host_refused() const {
    return host_kind_.load(std::memory_order_relaxed) == driver::HostKind::none;
  }

  // Device memory that the driver keeps for the program counts against the budget.
  void outside_grew(Die die, std::uint64_t bytes);
  void outside_shrank(Die die, std::uint64_t bytes);
  // Page tables: 4 KiB entries for host pages cost HBM on every die that maps them.
  void host_mapped(Die die, std::int64_t bytes);
  std::uint64_t host_mapped(Die die) const;

  void copies_changed(std::int64_t bytes);

  // Gives warm or prepared frames to the driver; the bytes released.
  std::uint64_t release_warm(Die die);
  std::uint64_t release_prepared();
  // The driver refused a frame: what we hold now is all there is.
  void cap_budget_at_held(Die die);
  // The driver needs room for itself: the budget shrinks by `bytes`, at most to half of its first
  // value.
  void lower_budget(Die die, std::uint64_t bytes);

  // Everything unused goes back; for the end of a test.
  void release_all();

  struct Totals {
    std::uint64_t hbm_frames_bytes, host_frames_bytes;
  };
  Totals totals() const;

 private:
  struct DieBooks {
    std::uint64_t budget_bytes = 0, start_budget_bytes = 0;
    std::uint64_t held_bytes = 0;  // frames behind pages and warm ones
    std::uint64_t warm_bytes = 0;
    std::uint64_t lent_bytes = 0;
    std::uint64_t outside_bytes = 0;
    std::uint64_t host_mapped_bytes = 0;
    std::multimap<std::uint64_t, driver::Handle> warm;
  };
  std::uint64_t in_force(const DieBooks& books) const BARSWAP_REQUIRES(mutex_);
  std::uint64_t host_limit_locked() const BARSWAP_REQUIRES(mutex_);
  Result<Frame> make_host(Die near, std::uint64_t bytes, bool past_limit);
  Result<Frame> make_hbm(Die die, std::uint64_t bytes, bool rdma, bool past_limit);
  void release(driver::Handle handle);

  const driver::Verbs& verbs_;
  mutable Mutex<Rank::frames> mutex_;
  DieBooks dies_[kDiesMax] BARSWAP_GUARDED_BY(mutex_);
  bool host_enabled_ BARSWAP_GUARDED_BY(mutex_) = false;
  policy::Amount host_limit_ BARSWAP_GUARDED_BY(mutex_);
  std::uint64_t host_held_bytes_ BARSWAP_GUARDED_BY(mutex_) = 0;
  std::uint64_t host_prepared_bytes_ BARSWAP_GUARDED_BY(mutex_) = 0;
  std::uint64_t host_copies_bytes_ BARSWAP_GUARDED_BY(mutex_) = 0;
  std::multimap<std::uint64_t, driver::Handle> prepared_ BARSWAP_GUARDED_BY(mutex_);
  struct Alias {
    Address address{};
    std::uint64_t bytes = 0;
    std::vector<Die> dies;
  };
  std::map<driver::Handle, Alias> aliases_ BARSWAP_GUARDED_BY(mutex_);  // of host frames
  // Falls to plain, then to none, when the driver refuses the kind as such.
  std::atomic<driver::HostKind> host_kind_{driver::HostKind::numa};
};

}  // namespace barswap::pager

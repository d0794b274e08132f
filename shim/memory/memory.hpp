// Memory: the address ranges as the program sees them. It owns the arena (address reservations),
// the table of ranges, packed pages and what was freed and waits for its idle proof, all guarded by
// Rank::ranges. It never knows where a page is (pager does) and makes no driver call under its
// lock.
//
// Requests under 1 MiB are packed, 512-byte aligned, into shared pages. Larger ones are runs of
// pages of their own. Freed addresses, pages and slots are used again only after every context that
// could reach them was seen idle.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <vector>

#include "barswap/mutex.hpp"
#include "barswap/units.hpp"
#include "driver/verbs.hpp"
#include "memory/extents.hpp"
#include "pager/pager.hpp"

namespace barswap::memory {

constexpr std::uint64_t kPackedBelowBytes = 1_MiB;
constexpr std::uint64_t kSlotBytes = 512;

struct Range {
  Address base{};
  std::uint64_t asked_bytes = 0;    // as the program said
  std::uint64_t mapping_bytes = 0;  // whole granules, as plain device memory reports
  Die home{0};
  driver::Context context = driver::Context::none;
  std::uint64_t buffer_id = 0;  // unique in the process's life
  bool packed = false;
  bool sync_memops = false;
  pager::Run* run = nullptr;
  // Of memory that the program maps itself; 0: made by cuMemAlloc.
  std::uint64_t handle = 0;
  std::uint32_t readers = 0, writers = 0;  // with a handle: a bit for each die, as the program set
};

class Memory {
 public:
  Memory(const driver::Verbs& verbs, pager::Pager& pager, std::uint64_t granule_bytes,
         std::uint64_t arena_bytes);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Inside an arena, or in memory that the program mapped itself. Lock-free, but for addresses
  // between the program's own mappings.
  bool ours(Address address) const;
  // Costs next to nothing, for words of which few are addresses. False: it is not ours, nor is any
  // that is at most so far from it.
  bool may_be_ours(Address address, std::uint64_t distance_bytes = 0) const {
    const std::uint64_t value = value_of(address);
    return value + distance_bytes >= all_.first.load(std::memory_order_relaxed) &&
           value < all_.end.load(std::memory_order_acquire) + distance_bytes;
  }
  bool in_arena(Address address) const;

  Result<Address> allocate(std::uint64_t bytes, driver::Context context, Die home,
                           policy::Place place);
  // The range that contains or starts at an address.
  std::optional<Range> find(Address address) const;
  std::optional<Range> at(Address base) const;
  // Ends the range. With `idle`, no work of any context can touch it any more.
  bool free(Address base, bool idle);
  // The context is gone, and with it its ranges.
  void drop_context(driver::Context context);
  bool set_sync_memops(Address address, bool on);
  Result<void> pin(Address address);

  // Memory that the program maps itself; Maps (maps.hpp) says when. `claim` takes room in the tiers
  // for what lay() will map, and unclaim() gives it back. lay() births, or lays again what was
  // parked. lift() ends a mapping at once: nobody waits for the device, as bare cuMemUnmap does
  // not. The addresses are the program's and never enter our books of free ones.
  Result<void> claim(Die home, std::uint64_t bytes);
  void unclaim(Die home, std::uint64_t bytes);
  struct Lay {
    std::uint64_t handle = 0;
    Address base{};
    std::uint64_t bytes = 0;
    Die home{0};
    policy::Place place = policy::Place::automatic;
    pager::Run* parked = nullptr;
  };
  // An error: nothing changed. Empty: `parked` is gone, and its room is claimed instead.
  Result<std::optional<pager::Run*>> lay(const Lay& lay);
  // With `keep`, the run stays, parked; else it is buried and its room given back.
  Result<void> lift(const Range& range, bool keep);
  void drop(pager::Run* parked, Die home, std::uint64_t bytes);
  // The program's mappings that touch a stretch, by address.
  std::vector<Range> mapped_within(Address base, std::uint64_t bytes) const;
  void set_access(Address base, Die die, bool read, bool write);

  // Freed runs that are kept for reuse go; true if there was one.
  bool release_cache(Die home);

  // Bytes of ranges that live on a die, in whole slots and granules.
  std::uint64_t held_bytes(Die die) const;
  // Of these: behind handles that are not mapped.
  std::uint64_t claimed_bytes(Die die) const;
  std::size_t count() const;
  // Gives everything back; for the end of a test.
  void clear();

 private:
  struct Slab {
    pager::Run* run = nullptr;
    Die home{0};
    std::uint64_t used_bytes = 0;
  };
  struct Limbo {
    std::uint64_t ticket = 0;
    Range range;
  };
  static constexpr std::uint64_t kSlabBytes = 2_MiB;
  struct Packed {
    // An allocation lies in one slab, whichever slabs are neighbours.
    Extents slots{kSlabBytes};
    std::uint64_t slabs_bytes = 0;
  };

  static std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

  // memory.cpp
  Result<Address> allocate_run(std::uint64_t bytes, Range& range, policy::Place place);
  Result<pager::Run*> birth(pager::Birth request);
  std::uint64_t room(Die home) const;

  // arena.cpp
  std::uint64_t edge_of(std::uint64_t bytes) const;
  std::optional<std::uint64_t> take_addresses(std::uint64_t range_bytes);
  void give_addresses(std::uint64_t start, std::uint64_t bytes) BARSWAP_REQUIRES(mutex_);
  bool grow_arena(std::uint64_t at_least_bytes);

  // ranges.cpp
  void publish(Range& range) BARSWAP_REQUIRES(mutex_);
  void forget(const Range& range) BARSWAP_REQUIRES(mutex_);

  // packed.cpp
  Result<Address> allocate_packed(std::uint64_t bytes, Range& range);
  void reclaim_packed(const Range& range);
  void bury_empty_slabs();

  // cache.cpp
  bool revive_cached(std::uint64_t bytes, Range& range, policy::Place place);
  bool trim_cache(Die home);

  // freed.cpp
  bool wait_for_limbo();
  void reclaim();
  void reclaim_one(const Range& range);
  void bury(pager::Run* run, Address base, std::uint64_t bytes);
  void bury_pending();

  // mapped.cpp
  void account(Die home, std::uint64_t bytes) BARSWAP_REQUIRES(mutex_);
  void discount(Die home, std::uint64_t bytes) BARSWAP_REQUIRES(mutex_);

  const driver::Verbs& verbs_;
  pager::Pager& pager_;
  const std::uint64_t granule_bytes_;
  std::uint64_t arena_bytes_;

  struct Bounds {
    std::atomic<std::uint64_t> first{0}, end{0};  // an end of 0: of nothing
    // Callers are ordered by our lock.
    void widen(std::uint64_t from, std::uint64_t to) {
      const std::uint64_t before = end.load(std::memory_order_relaxed);
      if (before == 0 || from < first.load(std::memory_order_relaxed))
        first.store(from, std::memory_order_relaxed);
      if (to > before) end.store(to, std::memory_order_release);
    }
  };
  static constexpr std::size_t kArenasMax = 64;
  std::array<Bounds, kArenasMax> arenas_;
  std::atomic<std::size_t> arena_count_{0};
  // What all mappings of the program's own have lain in so far; empty while there was none.
  Bounds mapped_;
  // The same of arenas and mappings together.
  Bounds all_;

  mutable Mutex<Rank::ranges> mutex_;
  Extents addresses_ BARSWAP_GUARDED_BY(mutex_);
  std::map<std::uint64_t, Range> ranges_ BARSWAP_GUARDED_BY(mutex_);
  std::map<std::uint64_t, Slab> slabs_ BARSWAP_GUARDED_BY(mutex_);  // by their address
  Packed packed_[kDiesMax] BARSWAP_GUARDED_BY(mutex_);
  std::deque<Limbo> limbo_ BARSWAP_GUARDED_BY(mutex_);
  // Freed runs that stay mapped for the next request of the same size; oldest first.
  struct Cached {
    Die home;
    Address base;
    std::uint64_t bytes;
    pager::Run* run;
  };
  std::deque<Cached> cache_ BARSWAP_GUARDED_BY(mutex_);
  std::vector<Cached> pending_ BARSWAP_GUARDED_BY(mutex_);  // were being moved when buried
  std::uint64_t held_bytes_[kDiesMax] BARSWAP_GUARDED_BY(mutex_) = {};
  std::uint64_t claimed_bytes_[kDiesMax] BARSWAP_GUARDED_BY(mutex_) = {};  // part of held_bytes_
  std::uint64_t next_id_ BARSWAP_GUARDED_BY(mutex_) = 1;
  std::uint64_t next_order_ BARSWAP_GUARDED_BY(mutex_) = 1;
};

}  // namespace barswap::memory

#include "memory/memory.hpp"

#include <algorithm>

#include "barswap/check.hpp"
#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "policy/place.hpp"
#include "stats/stats.hpp"

namespace barswap::memory {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

// How long an allocation waits for memory that was freed and whose last work still runs, before it
// says out-of-memory. Bare cuMemFree would have waited for that work without limit.
constexpr std::uint64_t kLimboWaitNs = 5'000'000'000;
constexpr std::uint64_t kSharedWaitNs = 2'000'000'000;

}  // namespace

Memory::Memory(const driver::Verbs& verbs, pager::Pager& pager, std::uint64_t granule_bytes,
               std::uint64_t arena_bytes)
    : verbs_(verbs), pager_(pager), granule_bytes_(granule_bytes), arena_bytes_(arena_bytes) {}

Memory::~Memory() = default;

bool Memory::ours(Address address) const {
  if (in_arena(address)) return true;
  const std::uint64_t value = value_of(address);
  if (value >= mapped_.end.load(std::memory_order_acquire) ||
      value < mapped_.first.load(std::memory_order_relaxed))
    return false;
  return !mapped_within(address, 1).empty();
}

bool Memory::in_arena(Address address) const {
  const std::size_t count = arena_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i)
    if (value_of(address) - arenas_[i].first.load(std::memory_order_relaxed) <
        arenas_[i].end.load(std::memory_order_relaxed) -
            arenas_[i].first.load(std::memory_order_relaxed))
      return true;
  return false;
}

bool Memory::grow_arena(std::uint64_t at_least_bytes) {
  const std::size_t count = arena_count_.load(std::memory_order_acquire);
  if (count == kArenasMax) return false;
  std::uint64_t bytes = std::max(arena_bytes_, at_least_bytes);
  for (;;) {
    auto base = verbs_.reserve(bytes);
    if (base) {
      Lock lock(mutex_);
      // Two threads may both have grown; each arena counts.
      const std::size_t index = arena_count_.load(std::memory_order_relaxed);
      if (index == kArenasMax) break;
      arenas_[index].first.store(value_of(*base), std::memory_order_relaxed);
      arenas_[index].end.store(value_of(*base) + bytes, std::memory_order_relaxed);
      arena_count_.store(index + 1, std::memory_order_release);
      addresses_.add(value_of(*base), bytes);
      pager_.heat().cover(*base, bytes);
      return true;
    }
    if (bytes == at_least_bytes) return false;
    bytes = std::max(bytes / 2 / granule_bytes_ * granule_bytes_, at_least_bytes);
  }
  return false;
}

std::optional<std::uint64_t> Memory::take_addresses(std::uint64_t bytes) {
  for (int attempt = 0; attempt < 2; ++attempt) {
    {
      Lock lock(mutex_);
      if (auto start = addresses_.take(bytes)) return start;
    }
    if (!grow_arena(bytes)) return std::nullopt;
  }
  return std::nullopt;
}

Result<Address> Memory::allocate(std::uint64_t bytes, driver::Context context, Die home,
                                 policy::Place place) {
  // Larger than any arena: no tier holds this, and rounding must not wrap around.
  if (bytes == 0 || bytes > (1ull << 46)) return Error{Fault::out_of_memory};
  reclaim();
  Range range;
  range.asked_bytes = bytes;
  range.home = home;
  range.context = context;
  auto address =
      bytes < kPackedBelowBytes ? allocate_packed(bytes, range) : allocate_run(bytes, range, place);
  if (!address) {
    if (driver::refused_for_memory(address.error())) {
      stats::add(stats::live().out_of_memory, 1);
      if (pager_.frames().host_refused())
        BARSWAP_LOG_ONCE(warn, "memory",
                         "out of memory: the driver gives no host memory that a die can read, so "
                         "nothing can spill. In a container, allow get_mempolicy and mbind");
      stats::event(BARSWAP_EVENT_OUT_OF_MEMORY, Cause::headroom, home, bytes);
    }
    return address;
  }
  stats::add(stats::live().allocations, 1);
  return address;
}

void Memory::publish(Range& range) {
  range.buffer_id = next_id_++;
  ranges_.emplace(value_of(range.base), range);
  // What a handle holds is counted from its creation to its end, mapped or not.
  if (range.handle != 0) return;
  const std::uint64_t bytes =
      range.packed ? round_up(range.asked_bytes, kSlotBytes) : range.mapping_bytes;
  held_bytes_[slot(range.home)] += bytes;
  barswap_die_stats& die = stats::live().die[slot(range.home)];
  stats::add(die.asked, range.asked_bytes);
  stats::raise_to(die.asked_peak, stats::get(die.asked));
}

void Memory::forget(const Range& range) {
  const std::uint64_t bytes =
      range.packed ? round_up(range.asked_bytes, kSlotBytes) : range.mapping_bytes;
  held_bytes_[slot(range.home)] -= bytes;
  stats::subtract(stats::live().die[slot(range.home)].asked, range.asked_bytes);
  stats::add(stats::live().frees, 1);
  ranges_.erase(value_of(range.base));
}

// What all tiers can still hold for a die, less what handles without a mapping have claimed.
std::uint64_t Memory::room(Die home) const {
  const pager::Frames& frames = pager_.frames();
  const std::uint64_t host_used = frames.host_bytes() - frames.host_prepared();
  const std::uint64_t host_limit = frames.host_limit();
  const std::uint64_t room_bytes =
      frames.free_hbm(home) + host_limit - std::min(host_limit, host_used);
  Lock lock(mutex_);
  std::uint64_t claimed_bytes = claimed_bytes_[slot(home)];
  for (int i = 0; i < kDiesMax; ++i) {
    const std::uint64_t bytes = claimed_bytes_[i];
    // What another die's claims do not find in its own HBM goes to the host.
    if (bytes != 0 && i != index_of(home))
      claimed_bytes += bytes - std::min(bytes, frames.free_hbm(Die{i}));
  }
  return room_bytes - std::min(room_bytes, claimed_bytes);
}

// Makes room before it asks: the cache first, then what waits for its idle proof.
Result<pager::Run*> Memory::birth(pager::Birth request) {
  const bool stays = request.kind != pager::RunKind::large;
  // Flags, counters and locks of a range that several dies reach stay where atomics hold.
  request.never_host = stays && pager_.shared(request.home);
  pager::Frames& frames = pager_.frames();
  while (frames.free_hbm(request.home) < request.bytes && trim_cache(request.home)) {}
  if (stays && frames.free_hbm(request.home) < request.bytes)
    pager_.room_for_small(request.home, request.bytes);
  // Nothing but HBM will do: an instant at which all dies are idle is worth waiting for.
  const std::uint64_t limit_ns = now_ns() + kSharedWaitNs;
  while (request.never_host && frames.free_hbm(request.home) < request.bytes &&
         now_ns() < limit_ns && pager_.can_make_room(request.home)) {
    sleep_ns(200'000);
    pager_.room_for_small(request.home, request.bytes);
  }
  for (;;) {
    if (request.bytes <= room(request.home)) {
      auto run = pager_.birth(request);
      if (run || !driver::refused_for_memory(run.error())) return run;
    }
    bool more = false;
    for (int i = 0; i < kDiesMax; ++i) more = trim_cache(Die{i}) || more;
    if (!more && !wait_for_limbo()) return Error{Fault::out_of_memory};
  }
}

Result<Address> Memory::allocate_run(std::uint64_t bytes, Range& range, policy::Place place) {
  range.mapping_bytes = round_up(bytes, granule_bytes_);
  if (revive_cached(bytes, range, place)) return range.base;
  const auto start = take_addresses(range.mapping_bytes);
  if (!start) return Error{Fault::out_of_memory};
  range.base = static_cast<Address>(*start);
  pager::Birth request;
  request.base = range.base;
  request.bytes = range.mapping_bytes;
  request.home = range.home;
  request.kind = bytes >= policy::kLargeBytes ? pager::RunKind::large : pager::RunKind::small;
  request.place = place;
  {
    Lock lock(mutex_);
    request.order = next_order_++;
  }
  auto run = birth(request);
  Lock lock(mutex_);
  if (!run) {
    addresses_.add(*start, range.mapping_bytes);
    return run.error();
  }
  range.run = *run;
  publish(range);
  return range.base;
}

bool Memory::revive_cached(std::uint64_t bytes, Range& range, policy::Place place) {
  Lock lock(mutex_);
  const auto found = std::find_if(cache_.rbegin(), cache_.rend(), [&](const Cached& cached) {
    return cached.home == range.home && cached.bytes == range.mapping_bytes &&
           (cached.run != nullptr);
  });
  if (found == cache_.rend()) return false;
  range.base = found->base;
  range.run = found->run;
  cache_.erase(std::next(found).base());
  range.asked_bytes = bytes;
  pager_.revive(range.run, place, next_order_++);
  publish(range);
  return true;
}

Result<Address> Memory::allocate_packed(std::uint64_t bytes, Range& range) {
  const std::uint64_t size = round_up(bytes, kSlotBytes);
  range.packed = true;
  range.mapping_bytes = kSlabBytes;
  for (;;) {
    std::uint64_t slabs_bytes = 0;
    {
      Lock lock(mutex_);
      Packed& packed = packed_[slot(range.home)];
      if (const auto start = packed.slots.take(size)) {
        range.base = static_cast<Address>(*start);
        auto slab = std::prev(slabs_.upper_bound(*start));
        slab->second.used_bytes += size;
        range.run = slab->second.run;
        publish(range);
        return range.base;
      }
      slabs_bytes = packed.slabs_bytes;
    }
    const auto start = take_addresses(kSlabBytes);
    if (!start) return Error{Fault::out_of_memory};
    pager::Birth request;
    request.base = static_cast<Address>(*start);
    request.bytes = kSlabBytes;
    request.home = range.home;
    // Packed pages are the last to leave HBM, up to a quarter of the budget; beyond it they are
    // ordinary small pages, or small allocations alone could fill the die.
    request.kind = slabs_bytes + kSlabBytes <= pager_.frames().budget(range.home) / 4
                       ? pager::RunKind::packed
                       : pager::RunKind::small;
    {
      Lock lock(mutex_);
      request.order = next_order_++;
    }
    auto run = birth(request);
    Lock lock(mutex_);
    if (!run) {
      addresses_.add(*start, kSlabBytes);
      return run.error();
    }
    slabs_[*start] = Slab{*run, range.home, 0};
    packed_[slot(range.home)].slabs_bytes += kSlabBytes;
    packed_[slot(range.home)].slots.add(*start, kSlabBytes);
  }
}

std::optional<Range> Memory::find(Address address) const {
  Lock lock(mutex_);
  auto after = ranges_.upper_bound(value_of(address));
  if (after == ranges_.begin()) return std::nullopt;
  const Range& range = std::prev(after)->second;
  if (value_of(address) - value_of(range.base) >= range.asked_bytes) return std::nullopt;
  return range;
}

std::optional<Range> Memory::at(Address base) const {
  Lock lock(mutex_);
  const auto found = ranges_.find(value_of(base));
  if (found == ranges_.end()) return std::nullopt;
  return found->second;
}

bool Memory::free(Address base, bool idle) {
  Range range;
  {
    Lock lock(mutex_);
    const auto found = ranges_.find(value_of(base));
    if (found == ranges_.end()) return false;
    range = found->second;
    if (range.handle != 0) return false;
    forget(range);
  }
  if (!range.packed) pager_.retire(range.run);
  if (idle) {
    reclaim_one(range);
  } else {
    const std::uint64_t ticket = pager_.contexts().ticket();
    Lock lock(mutex_);
    limbo_.push_back({ticket, range});
  }
  reclaim();
  return true;
}

void Memory::reclaim() {
  pager::Contexts& contexts = pager_.contexts();
  bool waiting = false;
  {
    Lock lock(mutex_);
    waiting = !limbo_.empty();
  }
  if (waiting) pager_.poll_quiet();
  while (waiting) {
    std::optional<Range> ready;
    {
      Lock lock(mutex_);
      if (limbo_.empty() || !contexts.passed(limbo_.front().ticket)) break;
      ready = limbo_.front().range;
      limbo_.pop_front();
    }
    reclaim_one(*ready);
  }
  bury_pending();
}

// All work that could touch it has ended: slot, cache or grave.
void Memory::reclaim_one(const Range& range) {
  if (range.packed) {
    std::optional<std::pair<std::uint64_t, Slab>> empty;
    {
      Lock lock(mutex_);
      const std::uint64_t size = round_up(range.asked_bytes, kSlotBytes);
      auto slab = std::prev(slabs_.upper_bound(value_of(range.base)));
      Packed& packed = packed_[slot(range.home)];
      packed.slots.add(value_of(range.base), size);
      slab->second.used_bytes -= size;
      // One empty slab stays, so that a program that allocates and frees one buffer pays nothing.
      if (slab->second.used_bytes == 0 && packed.slots.free_bytes() >= 2 * kSlabBytes) {
        BARSWAP_CHECK(packed.slots.take_at(slab->first, kSlabBytes));
        packed.slabs_bytes -= kSlabBytes;
        empty = *slab;
        slabs_.erase(slab);
      }
    }
    if (empty) bury(empty->second.run, static_cast<Address>(empty->first), kSlabBytes);
    return;
  }
  // A run kept for the next request costs HBM that a spilled page could use.
  const bool keep = !pager_.pressed(range.home) && pager_.residency(range.run).host_bytes == 0 &&
                    !pager_.pinned(range.run);
  if (!keep) {
    bury(range.run, range.base, range.mapping_bytes);
    return;
  }
  Lock lock(mutex_);
  cache_.push_back({range.home, range.base, range.mapping_bytes, range.run});
}

bool Memory::trim_cache(Die home) {
  Cached oldest{};
  {
    Lock lock(mutex_);
    const auto found = std::find_if(cache_.begin(), cache_.end(),
                                    [&](const Cached& cached) { return cached.home == home; });
    if (found == cache_.end()) return false;
    oldest = *found;
    cache_.erase(found);
  }
  bury(oldest.run, oldest.base, oldest.bytes);
  return true;
}

bool Memory::release_cache(Die home) {
  bool released = false;
  while (trim_cache(home)) released = true;
  return released;
}

void Memory::bury(pager::Run* run, Address base, std::uint64_t bytes) {
  if (pager_.try_bury(run)) {
    Lock lock(mutex_);
    addresses_.add(value_of(base), bytes);
    return;
  }
  Lock lock(mutex_);
  pending_.push_back({Die{0}, base, bytes, run});
}

void Memory::bury_pending() {
  std::vector<Cached> pending;
  {
    Lock lock(mutex_);
    if (pending_.empty()) return;
    pending.swap(pending_);
  }
  for (const Cached& entry : pending) bury(entry.run, entry.base, entry.bytes);
}

// False: nothing is on its way back.
bool Memory::wait_for_limbo() {
  const std::uint64_t limit_ns = now_ns() + kLimboWaitNs;
  for (;;) {
    std::size_t before = 0;
    {
      Lock lock(mutex_);
      before = limbo_.size() + pending_.size();
    }
    if (before == 0 || pager_.contexts().capturing() || now_ns() > limit_ns) return false;
    reclaim();
    {
      Lock lock(mutex_);
      if (limbo_.size() + pending_.size() < before) return true;
    }
    sleep_ns(50'000);
  }
}

void Memory::drop_context(driver::Context context) {
  std::vector<Address> bases;
  {
    Lock lock(mutex_);
    for (const auto& [base, range] : ranges_)
      if (range.context == context) bases.push_back(range.base);
  }
  for (const Address base : bases) (void)free(base, false);
  reclaim();
}

void Memory::account(Die home, std::uint64_t bytes) {
  held_bytes_[slot(home)] += bytes;
  barswap_die_stats& die = stats::live().die[slot(home)];
  stats::add(die.asked, bytes);
  stats::raise_to(die.asked_peak, stats::get(die.asked));
  stats::add(stats::live().allocations, 1);
}

void Memory::discount(Die home, std::uint64_t bytes) {
  held_bytes_[slot(home)] -= bytes;
  stats::subtract(stats::live().die[slot(home)].asked, bytes);
  stats::add(stats::live().frees, 1);
}

Result<void> Memory::claim(Die home, std::uint64_t bytes) {
  reclaim();
  for (;;) {
    if (bytes <= room(home)) {
      Lock lock(mutex_);
      claimed_bytes_[slot(home)] += bytes;
      account(home, bytes);
      return {};
    }
    bool more = false;
    for (int i = 0; i < kDiesMax; ++i) more = trim_cache(Die{i}) || more;
    if (more || wait_for_limbo()) continue;
    stats::add(stats::live().out_of_memory, 1);
    stats::event(BARSWAP_EVENT_OUT_OF_MEMORY, Cause::headroom, home, bytes);
    return Error{Fault::out_of_memory};
  }
}

void Memory::unclaim(Die home, std::uint64_t bytes) {
  Lock lock(mutex_);
  claimed_bytes_[slot(home)] -= bytes;
  discount(home, bytes);
}

Result<std::optional<pager::Run*>> Memory::lay(const Lay& lay) {
  Range range;
  range.base = lay.base;
  range.asked_bytes = range.mapping_bytes = lay.bytes;
  range.home = lay.home;
  range.handle = lay.handle;
  range.run = lay.parked;
  if (lay.parked) {
    const bool laid = BARSWAP_TRY(pager_.unpark(lay.parked, lay.base));
    if (!laid) {
      Lock lock(mutex_);
      claimed_bytes_[slot(lay.home)] += lay.bytes;
      return std::optional<pager::Run*>();
    }
  } else {
    pager::Birth request;
    request.base = lay.base;
    request.bytes = lay.bytes;
    request.home = lay.home;
    request.kind = lay.bytes >= policy::kLargeBytes ? pager::RunKind::large : pager::RunKind::small;
    request.place = lay.place;
    {
      Lock lock(mutex_);
      request.order = next_order_++;
      claimed_bytes_[slot(lay.home)] -= lay.bytes;
    }
    auto run = birth(request);
    if (!run) {
      Lock lock(mutex_);
      claimed_bytes_[slot(lay.home)] += lay.bytes;
      return run.error();
    }
    range.run = *run;
  }
  Lock lock(mutex_);
  publish(range);
  const std::uint64_t first = value_of(range.base), end = first + range.mapping_bytes;
  const bool any = mapped_.end.load(std::memory_order_relaxed) != 0;
  if (!any || first < mapped_.first.load(std::memory_order_relaxed))
    mapped_.first.store(first, std::memory_order_relaxed);
  if (end > mapped_.end.load(std::memory_order_relaxed))
    mapped_.end.store(end, std::memory_order_release);
  return std::optional<pager::Run*>(range.run);
}

Result<void> Memory::lift(const Range& range, bool keep) {
  {
    Lock lock(mutex_);
    ranges_.erase(value_of(range.base));
    if (!keep) discount(range.home, range.mapping_bytes);
  }
  for (;;) {
    if (!keep && pager_.try_bury(range.run)) break;
    if (keep) {
      auto parked = pager_.try_park(range.run);
      if (!parked) return parked.error();
      if (*parked) break;
    }
    // A batch of the mover has pages of it in hand; it ends within its deadline.
    { Lock lock(pager_.mover_mutex()); }
    sleep_ns(20'000);
  }
  return {};
}

void Memory::drop(pager::Run* parked, Die home, std::uint64_t bytes) {
  pager_.drop_parked(parked);
  Lock lock(mutex_);
  discount(home, bytes);
}

std::vector<Range> Memory::mapped_within(Address base, std::uint64_t bytes) const {
  std::vector<Range> found;
  const std::uint64_t first = value_of(base), last = first + std::min(bytes, ~first);
  if (bytes == 0) return found;
  if (first >= mapped_.end.load(std::memory_order_acquire) ||
      last <= mapped_.first.load(std::memory_order_relaxed))
    return found;
  Lock lock(mutex_);
  auto range = ranges_.upper_bound(first);
  if (range != ranges_.begin() &&
      first - std::prev(range)->first < std::prev(range)->second.mapping_bytes)
    --range;
  for (; range != ranges_.end() && range->first < last; ++range)
    if (range->second.handle != 0) found.push_back(range->second);
  return found;
}

void Memory::set_access(Address base, Die die, bool read, bool write) {
  Lock lock(mutex_);
  const auto found = ranges_.find(value_of(base));
  if (found == ranges_.end()) return;
  const std::uint32_t bit = 1u << index_of(die);
  Range& range = found->second;
  range.readers = read ? range.readers | bit : range.readers & ~bit;
  range.writers = write ? range.writers | bit : range.writers & ~bit;
}

bool Memory::set_sync_memops(Address address, bool on) {
  Lock lock(mutex_);
  auto after = ranges_.upper_bound(value_of(address));
  if (after == ranges_.begin()) return false;
  Range& range = std::prev(after)->second;
  if (value_of(address) - value_of(range.base) >= range.asked_bytes) return false;
  range.sync_memops = on;
  return true;
}

Result<void> Memory::pin(Address address) {
  const auto range = find(address);
  if (!range) return Error{Fault::invalid};
  return pager_.pin(range->run);
}

std::uint64_t Memory::held_bytes(Die die) const {
  Lock lock(mutex_);
  return held_bytes_[slot(die)];
}

std::size_t Memory::count() const {
  Lock lock(mutex_);
  return ranges_.size();
}

void Memory::clear() {
  std::vector<Address> bases;
  {
    Lock lock(mutex_);
    for (const auto& [base, range] : ranges_) bases.push_back(range.base);
  }
  for (const Address base : bases) (void)free(base, true);
  while (wait_for_limbo()) {}
  for (int i = 0; i < kDiesMax; ++i)
    while (trim_cache(Die{i})) {}
  std::map<std::uint64_t, Slab> slabs;
  {
    Lock lock(mutex_);
    for (auto slab = slabs_.begin(); slab != slabs_.end();) {
      if (slab->second.used_bytes == 0) {
        BARSWAP_CHECK(packed_[slot(slab->second.home)].slots.take_at(slab->first, kSlabBytes));
        slabs.insert(*slab);
        slab = slabs_.erase(slab);
      } else {
        ++slab;
      }
    }
  }
  for (const auto& [base, slab] : slabs) bury(slab.run, static_cast<Address>(base), kSlabBytes);
  bury_pending();
  const std::size_t count = arena_count_.exchange(0, std::memory_order_acq_rel);
  for (std::size_t i = 0; i < count; ++i)
    (void)verbs_.unreserve(static_cast<Address>(arenas_[i].first.load()),
                           arenas_[i].end.load() - arenas_[i].first.load());
}

}  // namespace barswap::memory

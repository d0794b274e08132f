#include "memory/memory.hpp"

#include <algorithm>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "policy/place.hpp"
#include "stats/stats.hpp"

namespace barswap::memory {
namespace {

constexpr std::uint64_t kSharedWaitNs = 2'000'000'000;

}  // namespace

Memory::Memory(const driver::Verbs& verbs, pager::Pager& pager, std::uint64_t granule_bytes,
               std::uint64_t arena_bytes)
    : verbs_(verbs), pager_(pager), granule_bytes_(granule_bytes), arena_bytes_(arena_bytes) {}

Memory::~Memory() = default;

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

// What all tiers can still hold for a die, less what handles without a mapping have claimed.
std::uint64_t Memory::room(Die home) const {
  const pager::Frames& frames = pager_.frames();
  const std::uint64_t host_used = frames.host_needed();
  const std::uint64_t host_limit = frames.host_limit();
  std::uint64_t lent_bytes = pager_.borrowable(home);
  const std::uint64_t room_bytes =
      frames.free_hbm(home) + host_limit - std::min(host_limit, host_used);
  Lock lock(mutex_);
  std::uint64_t claimed_bytes = claimed_bytes_[slot(home)];
  for (int i = 0; i < kDiesMax; ++i) {
    const std::uint64_t bytes = claimed_bytes_[i];
    if (bytes == 0 || i == index_of(home)) continue;
    // What another die's claims do not find in its own HBM goes to the host; what they do find
    // there it does not lend.
    const std::uint64_t own_bytes = std::min(bytes, frames.free_hbm(Die{i}));
    claimed_bytes += bytes - own_bytes;
    lent_bytes -= std::min(lent_bytes, own_bytes);
  }
  return room_bytes + lent_bytes - std::min(room_bytes + lent_bytes, claimed_bytes);
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
    give_addresses(*start, range.mapping_bytes);
    return run.error();
  }
  range.run = *run;
  publish(range);
  return range.base;
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

std::uint64_t Memory::claimed_bytes(Die die) const {
  Lock lock(mutex_);
  return claimed_bytes_[slot(die)];
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
  bury_empty_slabs();
  bury_pending();
  const std::size_t count = arena_count_.exchange(0, std::memory_order_acq_rel);
  for (std::size_t i = 0; i < count; ++i)
    (void)verbs_.unreserve(static_cast<Address>(arenas_[i].first.load()),
                           arenas_[i].end.load() - arenas_[i].first.load());
}

}  // namespace barswap::memory

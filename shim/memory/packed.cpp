// Packing: requests under 1 MiB share slabs of one page each.
#include <iterator>
#include <map>
#include <optional>

#include "barswap/check.hpp"
#include "memory/memory.hpp"

namespace barswap::memory {

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
      give_addresses(*start, kSlabBytes);
      return run.error();
    }
    slabs_[*start] = Slab{*run, range.home, 0};
    packed_[slot(range.home)].slabs_bytes += kSlabBytes;
    packed_[slot(range.home)].slots.add(*start, kSlabBytes);
  }
}

void Memory::reclaim_packed(const Range& range) {
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
}

void Memory::bury_empty_slabs() {
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
}

}  // namespace barswap::memory

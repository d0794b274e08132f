// The arena: address reservations that never move and are never given back before the end, and the
// lock-free answer to whether an address is ours.
#include <algorithm>

#include "memory/memory.hpp"
#include "policy/place.hpp"

namespace barswap::memory {

bool Memory::in_arena(Address address) const {
  const std::size_t count = arena_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < count; ++i)
    if (value_of(address) - arenas_[i].first.load(std::memory_order_relaxed) <
        arenas_[i].end.load(std::memory_order_relaxed) -
            arenas_[i].first.load(std::memory_order_relaxed))
      return true;
  return false;
}

bool Memory::ours(Address address) const {
  if (in_arena(address)) return true;
  const std::uint64_t value = value_of(address);
  if (value >= mapped_.end.load(std::memory_order_acquire) ||
      value < mapped_.first.load(std::memory_order_relaxed))
    return false;
  return !mapped_within(address, 1).empty();
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
      all_.widen(value_of(*base), value_of(*base) + bytes);
      addresses_.add(value_of(*base), bytes);
      pager_.cover(*base, bytes);
      return true;
    }
    if (bytes == at_least_bytes) return false;
    bytes = std::max(bytes / 2 / granule_bytes_ * granule_bytes_, at_least_bytes);
  }
  return false;
}

// Where work says which ranges it touches, an address at the edge of one is not to name its
// neighbour as well (session::Reach).
std::uint64_t Memory::edge_of(std::uint64_t bytes) const {
  const pager::Settings& settings = pager_.settings();
  const bool guarded = (settings.beside || settings.verify) && bytes >= policy::kLargeBytes;
  return guarded ? pager::kEdgeBytes : 0;
}

void Memory::give_addresses(std::uint64_t start, std::uint64_t bytes) {
  const std::uint64_t edge = edge_of(bytes);
  addresses_.add(start - edge, bytes + 2 * edge);
}

std::optional<std::uint64_t> Memory::take_addresses(std::uint64_t range_bytes) {
  const std::uint64_t edge = edge_of(range_bytes), bytes = range_bytes + 2 * edge;
  for (int attempt = 0; attempt < 2; ++attempt) {
    {
      Lock lock(mutex_);
      if (auto start = addresses_.take(bytes)) return *start + edge;
    }
    if (!grow_arena(bytes)) return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace barswap::memory

// Plain memory: cuMemAlloc and its kin, cut from 2 MiB blocks as the real driver does.
#include <cstring>

#include "sim/memory.hpp"

namespace barswap::sim {
namespace {

constexpr std::size_t alignment_bytes = 512;
constexpr std::size_t small_bytes_max = std::size_t{1} << 20;

}  // namespace

Mapping* Memory::map_block(Context* context, int die, std::size_t bytes, Kind kind) {
  Frame* frame = create_frame(bytes, false, die);
  if (frame == nullptr) return nullptr;
  const std::uintptr_t base = reserve(bytes, granule_bytes, 0);
  if (base == 0) {
    drop_frame_if_unused(frame);
    return nullptr;
  }
  Mapping mapping;
  mapping.base = base;
  mapping.size_bytes = bytes;
  mapping.bytes = frame->bytes;
  mapping.frame = frame;
  mapping.kind = kind;
  mapping.die = die;
  mapping.owner = context;
  for (int other = 0; other < config_.dies; ++other) {
    Access& access = mapping.access[static_cast<std::size_t>(other)];
    access = other == die ? Access::ReadWrite : plain_access(context, other);
  }
  return add_mapping(mapping);
}

void Memory::unmap_block(std::uintptr_t base) {
  const std::size_t bytes = mappings_.at(base).size_bytes;
  remove_mapping(base);
  release_reservation(base, bytes);
}

Allocation* Memory::carve(std::uintptr_t base, Slab& slab, std::size_t bytes) {
  for (auto hole = slab.holes.begin(); hole != slab.holes.end(); ++hole) {
    const auto [offset, size] = *hole;
    if (size < bytes) continue;
    slab.holes.erase(hole);
    if (size > bytes) slab.holes.emplace(offset + bytes, size - bytes);
    slab.used_bytes += bytes;
    Allocation allocation;
    allocation.base = base + offset;
    allocation.held_bytes = bytes;
    return add_allocation(allocation);
  }
  return nullptr;
}

Allocation* Memory::allocate_plain(Context* context, int die, std::size_t bytes, Kind kind) {
  if (bytes > (std::size_t{1} << 46)) return nullptr;
  Allocation* result = nullptr;
  const std::size_t held = round_up(bytes, alignment_bytes);
  if (held <= small_bytes_max) {
    for (auto& [base, slab] : slabs_) {
      if (slab.die != die || slab.context != context || slab.kind != kind) continue;
      if ((result = carve(base, slab, held)) != nullptr) break;
    }
    if (result == nullptr) {
      Mapping* block = map_block(context, die, granule_bytes, kind);
      if (block == nullptr) return nullptr;
      Slab& slab = slabs_.emplace(block->base, Slab{die, context, kind, {{0, granule_bytes}}, 0})
                       .first->second;
      result = carve(block->base, slab, held);
    }
  } else {
    Mapping* block = map_block(context, die, round_up(bytes, granule_bytes), kind);
    if (block == nullptr) return nullptr;
    Allocation allocation;
    allocation.base = block->base;
    allocation.held_bytes = block->size_bytes;
    result = add_allocation(allocation);
  }
  result->asked_bytes = bytes;
  result->kind = kind;
  result->context = context;
  Mapping* mapping = find(result->base);
  std::memset(mapping->bytes + (result->base - mapping->base), config_.poison, result->held_bytes);
  return result;
}

void Memory::free_plain(Allocation* allocation) {
  const std::uintptr_t address = allocation->base;
  const std::size_t held = allocation->held_bytes;
  const std::uintptr_t block = find(address)->base;
  forget_allocation(address);
  const auto found = slabs_.find(block);
  if (found == slabs_.end()) return unmap_block(block);
  Slab& slab = found->second;
  slab.used_bytes -= held;
  if (slab.used_bytes == 0) {
    slabs_.erase(found);
    return unmap_block(block);
  }
  auto hole = slab.holes.emplace(address - block, held).first;
  if (auto next = std::next(hole);
      next != slab.holes.end() && hole->first + hole->second == next->first) {
    hole->second += next->second;
    slab.holes.erase(next);
  }
  if (hole == slab.holes.begin()) return;
  if (auto previous = std::prev(hole); previous->first + previous->second == hole->first) {
    previous->second += hole->second;
    slab.holes.erase(hole);
  }
}

Allocation* Memory::add_allocation(Allocation allocation) {
  allocation.buffer_id = next_id();
  return &allocations_.emplace(allocation.base, allocation).first->second;
}

Allocation* Memory::allocation_at(std::uintptr_t address) {
  auto found = allocations_.upper_bound(address);
  if (found == allocations_.begin()) return nullptr;
  --found;
  const std::size_t size = std::max<std::size_t>(found->second.asked_bytes, 1);
  return address - found->first < size ? &found->second : nullptr;
}

}  // namespace barswap::sim

// Reservations and mappings.
#include <sys/mman.h>

#include <algorithm>

#include "sim/memory.hpp"

namespace barswap::sim {
namespace {

void* reserve_pages(std::uintptr_t hint, std::size_t bytes) {
  return mmap(reinterpret_cast<void*>(hint), bytes, PROT_NONE,
              MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
}

}  // namespace

bool Mapping::live() const {
  return std::any_of(access.begin(), access.end(), [](Access a) { return a != Access::None; });
}

std::uintptr_t Memory::reserve(std::size_t bytes, std::size_t alignment, std::uintptr_t hint) {
  const std::size_t step = std::max(alignment, granule_bytes);
  if (bytes > (std::size_t{1} << 46)) return 0;
  if (hint != 0 && hint % step == 0) {
    void* there = mmap(reinterpret_cast<void*>(hint), bytes, PROT_NONE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    if (there != MAP_FAILED) {
      reservations_.emplace(hint, bytes);
      return hint;
    }
  }
  void* memory = reserve_pages(0, bytes + step);
  if (memory == MAP_FAILED) return 0;
  const auto start = reinterpret_cast<std::uintptr_t>(memory);
  const std::uintptr_t base = round_up(start, step);
  if (base > start) munmap(memory, base - start);
  const std::size_t tail = start + step - base;
  if (tail > 0) munmap(reinterpret_cast<void*>(base + bytes), tail);
  reservations_.emplace(base, bytes);
  return base;
}

CUresult Memory::release_reservation(std::uintptr_t base, std::size_t bytes) {
  const auto found = reservations_.find(base);
  if (found == reservations_.end() || found->second != bytes) return CUDA_ERROR_INVALID_VALUE;
  if (overlaps(base, bytes)) return CUDA_ERROR_INVALID_VALUE;
  munmap(reinterpret_cast<void*>(base), bytes);
  reservations_.erase(found);
  return CUDA_SUCCESS;
}

std::pair<std::uintptr_t, std::size_t> Memory::reservation_at(std::uintptr_t address) const {
  auto found = reservations_.upper_bound(address);
  if (found == reservations_.begin()) return {0, 0};
  --found;
  if (address - found->first >= found->second) return {0, 0};
  return *found;
}

bool Memory::reserved(std::uintptr_t base, std::size_t bytes) const {
  const auto [start, size] = reservation_at(base);
  return size != 0 && bytes <= size - (base - start);
}

Mapping* Memory::add_mapping(Mapping mapping) {
  if (mapping.frame != nullptr) ++mapping.frame->mappings;
  return &mappings_.emplace(mapping.base, mapping).first->second;
}

void Memory::remove_mapping(std::uintptr_t base) {
  const auto found = mappings_.find(base);
  give_cpu(found->second, Access::None);
  Frame* frame = found->second.frame;
  mappings_.erase(found);
  if (frame == nullptr) return;
  --frame->mappings;
  drop_frame_if_unused(frame);
}

Mapping* Memory::find(std::uintptr_t address) {
  auto found = mappings_.upper_bound(address);
  if (found == mappings_.begin()) return nullptr;
  --found;
  return address < found->second.end() ? &found->second : nullptr;
}

bool Memory::overlaps(std::uintptr_t base, std::size_t bytes) {
  const auto next = mappings_.lower_bound(base);
  return find(base) != nullptr || (next != mappings_.end() && next->first < base + bytes);
}

std::vector<Mapping*> Memory::covering(std::uintptr_t base, std::size_t bytes) {
  std::vector<Mapping*> result;
  for (std::uintptr_t at = base; at < base + bytes;) {
    Mapping* mapping = find(at);
    if (mapping == nullptr) return {};
    result.push_back(mapping);
    at = mapping->end();
  }
  return result;
}

// The CPU reaches host-located frames only, and only where it was let in.
void Memory::give_cpu(Mapping& mapping, Access access) {
  if (mapping.kind != Kind::Vmm || (access == Access::None && !mapping.cpu)) return;
  void* address = reinterpret_cast<void*>(mapping.base);
  if (access == Access::None) {
    mmap(address, mapping.size_bytes, PROT_NONE,
         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
  } else {
    mremap(mapping.bytes, 0, mapping.size_bytes, MREMAP_MAYMOVE | MREMAP_FIXED, address);
    if (access == Access::Read) mprotect(address, mapping.size_bytes, PROT_READ);
  }
  mapping.cpu = access != Access::None;
}

std::size_t Memory::vmm_mapping_count() const {
  return static_cast<std::size_t>(
      std::count_if(mappings_.begin(), mappings_.end(),
                    [](const auto& entry) { return entry.second.kind == Kind::Vmm; }));
}

}  // namespace barswap::sim

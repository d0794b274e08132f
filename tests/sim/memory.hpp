// Frames and the address space: what memory there is, where it is mapped, and who may touch it.
//
// Owns every byte that a die or a host-located handle holds. Program addresses are real ones,
// reserved without access, so the CPU cannot read device memory; the bytes lie elsewhere and only
// `resolve` leads there. The machine's lock guards all of it. It never looks at streams.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "sim/config.hpp"

namespace barswap::sim {

struct Context;

enum class Access : std::uint8_t { None = 0, Read = 1, ReadWrite = 3 };

// The memory behind one handle, or behind one mapping of plain memory.
struct Frame {
  std::byte* bytes = nullptr;
  std::size_t size_bytes = 0;
  bool on_host = false;
  int die = 0;
  CUmemAllocationProp properties{};
  std::uint64_t id = 0;
  int handle_references = 0;
  int mappings = 0;
};

enum class Kind : std::uint8_t { Vmm, Plain, Pool, Managed, PinnedHost, RegisteredHost, Global };

struct Mapping {
  std::uintptr_t base = 0;
  std::size_t size_bytes = 0;
  std::byte* bytes = nullptr;
  Frame* frame = nullptr;  // null for registered host memory
  Kind kind = Kind::Vmm;
  bool on_host = false;
  bool cpu = false;  // the CPU was given access
  const Context* owner = nullptr;  // of plain memory
  int die = 0;
  std::array<Access, dies_max> access{};

  std::uintptr_t end() const { return base + size_bytes; }
  bool live() const;
};

// One answer of cuMemAlloc and its kin: what the program asked for.
struct Allocation {
  std::uintptr_t base = 0;
  std::size_t asked_bytes = 0;
  std::size_t held_bytes = 0;
  Kind kind = Kind::Plain;
  Context* context = nullptr;  // null for pool memory
  std::uint64_t buffer_id = 0;
  std::uint64_t pool = 0;
  bool sync_memops = false;
  unsigned host_flags = 0;
};

class Memory {
 public:
  explicit Memory(const Config& config);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  // Bytes a die or the host still has for frames.
  std::size_t total_bytes(int die) const { return capacity_[static_cast<std::size_t>(die)]; }
  std::size_t free_bytes(int die) const;
  std::size_t host_used_bytes() const { return host_used_; }
  bool charge(int die, std::size_t bytes);  // memory without an address: arrays, contexts
  void discharge(int die, std::size_t bytes);
  void lose(int die, std::size_t bytes);

  // Frames. Null when the tier is full. A frame goes when no handle and no mapping holds it.
  Frame* create_frame(std::size_t bytes, bool on_host, int die);
  void drop_frame_if_unused(Frame* frame);
  Frame* frame_of_handle(std::uint64_t handle) const;
  Frame* frame_of_id(std::uint64_t id) const;  // even if no handle is left

  // Reservations.
  std::uintptr_t reserve(std::size_t bytes, std::size_t alignment, std::uintptr_t hint);
  CUresult release_reservation(std::uintptr_t base, std::size_t bytes);
  bool reserved(std::uintptr_t base, std::size_t bytes) const;
  std::pair<std::uintptr_t, std::size_t> reservation_at(std::uintptr_t address) const;

  // Mappings.
  Mapping* add_mapping(Mapping mapping);
  void remove_mapping(std::uintptr_t base);
  Mapping* find(std::uintptr_t address);
  bool overlaps(std::uintptr_t base, std::size_t bytes);
  // Every mapping that touches the range, in order; empty unless together they cover it without a
  // gap.
  std::vector<Mapping*> covering(std::uintptr_t base, std::size_t bytes);
  void give_cpu(Mapping& mapping, Access access);
  std::map<std::uintptr_t, Mapping>& mappings() { return mappings_; }

  // Allocations.
  Allocation* allocation_at(std::uintptr_t address);  // the one that holds the address
  Allocation* allocate_plain(Context* context, int die, std::size_t bytes, Kind kind);
  void free_plain(Allocation* allocation);
  Allocation* add_allocation(Allocation allocation);
  void forget_allocation(std::uintptr_t base) { allocations_.erase(base); }
  std::map<std::uintptr_t, Allocation>& allocations() { return allocations_; }
  std::uint64_t next_id() { return ++last_id_; }

  std::size_t frame_count() const { return frames_.size(); }
  std::size_t handle_count() const;
  std::size_t vmm_mapping_count() const;
  std::size_t reservation_count() const { return reservations_.size(); }

 private:
  struct Slab {  // one 2 MiB block that small requests share
    int die;
    Context* context;
    Kind kind;
    std::map<std::size_t, std::size_t> holes;  // offset to size
    std::size_t used_bytes;
  };
  Mapping* map_block(Context* context, int die, std::size_t bytes, Kind kind);
  void unmap_block(std::uintptr_t base);
  Allocation* carve(std::uintptr_t base, Slab& slab, std::size_t bytes);

  const Config& config_;
  std::array<std::size_t, dies_max> capacity_{};
  std::array<std::size_t, dies_max> used_{};
  std::size_t host_used_ = 0;
  std::uint64_t last_id_ = 0;
  std::unordered_map<std::uint64_t, std::unique_ptr<Frame>> frames_;
  std::map<std::uintptr_t, std::size_t> reservations_;
  std::map<std::uintptr_t, Mapping> mappings_;
  std::map<std::uintptr_t, Allocation> allocations_;
  std::map<std::uintptr_t, Slab> slabs_;
};

inline std::size_t round_up(std::size_t value, std::size_t step) {
  return (value + step - 1) / step * step;
}

// Which contexts a die's peers were admitted by; set by the context family, asked by map_block.
Access plain_access(const Context* owner, int die);

}  // namespace barswap::sim

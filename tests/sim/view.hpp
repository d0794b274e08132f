// How a kernel reaches memory: every address is looked up, and a wrong one throws.
//
// A view lives for one step, under the machine's lock, so its lookups stay true while it lives. It
// counts bytes by distance for the virtual clock.
#pragma once

#include <algorithm>
#include <array>
#include <cstring>
#include <exception>
#include <span>

#include "sim/device_access.hpp"
#include "sim/memory.hpp"

namespace barswap::sim {

// The device's illegal address: sticky on the context whose work met it.
struct IllegalAddress : std::exception {
  IllegalAddress(std::uintptr_t where, bool write, const char* reason_text)
      : address(where), is_write(write), reason(reason_text) {}
  const char* what() const noexcept override { return reason; }
  std::uintptr_t address;
  bool is_write;
  const char* reason;
};

struct Traffic {
  std::uint64_t local_bytes = 0;
  std::uint64_t peer_bytes = 0;
  std::uint64_t host_bytes = 0;
};

class View {
 public:
  View(Memory& memory, int die) : memory_(memory), die_(die) {}

  template <class T>
  BARSWAP_SIM_DEVICE_ACCESS T load(std::uintptr_t address) {
    const Entry& entry = entry_for(address, sizeof(T), false);
    *entry.counter += sizeof(T);
    T value;
    if constexpr (sizeof(T) <= 8) {
      __atomic_load(reinterpret_cast<T*>(entry.bytes + (address - entry.base)), &value,
                    __ATOMIC_RELAXED);
    } else {
      std::memcpy(&value, entry.bytes + (address - entry.base), sizeof(T));
    }
    return value;
  }

  template <class T>
  BARSWAP_SIM_DEVICE_ACCESS void store(std::uintptr_t address, T value) {
    const Entry& entry = entry_for(address, sizeof(T), true);
    *entry.counter += sizeof(T);
    __atomic_store(reinterpret_cast<T*>(entry.bytes + (address - entry.base)), &value,
                   __ATOMIC_RELAXED);
  }

  // Up to `most` words of 64 bits that lie one behind another from an address on: at least one.
  std::span<const std::uint64_t> load_words(std::uintptr_t address, std::uint64_t most) {
    const Entry& entry = entry_for(address, sizeof(std::uint64_t), false);
    const std::uint64_t count =
        std::min(most, (entry.base + entry.size_bytes - address) / sizeof(std::uint64_t));
    *entry.counter += count * sizeof(std::uint64_t);
    return {reinterpret_cast<const std::uint64_t*>(entry.bytes + (address - entry.base)), count};
  }

  const Traffic& traffic() const { return traffic_; }

 private:
  struct Entry {
    std::uintptr_t base = 0;
    std::size_t size_bytes = 0;
    std::byte* bytes = nullptr;
    bool writable = false;
    std::uint64_t* counter = nullptr;
  };

  Entry& entry_for(std::uintptr_t address, std::size_t bytes, bool write) {
    if (address % bytes != 0) throw IllegalAddress(address, write, "misaligned");
    Entry& entry = cache_[(address >> 21) % cache_.size()];
    if (address - entry.base >= entry.size_bytes) [[unlikely]] refill(entry, address, write);
    if (write && !entry.writable) [[unlikely]] throw IllegalAddress(address, write, "read only");
    return entry;
  }

  void refill(Entry& entry, std::uintptr_t address, bool write);

  Memory& memory_;
  int die_;
  Traffic traffic_;
  std::array<Entry, 64> cache_{};
};

// The part of a range that one mapping, or plain host memory, holds.
struct Piece {
  std::byte* bytes = nullptr;
  std::size_t size_bytes = 0;
  bool on_host = true;
  int die = -1;
};

// Finds the bytes behind an address that a copy or memset names: device memory if a mapping holds
// it, otherwise the program's own. Throws if device memory is out of reach.
Piece resolve(Memory& memory, int die, std::uintptr_t address, std::size_t bytes, bool write);

}  // namespace barswap::sim

#include "sim/view.hpp"

namespace barswap::sim {

void View::refill(Entry& entry, std::uintptr_t address, bool write) {
  const Mapping* mapping = memory_.find(address);
  if (mapping == nullptr) throw IllegalAddress(address, write, "not mapped");
  const Access access = mapping->access[static_cast<std::size_t>(die_)];
  if (access == Access::None) throw IllegalAddress(address, write, "no access");
  entry.base = mapping->base;
  entry.size_bytes = mapping->size_bytes;
  entry.bytes = mapping->bytes;
  entry.writable = access == Access::ReadWrite;
  entry.counter = mapping->on_host       ? &traffic_.host_bytes
                  : mapping->die == die_ ? &traffic_.local_bytes
                                         : &traffic_.peer_bytes;
}

Piece resolve(Memory& memory, int die, std::uintptr_t address, std::size_t bytes, bool write) {
  const Mapping* mapping = memory.find(address);
  if (mapping == nullptr) {
    if (memory.reservation_at(address).second != 0)
      throw IllegalAddress(address, write, "not mapped");
    return {reinterpret_cast<std::byte*>(address), bytes, true, -1};
  }
  // The driver copies plain memory of any die; a VMM page only where the page's own die or the
  // copying one was given access.
  Access access = mapping->access[static_cast<std::size_t>(die)];
  if (access == Access::None && !mapping->on_host)
    access = mapping->access[static_cast<std::size_t>(mapping->die)];
  if (access == Access::None) throw IllegalAddress(address, write, "no access");
  if (write && access != Access::ReadWrite) throw IllegalAddress(address, write, "read only");
  const std::size_t left = mapping->end() - address;
  return {mapping->bytes + (address - mapping->base), std::min(bytes, left), mapping->on_host,
          mapping->on_host ? -1 : mapping->die};
}

}  // namespace barswap::sim

// Frames, their bytes and their accounting.
#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>

#include "sim/memory.hpp"

namespace barswap::sim {

Memory::Memory(const Config& config) : config_(config) {
  for (int die = 0; die < config.dies; ++die)
    capacity_[static_cast<std::size_t>(die)] = config.vram_of(die) / granule_bytes * granule_bytes;
}

Memory::~Memory() {
  for (auto& [id, frame] : frames_) munmap(frame->bytes, frame->size_bytes);
  for (auto& [base, bytes] : reservations_) munmap(reinterpret_cast<void*>(base), bytes);
}

std::size_t Memory::free_bytes(int die) const {
  const auto index = static_cast<std::size_t>(die);
  return capacity_[index] > used_[index] ? capacity_[index] - used_[index] : 0;
}

bool Memory::charge(int die, std::size_t bytes) {
  if (bytes > free_bytes(die)) return false;
  used_[static_cast<std::size_t>(die)] += bytes;
  return true;
}

void Memory::discharge(int die, std::size_t bytes) {
  used_[static_cast<std::size_t>(die)] -= bytes;
}

void Memory::lose(int die, std::size_t bytes) {
  std::size_t& capacity = capacity_[static_cast<std::size_t>(die)];
  capacity = capacity > bytes ? capacity - bytes : 0;
}

// Anonymous shared pages: zero at birth, given to the system only when touched, and a second
// address for the CPU can be had of them.
Frame* Memory::create_frame(std::size_t bytes, bool on_host, int die) {
  if (on_host ? bytes > config_.host_bytes - std::min(host_used_, config_.host_bytes)
              : bytes > free_bytes(die))
    return nullptr;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  if (on_host)
    host_used_ += bytes;
  else
    used_[static_cast<std::size_t>(die)] += bytes;
  auto frame = std::make_unique<Frame>();
  frame->bytes = static_cast<std::byte*>(memory);
  frame->size_bytes = bytes;
  frame->on_host = on_host;
  frame->die = die;
  frame->id = next_id();
  Frame* result = frame.get();
  frames_.emplace(frame->id, std::move(frame));
  return result;
}

void Memory::drop_frame_if_unused(Frame* frame) {
  if (frame->handle_references > 0 || frame->mappings > 0) return;
  if (frame->on_host)
    host_used_ -= frame->size_bytes;
  else
    used_[static_cast<std::size_t>(frame->die)] -= frame->size_bytes;
  munmap(frame->bytes, frame->size_bytes);
  frames_.erase(frame->id);
}

Frame* Memory::frame_of_handle(std::uint64_t handle) const {
  const auto found = frames_.find(handle);
  if (found == frames_.end() || found->second->handle_references == 0) return nullptr;
  return found->second.get();
}

Frame* Memory::frame_of_id(std::uint64_t id) const {
  const auto found = frames_.find(id);
  return found == frames_.end() ? nullptr : found->second.get();
}

std::size_t Memory::handle_count() const {
  std::size_t count = 0;
  for (auto& [id, frame] : frames_) count += frame->handle_references > 0 ? 1 : 0;
  return count;
}

}  // namespace barswap::sim

// Plain device memory and pinned host memory.
#include <sys/mman.h>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

CUresult allocate(CUdeviceptr* result, std::size_t bytes) {
  if (result == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  BARSWAP_SIM_TRY(refuse_beside_capture());
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  const Allocation* made = memory().allocate_plain(context, context->die, bytes, Kind::Plain);
  if (made == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  *result = made->base;
  return CUDA_SUCCESS;
}

// Host memory that every die reaches, at the address where the CPU finds it.
void share_with_dies(std::uintptr_t base, std::size_t bytes, Kind kind, Context* context,
                     std::size_t asked, unsigned flags) {
  Mapping mapping;
  mapping.base = base;
  mapping.size_bytes = bytes;
  mapping.bytes = reinterpret_cast<std::byte*>(base);
  mapping.kind = kind;
  mapping.on_host = true;
  mapping.cpu = true;
  for (int die = 0; die < machine().config().dies; ++die)
    mapping.access[static_cast<std::size_t>(die)] = Access::ReadWrite;
  memory().add_mapping(mapping);
  Allocation allocation;
  allocation.base = base;
  allocation.asked_bytes = asked;
  allocation.held_bytes = bytes;
  allocation.kind = kind;
  allocation.context = context;
  allocation.host_flags = flags;
  memory().add_allocation(allocation);
}

CUresult allocate_host(void** result, std::size_t bytes, Kind kind, unsigned flags) {
  if (result == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  BARSWAP_SIM_TRY(refuse_beside_capture());
  if (bytes > (std::size_t{1} << 46)) return CUDA_ERROR_OUT_OF_MEMORY;
  const std::size_t held = round_up(bytes, 4096);
  void* address = mmap(nullptr, held, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (address == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  share_with_dies(address_of(address), held, kind, context, bytes, flags);
  *result = address;
  return CUDA_SUCCESS;
}

CUresult wait_for_users(Context& context) {
  if (!objects().captures.empty()) return CUDA_SUCCESS;
  return machine().wait_for(context, machine().scheduler().everything(&context));
}

}  // namespace

CUresult Machine::free_host(std::uintptr_t base) {
  const Allocation* allocation = memory_.allocation_at(base);
  if (allocation == nullptr || allocation->base != base) return CUDA_ERROR_INVALID_VALUE;
  const Kind kind = allocation->kind;
  const std::size_t held = allocation->held_bytes;
  const std::uintptr_t start = base / 4096 * 4096;
  memory_.forget_allocation(base);
  memory_.remove_mapping(kind == Kind::RegisteredHost ? start : base);
  if (kind != Kind::RegisteredHost) munmap(reinterpret_cast<void*>(base), held);
  return CUDA_SUCCESS;
}

namespace body {

CUresult cuMemAlloc_v2(CUdeviceptr* result, std::size_t bytes) { return allocate(result, bytes); }

CUresult cuMemAllocPitch_v2(CUdeviceptr* result, std::size_t* pitch, std::size_t width,
                            std::size_t height, unsigned element) {
  if (pitch == nullptr || width == 0 || height == 0) return CUDA_ERROR_INVALID_VALUE;
  if (element != 4 && element != 8 && element != 16) return CUDA_ERROR_INVALID_VALUE;
  if (width > (std::size_t{1} << 40) || height > (std::size_t{1} << 40) / width)
    return CUDA_ERROR_OUT_OF_MEMORY;
  const std::size_t row = round_up(width, 512);
  BARSWAP_SIM_TRY(allocate(result, row * height));
  *pitch = row;
  return CUDA_SUCCESS;
}

CUresult cuMemFree_v2(CUdeviceptr address) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  if (address == 0) return CUDA_SUCCESS;
  Allocation* allocation = memory().allocation_at(address);
  if (allocation == nullptr || allocation->base != address) return CUDA_ERROR_INVALID_VALUE;
  if (allocation->kind == Kind::PinnedHost || allocation->kind == Kind::RegisteredHost ||
      allocation->kind == Kind::Global)
    return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(refuse_beside_capture());
  Context* owner = allocation->context == nullptr ? context : allocation->context;
  BARSWAP_SIM_TRY(wait_for_users(*owner));
  // The wait gave the lock away: another thread may have freed it.
  allocation = memory().allocation_at(address);
  if (allocation == nullptr || allocation->base != address) return CUDA_ERROR_INVALID_VALUE;
  machine().release_allocation(*allocation);
  return CUDA_SUCCESS;
}

CUresult cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total_bytes) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  if (free_bytes != nullptr) *free_bytes = memory().free_bytes(context->die);
  if (total_bytes != nullptr) *total_bytes = machine().config().vram_of(context->die);
  return CUDA_SUCCESS;
}

CUresult cuMemHostAlloc(void** result, std::size_t bytes, unsigned flags) {
  return allocate_host(result, bytes, Kind::PinnedHost, flags);
}

CUresult cuMemAllocHost_v2(void** result, std::size_t bytes) {
  return allocate_host(result, bytes, Kind::PinnedHost, 0);
}

CUresult cuMemAllocManaged(CUdeviceptr* result, std::size_t bytes, unsigned flags) {
  if (flags != CU_MEM_ATTACH_GLOBAL && flags != CU_MEM_ATTACH_HOST) return CUDA_ERROR_INVALID_VALUE;
  void* address = nullptr;
  BARSWAP_SIM_TRY(allocate_host(&address, bytes, Kind::Managed, flags));
  *result = address_of(address);
  return CUDA_SUCCESS;
}

CUresult cuMemFreeHost(void* pointer) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  const Allocation* allocation = memory().allocation_at(address_of(pointer));
  if (allocation == nullptr || allocation->kind != Kind::PinnedHost)
    return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(refuse_beside_capture());
  BARSWAP_SIM_TRY(wait_for_users(*context));
  return machine().free_host(address_of(pointer));
}

CUresult cuMemHostRegister_v2(void* pointer, std::size_t bytes, unsigned flags) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  if (pointer == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  const std::uintptr_t start = address_of(pointer) / 4096 * 4096;
  const std::size_t held = round_up(address_of(pointer) + bytes, 4096) - start;
  if (memory().overlaps(start, held)) return CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
  share_with_dies(start, held, Kind::RegisteredHost, context, bytes, flags);
  if (start != address_of(pointer)) {
    memory().forget_allocation(start);
    Allocation allocation;
    allocation.base = address_of(pointer);
    allocation.asked_bytes = bytes;
    allocation.held_bytes = held;
    allocation.kind = Kind::RegisteredHost;
    allocation.context = context;
    allocation.host_flags = flags;
    memory().add_allocation(allocation);
  }
  return CUDA_SUCCESS;
}

CUresult cuMemHostUnregister(void* pointer) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  const Allocation* allocation = memory().allocation_at(address_of(pointer));
  if (allocation == nullptr || allocation->kind != Kind::RegisteredHost ||
      allocation->base != address_of(pointer))
    return CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
  BARSWAP_SIM_TRY(wait_for_users(*context));
  return machine().free_host(address_of(pointer));
}

CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* result, void* pointer, unsigned flags) {
  if (result == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  const Mapping* mapping = memory().find(address_of(pointer));
  if (mapping == nullptr || !mapping->on_host || mapping->kind == Kind::Vmm)
    return CUDA_ERROR_INVALID_VALUE;
  *result = address_of(pointer);
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned* flags, void* pointer) {
  const Allocation* allocation = memory().allocation_at(address_of(pointer));
  if (flags == nullptr || allocation == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *flags = allocation->host_flags;
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

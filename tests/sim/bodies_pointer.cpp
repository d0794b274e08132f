// What the driver says about an address. The answers are those measured on a real die
// (docs/physics.md).
#include <cstring>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

struct Place {
  std::uintptr_t address = 0;
  const Mapping* mapping = nullptr;
  Allocation* allocation = nullptr;
  std::uintptr_t reservation = 0;
  std::size_t reservation_bytes = 0;

  bool vmm() const { return mapping != nullptr && mapping->kind == Kind::Vmm; }
  bool host() const {
    return mapping != nullptr &&
           (mapping->kind == Kind::PinnedHost || mapping->kind == Kind::RegisteredHost);
  }
  bool plain() const { return allocation != nullptr && mapping->kind == Kind::Plain; }
};

// False for an address that the driver does not know.
bool locate(std::uintptr_t address, Place& place) {
  place.address = address;
  place.mapping = memory().find(address);
  std::tie(place.reservation, place.reservation_bytes) = memory().reservation_at(address);
  if (place.mapping == nullptr) return place.reservation_bytes != 0;
  if (place.vmm()) return true;
  place.allocation = memory().allocation_at(address);
  return place.allocation != nullptr;
}

template <class Value>
CUresult answer(void* data, Value value) {
  std::memcpy(data, &value, sizeof value);
  return CUDA_SUCCESS;
}

unsigned memory_type(const Place& place) {
  return place.host() || (place.vmm() && place.mapping->on_host) ? CU_MEMORYTYPE_HOST
                                                                 : CU_MEMORYTYPE_DEVICE;
}

unsigned access_flags(const Place& place) {
  Context* context = nullptr;
  if (machine().need(context) != CUDA_SUCCESS) return 0;
  return static_cast<unsigned>(place.mapping->access[static_cast<std::size_t>(context->die)]);
}

CUresult ask_identity(CUpointer_attribute attribute, const Place& place, void* data) {
  const bool managed = place.mapping->kind == Kind::Managed;
  Context* owner = place.allocation == nullptr ? nullptr : place.allocation->context;
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
      return answer(data, owner == nullptr || managed ? CUcontext{} : owner->handle());
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
      return answer(data, memory_type(place));
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
      return answer(data, CUdeviceptr{place.address});
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
      if (!place.host() && !managed) return CUDA_ERROR_INVALID_VALUE;
      return answer(data, place.address);
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
      return answer(data, unsigned{place.allocation != nullptr && place.allocation->sync_memops});
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
      return answer(data, static_cast<unsigned long long>(
                              place.allocation != nullptr ? place.allocation->buffer_id
                                                          : place.mapping->frame->id));
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
      return answer(data, managed);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
      return answer(data, owner != nullptr         ? owner->die
                          : place.mapping->on_host ? -1
                                                   : place.mapping->die);
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
      return answer(data, place.allocation == nullptr ? std::uint64_t{0} : place.allocation->pool);
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult ask_extent(CUpointer_attribute attribute, const Place& place, void* data) {
  const Frame* frame = place.mapping->frame;
  const bool plain = place.plain();
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
      return answer(data, plain);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
      return answer(data, place.vmm() ? place.reservation : place.allocation->base);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      return answer(data, place.vmm() ? place.reservation_bytes : place.allocation->asked_bytes);
    case CU_POINTER_ATTRIBUTE_MAPPED:
      return answer(data, true);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
      return answer(data, place.vmm() ? unsigned{frame->properties.requestedHandleTypes} : 0u);
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
      return answer(
          data, plain || (place.vmm() && frame->properties.allocFlags.gpuDirectRDMACapable != 0));
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return answer(data, access_flags(place));
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      return answer(data, place.mapping->size_bytes);
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
      return answer(data, place.mapping->base);
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID:
      return answer(data, static_cast<unsigned long long>(
                              frame != nullptr ? frame->id : place.allocation->buffer_id));
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
      return answer(data, plain || (place.vmm() && (frame->properties.allocFlags.usage &
                                                    CU_MEM_CREATE_USAGE_HW_DECOMPRESS) != 0));
    default:
      return CUDA_ERROR_NOT_SUPPORTED;
  }
}

// A reserved address without memory knows only where it is.
CUresult ask_unmapped(CUpointer_attribute attribute, const Place& place, void* data) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MAPPED: return answer(data, false);
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return answer(data, place.reservation);
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: return answer(data, place.reservation_bytes);
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult ask(CUpointer_attribute attribute, const Place& place, void* data) {
  if (attribute < CU_POINTER_ATTRIBUTE_CONTEXT ||
      attribute > CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE)
    return CUDA_ERROR_INVALID_VALUE;
  if (attribute == CU_POINTER_ATTRIBUTE_P2P_TOKENS) return CUDA_ERROR_NOT_SUPPORTED;
  if (place.mapping == nullptr) return ask_unmapped(attribute, place, data);
  const bool identity = attribute <= CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL ||
                        attribute == CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE;
  return identity ? ask_identity(attribute, place, data) : ask_extent(attribute, place, data);
}

// What an attribute that has no answer reads as, among several asked at once.
std::size_t attribute_bytes(CUpointer_attribute attribute) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE:
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS:
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return 4;
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
      return 1;
    default:
      return 8;
  }
}

}  // namespace

namespace body {

CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr address) {
  Place place;
  if (data == nullptr || !locate(address, place)) return CUDA_ERROR_INVALID_VALUE;
  return ask(attribute, place, data);
}

CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** data,
                                CUdeviceptr address) {
  if (attributes == nullptr || data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Place place;
  const bool known = locate(address, place);
  for (unsigned i = 0; i < count; ++i) {
    std::memset(data[i], 0, attribute_bytes(attributes[i]));
    if (known) ask(attributes[i], place, data[i]);
  }
  return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void* value, CUpointer_attribute attribute,
                               CUdeviceptr address) {
  Place place;
  if (value == nullptr || attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS || !locate(address, place))
    return CUDA_ERROR_INVALID_VALUE;
  if (place.allocation == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  place.allocation->sync_memops = *static_cast<const unsigned*>(value) != 0;
  return CUDA_SUCCESS;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr address) {
  if (base == nullptr && bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Place place;
  if (!locate(address, place) || place.mapping == nullptr) return CUDA_ERROR_NOT_FOUND;
  CUdeviceptr start = place.vmm() ? place.mapping->base : place.allocation->base;
  if (place.vmm() && place.mapping->on_host) start = 0;
  if (base != nullptr) *base = start;
  if (bytes != nullptr)
    *bytes = place.vmm() ? place.mapping->size_bytes : place.allocation->asked_bytes;
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

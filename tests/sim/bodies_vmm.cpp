// Virtual memory management, to the letter: a handle is the granule of everything.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

bool whole_granules(std::size_t value) { return value % granule_bytes == 0; }

CUresult check_supported() {
  return machine().config().vmm ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
}

// Where a new handle lies.
CUresult place_of(const CUmemAllocationProp& properties, bool& on_host, int& die) {
  const Config& config = machine().config();
  if (properties.type != CU_MEM_ALLOCATION_TYPE_PINNED) return CUDA_ERROR_INVALID_VALUE;
  on_host = properties.location.type != CU_MEM_LOCATION_TYPE_DEVICE;
  die = 0;
  switch (properties.location.type) {
    case CU_MEM_LOCATION_TYPE_DEVICE:
      die = properties.location.id;
      return die >= 0 && die < config.dies ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
    case CU_MEM_LOCATION_TYPE_HOST:
      if (properties.requestedHandleTypes != CU_MEM_HANDLE_TYPE_NONE)
        return CUDA_ERROR_INVALID_VALUE;
      return config.host && config.host_bytes > 0 ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
    case CU_MEM_LOCATION_TYPE_HOST_NUMA:
      if (properties.location.id != 0) return CUDA_ERROR_INVALID_VALUE;
      return config.host_numa && config.host_bytes > 0 ? CUDA_SUCCESS : CUDA_ERROR_NOT_SUPPORTED;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

// The mappings a range consists of, none of them cut.
std::vector<Mapping*> whole_mappings(std::uintptr_t base, std::size_t bytes) {
  auto result = memory().covering(base, bytes);
  if (result.empty() || result.front()->base != base || result.back()->end() != base + bytes)
    return {};
  for (const Mapping* mapping : result)
    if (mapping->kind != Kind::Vmm) return {};
  return result;
}

CUresult access_of(CUmemAccess_flags flags, Access& access) {
  switch (flags) {
    case CU_MEM_ACCESS_FLAGS_PROT_NONE: access = Access::None; return CUDA_SUCCESS;
    case CU_MEM_ACCESS_FLAGS_PROT_READ: access = Access::Read; return CUDA_SUCCESS;
    case CU_MEM_ACCESS_FLAGS_PROT_READWRITE: access = Access::ReadWrite; return CUDA_SUCCESS;
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult check_grant(const CUmemAccessDesc& grant, const std::vector<Mapping*>& mappings) {
  Access access{};
  BARSWAP_SIM_TRY(access_of(grant.flags, access));
  if (grant.location.type == CU_MEM_LOCATION_TYPE_DEVICE) {
    if (grant.location.id < 0 || grant.location.id >= machine().config().dies)
      return CUDA_ERROR_INVALID_DEVICE;
    for (const Mapping* mapping : mappings)
      if (!mapping->on_host && !machine().config().reaches(grant.location.id, mapping->die))
        return CUDA_ERROR_INVALID_DEVICE;
    return CUDA_SUCCESS;
  }
  if (grant.location.type != CU_MEM_LOCATION_TYPE_HOST &&
      grant.location.type != CU_MEM_LOCATION_TYPE_HOST_NUMA)
    return CUDA_ERROR_INVALID_VALUE;
  const bool all_on_host =
      std::all_of(mappings.begin(), mappings.end(), [](const Mapping* m) { return m->on_host; });
  return all_on_host ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}

}  // namespace

namespace body {

CUresult cuMemGetAllocationGranularity(std::size_t* granularity,
                                       const CUmemAllocationProp* properties,
                                       CUmemAllocationGranularity_flags) {
  BARSWAP_SIM_TRY(check_supported());
  if (granularity == nullptr || properties == nullptr) return CUDA_ERROR_INVALID_VALUE;
  bool on_host = false;
  int die = 0;
  BARSWAP_SIM_TRY(place_of(*properties, on_host, die));
  *granularity = granule_bytes;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressReserve(CUdeviceptr* result, std::size_t bytes, std::size_t alignment,
                             CUdeviceptr hint, unsigned long long flags) {
  BARSWAP_SIM_TRY(check_supported());
  if (result == nullptr || bytes == 0 || !whole_granules(bytes) || flags != 0 ||
      (alignment & (alignment - 1)) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  const std::uintptr_t base = memory().reserve(bytes, alignment, hint);
  if (base == 0) return CUDA_ERROR_OUT_OF_MEMORY;
  *result = base;
  return CUDA_SUCCESS;
}

CUresult cuMemAddressFree(CUdeviceptr base, std::size_t bytes) {
  BARSWAP_SIM_TRY(check_supported());
  if (const Mapping* mapping = memory().find(base);
      mapping != nullptr && mapping->kind != Kind::Vmm)
    return CUDA_ERROR_INVALID_VALUE;
  return memory().release_reservation(base, bytes);
}

CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, std::size_t bytes,
                     const CUmemAllocationProp* properties, unsigned long long flags) {
  BARSWAP_SIM_TRY(check_supported());
  if (handle == nullptr || properties == nullptr || flags != 0 || bytes == 0 ||
      !whole_granules(bytes))
    return CUDA_ERROR_INVALID_VALUE;
  bool on_host = false;
  int die = 0;
  BARSWAP_SIM_TRY(place_of(*properties, on_host, die));
  Frame* frame = memory().create_frame(bytes, on_host, die);
  if (frame == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  frame->properties = *properties;
  frame->handle_references = 1;
  *handle = frame->id;
  return CUDA_SUCCESS;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  Frame* frame = memory().frame_of_handle(handle);
  if (frame == nullptr) return CUDA_ERROR_INVALID_VALUE;
  --frame->handle_references;
  memory().drop_frame_if_unused(frame);
  return CUDA_SUCCESS;
}

CUresult cuMemMap(CUdeviceptr base, std::size_t bytes, std::size_t offset,
                  CUmemGenericAllocationHandle handle, unsigned long long flags) {
  BARSWAP_SIM_TRY(check_supported());
  Frame* frame = memory().frame_of_handle(handle);
  if (frame == nullptr || flags != 0 || offset != 0 || bytes != frame->size_bytes ||
      !whole_granules(base))
    return CUDA_ERROR_INVALID_VALUE;
  if (!memory().reserved(base, bytes) || memory().overlaps(base, bytes))
    return CUDA_ERROR_INVALID_VALUE;
  Mapping mapping;
  mapping.base = base;
  mapping.size_bytes = bytes;
  mapping.bytes = frame->bytes;
  mapping.frame = frame;
  mapping.on_host = frame->on_host;
  mapping.die = frame->die;
  memory().add_mapping(mapping);
  return CUDA_SUCCESS;
}

CUresult cuMemUnmap(CUdeviceptr base, std::size_t bytes) {
  BARSWAP_SIM_TRY(check_supported());
  const auto mappings = whole_mappings(base, bytes);
  if (mappings.empty()) return CUDA_ERROR_INVALID_VALUE;
  for (const Mapping* mapping : mappings) machine().remap_check(*mapping, "cuMemUnmap");
  for (const Mapping* mapping : mappings) memory().remove_mapping(std::uintptr_t{mapping->base});
  return CUDA_SUCCESS;
}

CUresult cuMemSetAccess(CUdeviceptr base, std::size_t bytes, const CUmemAccessDesc* grants,
                        std::size_t count) {
  BARSWAP_SIM_TRY(check_supported());
  if (grants == nullptr || count == 0) return CUDA_ERROR_INVALID_VALUE;
  const auto mappings = whole_mappings(base, bytes);
  if (mappings.empty()) return CUDA_ERROR_INVALID_VALUE;
  for (std::size_t i = 0; i < count; ++i) BARSWAP_SIM_TRY(check_grant(grants[i], mappings));
  for (std::size_t i = 0; i < count; ++i) {
    Access access{};
    BARSWAP_SIM_TRY(access_of(grants[i].flags, access));
    for (Mapping* mapping : mappings) {
      if (grants[i].location.type != CU_MEM_LOCATION_TYPE_DEVICE) {
        memory().give_cpu(*mapping, access);
        continue;
      }
      Access& now = mapping->access[static_cast<std::size_t>(grants[i].location.id)];
      if (now == access) continue;
      // The first grant to a die that could not reach the page disturbs nobody.
      if (now != Access::None) machine().remap_check(*mapping, "cuMemSetAccess");
      now = access;
    }
  }
  return CUDA_SUCCESS;
}

CUresult cuMemGetAccess(unsigned long long* flags, const CUmemLocation* location,
                        CUdeviceptr address) {
  const Mapping* mapping = memory().find(address);
  if (flags == nullptr || location == nullptr || mapping == nullptr || mapping->kind != Kind::Vmm)
    return CUDA_ERROR_INVALID_VALUE;
  if (location->type != CU_MEM_LOCATION_TYPE_DEVICE) {
    *flags = mapping->cpu ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
    return CUDA_SUCCESS;
  }
  if (location->id < 0 || location->id >= machine().config().dies) return CUDA_ERROR_INVALID_DEVICE;
  *flags = static_cast<unsigned long long>(mapping->access[static_cast<std::size_t>(location->id)]);
  return CUDA_SUCCESS;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* address) {
  const Mapping* mapping = memory().find(address_of(address));
  if (handle == nullptr || mapping == nullptr || mapping->kind != Kind::Vmm)
    return CUDA_ERROR_INVALID_VALUE;
  ++mapping->frame->handle_references;
  *handle = mapping->frame->id;
  return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp* properties,
                                                CUmemGenericAllocationHandle handle) {
  const Frame* frame = memory().frame_of_handle(handle);
  if (properties == nullptr || frame == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *properties = frame->properties;
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

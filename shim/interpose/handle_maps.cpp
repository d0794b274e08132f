// Memory that the program makes and maps itself. It stays with the driver, counted, unless the
// policy makes it virtual: then its handles are ours, and a mapping of one is a range at the
// program's address.
#include <cstring>
#include <optional>
#include <vector>

#include "driver/errors.hpp"
#include "interpose/call.hpp"

namespace barswap::interpose::handlers {
namespace {

using memory::Maps;
using memory::OutsideKind;

static_assert(sizeof(CUmemAllocationProp) == sizeof(memory::Properties));

CUresult code_of(const Result<void>& outcome) {
  return outcome ? CUDA_SUCCESS : driver::code_of(outcome.error());
}

bool ours(const Call& call, CUmemGenericAllocationHandle handle) {
  return Maps::is_virtual(handle) && call && call->virtual_maps();
}

// Whether the driver makes such memory here, and in which units: asked once of each description,
// with a real handle of the smallest size. Nothing: the driver shall answer the program itself.
std::optional<std::uint64_t> granule_of(const Call& call, const CUmemAllocationProp& properties,
                                        const memory::Properties& kept) {
  if (const auto known = call->maps().granule_of(kept)) return known;
  const driver::RelaxedCapture relaxed(call->verbs());
  std::size_t granule = 0;
  if (forward<&driver::Api::cuMemGetAllocationGranularity>(
          &granule, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM) != CUDA_SUCCESS ||
      granule == 0)
    return std::nullopt;
  CUmemGenericAllocationHandle probe = 0;
  const CUresult result =
      forward_with_room<&driver::Api::cuMemCreate>(call, &probe, granule, &properties, 0ull);
  // A full die says nothing about the description.
  if (result == CUDA_ERROR_OUT_OF_MEMORY) return granule;
  if (result != CUDA_SUCCESS) return std::nullopt;
  (void)forward<&driver::Api::cuMemRelease>(probe);
  call->maps().learn(kept, granule);
  return granule;
}

// Only plain device memory of a die that we manage; whatever the driver would refuse, it refuses
// itself.
bool can_be_virtual(const Call& call, const CUmemAllocationProp* properties,
                    unsigned long long flags) {
  if (!call || !call->virtual_maps() || !properties || flags != 0 ||
      properties->type != CU_MEM_ALLOCATION_TYPE_PINNED ||
      properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE || properties->location.id < 0 ||
      properties->location.id >= kDiesMax || properties->allocFlags.usage != 0)
    return false;
  const session::DieState* state = call->die_state(Die{properties->location.id});
  return state && state->managed;
}

// A stretch that the program names, and the mappings of ours in it.
struct Stretch {
  std::uint64_t base = 0, bytes = 0;
  std::vector<memory::Range> ranges;

  Stretch(const Call& call, CUdeviceptr pointer, std::size_t size_bytes)
      : base(pointer), bytes(size_bytes) {
    if (call && call->virtual_maps())
      ranges = call->memory().mapped_within(static_cast<Address>(pointer), size_bytes);
  }
  bool whole() const {
    return value_of(ranges.front().base) >= base &&
           value_of(ranges.back().base) + ranges.back().mapping_bytes - base <= bytes;
  }
  // What lies between ours belongs to the driver.
  template <class Rest>
  CUresult rest(Rest rest) const {
    std::uint64_t at = base;
    for (const memory::Range& range : ranges) {
      if (value_of(range.base) > at) {
        const CUresult result = rest(CUdeviceptr{at}, value_of(range.base) - at);
        if (result != CUDA_SUCCESS) return result;
      }
      at = value_of(range.base) + range.mapping_bytes;
    }
    return at < base + bytes ? rest(CUdeviceptr{at}, base + bytes - at) : CUDA_SUCCESS;
  }
};

CUresult check_access(const Call& call, const CUmemAccessDesc& access,
                      const std::vector<memory::Range>& ranges) {
  if (access.flags != CU_MEM_ACCESS_FLAGS_PROT_NONE &&
      access.flags != CU_MEM_ACCESS_FLAGS_PROT_READ &&
      access.flags != CU_MEM_ACCESS_FLAGS_PROT_READWRITE)
    return CUDA_ERROR_INVALID_VALUE;
  // The host never reaches device memory, wherever our page lies.
  if (access.location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_ERROR_INVALID_VALUE;
  if (access.location.id < 0 || access.location.id >= kDiesMax ||
      !call->die_state(Die{access.location.id}))
    return CUDA_ERROR_INVALID_DEVICE;
  for (const memory::Range& range : ranges) {
    if (index_of(range.home) == access.location.id) continue;
    auto reach = call->verbs().can_reach(Die{access.location.id}, range.home);
    if (!reach || !*reach) return CUDA_ERROR_INVALID_DEVICE;
  }
  return CUDA_SUCCESS;
}

CUresult give_access(const Call& call, const CUmemAccessDesc& access,
                     const std::vector<memory::Range>& ranges) {
  const Die die{access.location.id};
  const bool write = access.flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  const bool read = write || access.flags == CU_MEM_ACCESS_FLAGS_PROT_READ;
  for (const memory::Range& range : ranges) {
    if (read && die != range.home && !call->pager().granted(range.home, die)) {
      auto granted = call->pager().grant(range.home, die);
      if (!granted) return driver::code_of(granted.error());
    }
    call->memory().set_access(range.base, die, read, write);
  }
  return CUDA_SUCCESS;
}

}  // namespace

CUresult cuMemCreate(CUmemGenericAllocationHandle* handle, std::size_t bytes,
                     const CUmemAllocationProp* properties, unsigned long long flags) {
  const Call call;
  if (handle && bytes != 0 && can_be_virtual(call, properties, flags)) {
    memory::Properties kept;
    std::memcpy(kept.data(), properties, sizeof kept);
    const auto granule = granule_of(call, *properties, kept);
    if (granule && bytes % *granule == 0) {
      (void)call->caller();  // the die's budget is known once its context is
      CUmemAllocationProp made = *properties;
      made.allocFlags.compressionType = CU_MEM_ALLOCATION_COMP_NONE;
      std::memcpy(kept.data(), &made, sizeof kept);
      auto created =
          call->create(Die{properties->location.id}, bytes, kept, __builtin_return_address(0));
      if (!created) return driver::code_of(created.error());
      *handle = *created;
      return CUDA_SUCCESS;
    }
  }
  const CUresult result =
      forward_with_room<&driver::Api::cuMemCreate>(call, handle, bytes, properties, flags);
  // The location says whose memory it is; its id is a die only for device memory.
  if (call && result == CUDA_SUCCESS && properties->location.type == CU_MEM_LOCATION_TYPE_DEVICE &&
      properties->location.id < kDiesMax)
    call->outside().grew(OutsideKind::handle, *handle, Die{properties->location.id}, bytes);
  return result;
}

CUresult cuMemRelease(CUmemGenericAllocationHandle handle) {
  const Call call;
  if (ours(call, handle))
    return call->maps().release(handle) ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  const CUresult result = forward<&driver::Api::cuMemRelease>(handle);
  if (call && result == CUDA_SUCCESS) (void)call->outside().shrank(OutsideKind::handle, handle);
  return result;
}

CUresult cuMemMap(CUdeviceptr pointer, std::size_t bytes, std::size_t offset,
                  CUmemGenericAllocationHandle handle, unsigned long long flags) {
  const Call call;
  if (!ours(call, handle))
    return forward<&driver::Api::cuMemMap>(pointer, bytes, offset, handle, flags);
  // Addresses of ours are not the program's to map.
  const auto base = static_cast<Address>(pointer);
  if (flags != 0 || call->memory().in_arena(base)) return CUDA_ERROR_INVALID_VALUE;
  return code_of(call->maps().map(handle, base, offset, bytes));
}

CUresult cuMemUnmap(CUdeviceptr pointer, std::size_t bytes) {
  const Call call;
  const auto unmap = [](CUdeviceptr at, std::size_t size_bytes) {
    return forward<&driver::Api::cuMemUnmap>(at, size_bytes);
  };
  const Stretch stretch(call, pointer, bytes);
  if (stretch.ranges.empty()) return unmap(pointer, bytes);
  if (!stretch.whole()) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = stretch.rest(unmap);
  for (const memory::Range& range : stretch.ranges)
    if (result == CUDA_SUCCESS) result = code_of(call->maps().unmap(range));
  return result;
}

CUresult cuMemSetAccess(CUdeviceptr pointer, std::size_t bytes, const CUmemAccessDesc* accesses,
                        std::size_t count) {
  const Call call;
  const auto set = [&](CUdeviceptr at, std::size_t size_bytes) {
    return forward<&driver::Api::cuMemSetAccess>(at, size_bytes, accesses, count);
  };
  const Stretch stretch(call, pointer, bytes);
  if (stretch.ranges.empty()) return set(pointer, bytes);
  if (!accesses || count == 0 || !stretch.whole()) return CUDA_ERROR_INVALID_VALUE;
  CUresult result = CUDA_SUCCESS;
  for (std::size_t i = 0; i < count && result == CUDA_SUCCESS; ++i)
    result = check_access(call, accesses[i], stretch.ranges);
  if (result == CUDA_SUCCESS) result = stretch.rest(set);
  for (std::size_t i = 0; i < count && result == CUDA_SUCCESS; ++i)
    result = give_access(call, accesses[i], stretch.ranges);
  return result;
}

CUresult cuMemRetainAllocationHandle(CUmemGenericAllocationHandle* handle, void* address) {
  const Call call;
  const auto pointer = reinterpret_cast<CUdeviceptr>(address);
  if (!call.owns(pointer))
    return forward<&driver::Api::cuMemRetainAllocationHandle>(handle, address);
  const auto range = call->memory().find(static_cast<Address>(pointer));
  if (!handle || !range || range->handle == 0 || !call->maps().retain(range->handle))
    return CUDA_ERROR_INVALID_VALUE;
  *handle = range->handle;
  return CUDA_SUCCESS;
}

CUresult cuMemGetAllocationPropertiesFromHandle(CUmemAllocationProp* properties,
                                                CUmemGenericAllocationHandle handle) {
  const Call call;
  if (!ours(call, handle))
    return forward<&driver::Api::cuMemGetAllocationPropertiesFromHandle>(properties, handle);
  const auto stored = call->maps().properties(handle);
  if (!properties || !stored) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(properties, stored->data(), sizeof *properties);
  return CUDA_SUCCESS;
}

// What leaves the process, or joins several dies, would hold pages that move.
CUresult cuMemExportToShareableHandle(void* shared, CUmemGenericAllocationHandle handle,
                                      CUmemAllocationHandleType type, unsigned long long flags) {
  const Call call;
  if (ours(call, handle)) return CUDA_ERROR_NOT_SUPPORTED;
  return forward<&driver::Api::cuMemExportToShareableHandle>(shared, handle, type, flags);
}

CUresult cuMulticastBindMem(CUmemGenericAllocationHandle group, std::size_t group_offset,
                            CUmemGenericAllocationHandle handle, std::size_t offset,
                            std::size_t bytes, unsigned long long flags) {
  const Call call;
  if (ours(call, handle)) return CUDA_ERROR_NOT_SUPPORTED;
  return forward<&driver::Api::cuMulticastBindMem>(group, group_offset, handle, offset, bytes,
                                                   flags);
}

}  // namespace barswap::interpose::handlers

// The stream-ordered allocator. Memory is given at once and taken back where the stream reaches the
// free. Inside a capture it would make graph memory nodes, which this machine does not have.
#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

CUmemoryPool make_pool(int die) {
  auto pool = std::make_unique<Pool>();
  pool->die = die;
  pool->id = machine().new_id();
  return reinterpret_cast<CUmemoryPool>(adopt(objects().pools, std::move(pool)));
}

CUmemoryPool default_pool(int die) {
  CUmemoryPool& pool = objects().default_pools[die];
  if (pool == nullptr) pool = make_pool(die);
  return pool;
}

CUresult check_die(CUdevice die) {
  return die >= 0 && die < machine().config().dies ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult find_pool(CUmemoryPool handle, Pool*& pool) {
  pool = look_up(objects().pools, handle);
  return pool == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult allocate(CUdeviceptr* result, std::size_t bytes, CUmemoryPool handle,
                  CUstream stream_handle) {
  if (result == nullptr || bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Stream> stream;
  Pool* pool = nullptr;
  BARSWAP_SIM_TRY(machine().stream_of(stream_handle, stream));
  BARSWAP_SIM_TRY(find_pool(handle, pool));
  if (stream->capture != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  Allocation* made = memory().allocate_plain(nullptr, pool->die, bytes, Kind::Pool);
  if (made == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
  made->pool = reinterpret_cast<std::uintptr_t>(handle);
  pool->used_bytes += made->held_bytes;
  pool->used_high_bytes = std::max(pool->used_high_bytes, pool->used_bytes);
  *result = made->base;
  return CUDA_SUCCESS;
}

void give_back(Machine& own, std::uintptr_t address) {
  Allocation* allocation = own.memory().allocation_at(address);
  if (allocation == nullptr || allocation->base != address) return;
  const void* handle = reinterpret_cast<const void*>(allocation->pool);
  if (Pool* pool = look_up(own.objects().pools, handle)) pool->used_bytes -= allocation->held_bytes;
  own.release_allocation(*allocation);
}

}  // namespace

namespace body {

CUresult cuMemAllocFromPoolAsync(CUdeviceptr* result, std::size_t bytes, CUmemoryPool pool,
                                 CUstream stream) {
  return allocate(result, bytes, pool, stream);
}

CUresult cuMemAllocAsync(CUdeviceptr* result, std::size_t bytes, CUstream handle) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  CUmemoryPool& current = objects().current_pools[stream->context->die];
  if (current == nullptr) current = default_pool(stream->context->die);
  return allocate(result, bytes, current, handle);
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream handle) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  const Allocation* allocation = memory().allocation_at(address);
  if (allocation == nullptr || allocation->base != address ||
      (allocation->kind != Kind::Pool && allocation->kind != Kind::Plain))
    return CUDA_ERROR_INVALID_VALUE;
  if (stream->capture != nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  auto op = std::make_unique<ActionOp>();
  op->action = [address](Machine& own) { give_back(own, address); };
  return submit(stream, std::move(op));
}

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool* pool, CUdevice die) {
  BARSWAP_SIM_TRY(check_die(die));
  *pool = default_pool(die);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetMemPool(CUmemoryPool* pool, CUdevice die) {
  BARSWAP_SIM_TRY(check_die(die));
  const CUmemoryPool current = objects().current_pools[die];
  *pool = current == nullptr ? default_pool(die) : current;
  return CUDA_SUCCESS;
}

CUresult cuDeviceSetMemPool(CUdevice die, CUmemoryPool pool) {
  Pool* found = nullptr;
  BARSWAP_SIM_TRY(check_die(die));
  BARSWAP_SIM_TRY(find_pool(pool, found));
  objects().current_pools[die] = pool;
  return CUDA_SUCCESS;
}

CUresult cuMemPoolCreate(CUmemoryPool* pool, const CUmemPoolProps* properties) {
  if (pool == nullptr || properties == nullptr ||
      properties->location.type != CU_MEM_LOCATION_TYPE_DEVICE)
    return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(properties->location.id));
  *pool = make_pool(properties->location.id);
  return CUDA_SUCCESS;
}

CUresult cuMemPoolDestroy(CUmemoryPool pool) {
  return objects().pools.erase(pool) == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuMemPoolTrimTo(CUmemoryPool handle, std::size_t) {
  Pool* pool = nullptr;
  return find_pool(handle, pool);
}

CUresult cuMemPoolSetAccess(CUmemoryPool handle, const CUmemAccessDesc* grants, std::size_t count) {
  Pool* pool = nullptr;
  BARSWAP_SIM_TRY(find_pool(handle, pool));
  for (std::size_t i = 0; i < count; ++i)
    if (grants[i].location.id != pool->die) return CUDA_ERROR_NOT_SUPPORTED;
  return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAccess(CUmemAccess_flags* flags, CUmemoryPool handle,
                            CUmemLocation* location) {
  Pool* pool = nullptr;
  BARSWAP_SIM_TRY(find_pool(handle, pool));
  *flags = location->id == pool->die ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                                     : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  return CUDA_SUCCESS;
}

CUresult cuMemPoolGetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  Pool* pool = nullptr;
  BARSWAP_SIM_TRY(find_pool(handle, pool));
  switch (attribute) {
    case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC:
    case CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
      *static_cast<int*>(value) = 1;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD:
      *static_cast<cuuint64_t*>(value) = pool->release_threshold;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT:
    case CU_MEMPOOL_ATTR_USED_MEM_CURRENT:
      *static_cast<cuuint64_t*>(value) = pool->used_bytes;
      return CUDA_SUCCESS;
    case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH:
    case CU_MEMPOOL_ATTR_USED_MEM_HIGH:
      *static_cast<cuuint64_t*>(value) = pool->used_high_bytes;
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}

CUresult cuMemPoolSetAttribute(CUmemoryPool handle, CUmemPool_attribute attribute, void* value) {
  Pool* pool = nullptr;
  BARSWAP_SIM_TRY(find_pool(handle, pool));
  if (attribute == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD)
    pool->release_threshold = *static_cast<cuuint64_t*>(value);
  if (attribute == CU_MEMPOOL_ATTR_USED_MEM_HIGH || attribute == CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH)
    pool->used_high_bytes = pool->used_bytes;
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

// Copies of shapes, copies with arrays, and batches.
#include "sim/shaped_copy.hpp"

namespace barswap::sim {
namespace {

// A copy between a line of memory and the first row of an array, or between two arrays.
CUDA_MEMCPY3D line(std::size_t bytes) {
  CUDA_MEMCPY3D copy{};
  copy.WidthInBytes = bytes;
  copy.Height = copy.Depth = 1;
  return copy;
}

void from_memory(CUDA_MEMCPY3D& copy, std::uintptr_t address) {
  copy.srcMemoryType = CU_MEMORYTYPE_UNIFIED;
  copy.srcDevice = address;
}

void to_memory(CUDA_MEMCPY3D& copy, std::uintptr_t address) {
  copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
  copy.dstDevice = address;
}

void from_array(CUDA_MEMCPY3D& copy, CUarray array, std::size_t offset) {
  copy.srcMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.srcArray = array;
  copy.srcXInBytes = offset;
}

void to_array(CUDA_MEMCPY3D& copy, CUarray array, std::size_t offset) {
  copy.dstMemoryType = CU_MEMORYTYPE_ARRAY;
  copy.dstArray = array;
  copy.dstXInBytes = offset;
}

CUDA_MEMCPY3D memory_to_array(CUarray array, std::size_t offset, std::uintptr_t from,
                              std::size_t bytes) {
  CUDA_MEMCPY3D copy = line(bytes);
  from_memory(copy, from);
  to_array(copy, array, offset);
  return copy;
}

CUDA_MEMCPY3D array_to_memory(std::uintptr_t to, CUarray array, std::size_t offset,
                              std::size_t bytes) {
  CUDA_MEMCPY3D copy = line(bytes);
  from_array(copy, array, offset);
  to_memory(copy, to);
  return copy;
}

}  // namespace

namespace body {

CUresult cuMemcpy2D_v2(const CUDA_MEMCPY2D* copy) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : shaped_copy_now(shaped(*copy));
}
CUresult cuMemcpy2DUnaligned_v2(const CUDA_MEMCPY2D* copy) { return body::cuMemcpy2D_v2(copy); }
CUresult cuMemcpy2DAsync_v2(const CUDA_MEMCPY2D* copy, CUstream stream) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : shaped_copy_async(shaped(*copy), stream);
}
CUresult cuMemcpy3D_v2(const CUDA_MEMCPY3D* copy) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : shaped_copy_now(shaped(*copy));
}
CUresult cuMemcpy3DAsync_v2(const CUDA_MEMCPY3D* copy, CUstream stream) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : shaped_copy_async(shaped(*copy), stream);
}
CUresult cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER* copy) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : shaped_copy_now(shaped(*copy));
}
CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER* copy, CUstream stream) {
  return copy == nullptr ? CUDA_ERROR_INVALID_VALUE : shaped_copy_async(shaped(*copy), stream);
}

CUresult cuMemcpyHtoA_v2(CUarray array, std::size_t offset, const void* from, std::size_t bytes) {
  return shaped_copy_now(shaped(memory_to_array(array, offset, address_of(from), bytes)));
}
CUresult cuMemcpyDtoA_v2(CUarray array, std::size_t offset, CUdeviceptr from, std::size_t bytes) {
  return shaped_copy_now(shaped(memory_to_array(array, offset, from, bytes)));
}
CUresult cuMemcpyAtoH_v2(void* to, CUarray array, std::size_t offset, std::size_t bytes) {
  return shaped_copy_now(shaped(array_to_memory(address_of(to), array, offset, bytes)));
}
CUresult cuMemcpyAtoD_v2(CUdeviceptr to, CUarray array, std::size_t offset, std::size_t bytes) {
  return shaped_copy_now(shaped(array_to_memory(to, array, offset, bytes)));
}
CUresult cuMemcpyHtoAAsync_v2(CUarray array, std::size_t offset, const void* from,
                              std::size_t bytes, CUstream stream) {
  return shaped_copy_async(shaped(memory_to_array(array, offset, address_of(from), bytes)), stream);
}
CUresult cuMemcpyAtoHAsync_v2(void* to, CUarray array, std::size_t offset, std::size_t bytes,
                              CUstream stream) {
  return shaped_copy_async(shaped(array_to_memory(address_of(to), array, offset, bytes)), stream);
}
CUresult cuMemcpyAtoA_v2(CUarray to, std::size_t to_offset, CUarray from, std::size_t from_offset,
                         std::size_t bytes) {
  CUDA_MEMCPY3D copy = line(bytes);
  from_array(copy, from, from_offset);
  to_array(copy, to, to_offset);
  return shaped_copy_now(shaped(copy));
}

CUresult cuMemcpyBatchAsync_v2(CUdeviceptr* to, CUdeviceptr* from, std::size_t* bytes,
                               std::size_t count, CUmemcpyAttributes* attributes,
                               std::size_t* starts, std::size_t attribute_count, CUstream stream) {
  if (to == nullptr || from == nullptr || bytes == nullptr || count == 0 || attributes == nullptr ||
      starts == nullptr || attribute_count == 0)
    return CUDA_ERROR_INVALID_VALUE;
  // A batch has no meaning on the legacy stream, nor inside a capture.
  std::shared_ptr<Stream> target;
  BARSWAP_SIM_TRY(machine().stream_of(stream, target));
  if (target->legacy) return CUDA_ERROR_INVALID_VALUE;
  if (target->capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  for (std::size_t i = 0; i < count; ++i)
    BARSWAP_SIM_TRY(body::cuMemcpyAsync(to[i], from[i], bytes[i], stream));
  return CUDA_SUCCESS;
}

CUresult cuMemcpyBatchAsync(CUdeviceptr* to, CUdeviceptr* from, std::size_t* bytes,
                            std::size_t count, CUmemcpyAttributes* attributes, std::size_t* starts,
                            std::size_t attribute_count, std::size_t* failed, CUstream stream) {
  if (failed != nullptr) *failed = count;
  return body::cuMemcpyBatchAsync_v2(to, from, bytes, count, attributes, starts, attribute_count,
                                     stream);
}

}  // namespace body
}  // namespace barswap::sim

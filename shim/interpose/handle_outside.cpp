// Device memory that stays with the driver: passed through, counted, and given room.
#include <algorithm>

#include "interpose/call.hpp"

namespace barswap::interpose::handlers {
namespace {

using memory::OutsideKind;

void grew(const Call& call, OutsideKind kind, std::uint64_t key, std::uint64_t bytes) {
  auto die = call->verbs().current_die();
  if (die && index_of(*die) < kDiesMax) call->outside().grew(kind, key, *die, bytes);
}

std::uint64_t texel_bytes(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    default: return 4;
  }
}

std::uint64_t array_bytes(std::size_t width, std::size_t height, std::size_t depth,
                          CUarray_format format, unsigned channels) {
  return std::max<std::uint64_t>(width, 1) * std::max<std::uint64_t>(height, 1) *
         std::max<std::uint64_t>(depth, 1) * texel_bytes(format) * channels;
}

template <class Handle>
std::uint64_t key_of(Handle handle) {
  return reinterpret_cast<std::uint64_t>(handle);
}

template <auto Slot, class... Arguments>
CUresult from_pool(CUdeviceptr* pointer, std::size_t bytes, Arguments... arguments) {
  const Call call;
  if (!call) return forward<Slot>(pointer, bytes, arguments...);
  CUresult result;
  {
    const session::Submission inside(false);
    result = forward<Slot>(pointer, bytes, arguments...);
  }
  if (result == CUDA_ERROR_OUT_OF_MEMORY && session::after_out_of_memory()) {
    const session::Submission inside(false);
    result = forward<Slot>(pointer, bytes, arguments...);
  }
  // Inside a capture nothing is allocated: the graph will own a node.
  if (result != CUDA_SUCCESS) return result;
  if (!call->capturing()) grew(call, OutsideKind::pool, *pointer, bytes);
  else call->tie_launches("memory of graphs is mapped for one die");
  return result;
}

template <auto Slot>
CUresult to_pool(CUdeviceptr pointer, CUstream stream) {
  const Call call;
  const CUresult result = forward_gated<Slot>(call, pointer, stream);
  if (call && result == CUDA_SUCCESS) (void)call->outside().shrank(OutsideKind::pool, pointer);
  return result;
}

}  // namespace

CUresult cuMemAllocManaged(CUdeviceptr* pointer, std::size_t bytes, unsigned flags) {
  const Call call;
  const CUresult result =
      forward_with_room<&driver::Api::cuMemAllocManaged>(call, pointer, bytes, flags);
  if (call && result == CUDA_SUCCESS) call->tie_launches("managed memory is the driver's to place");
  return result;
}

CUresult cuMemAllocAsync(CUdeviceptr* pointer, std::size_t bytes, CUstream stream) {
  return from_pool<&driver::Api::cuMemAllocAsync>(pointer, bytes, stream);
}
CUresult cuMemAllocAsync_ptsz(CUdeviceptr* pointer, std::size_t bytes, CUstream stream) {
  return from_pool<&driver::Api::cuMemAllocAsync_ptsz>(pointer, bytes, stream);
}
CUresult cuMemAllocFromPoolAsync(CUdeviceptr* pointer, std::size_t bytes, CUmemoryPool pool,
                                 CUstream stream) {
  return from_pool<&driver::Api::cuMemAllocFromPoolAsync>(pointer, bytes, pool, stream);
}
CUresult cuMemAllocFromPoolAsync_ptsz(CUdeviceptr* pointer, std::size_t bytes, CUmemoryPool pool,
                                      CUstream stream) {
  return from_pool<&driver::Api::cuMemAllocFromPoolAsync_ptsz>(pointer, bytes, pool, stream);
}
CUresult cuMemFreeAsync(CUdeviceptr pointer, CUstream stream) {
  return to_pool<&driver::Api::cuMemFreeAsync>(pointer, stream);
}
CUresult cuMemFreeAsync_ptsz(CUdeviceptr pointer, CUstream stream) {
  return to_pool<&driver::Api::cuMemFreeAsync_ptsz>(pointer, stream);
}

CUresult cuArrayCreate_v2(CUarray* array, const CUDA_ARRAY_DESCRIPTOR* description) {
  const Call call;
  const CUresult result =
      forward_with_room<&driver::Api::cuArrayCreate_v2>(call, array, description);
  if (call && result == CUDA_SUCCESS)
    grew(call, OutsideKind::array, key_of(*array),
         array_bytes(description->Width, description->Height, 1, description->Format,
                     description->NumChannels));
  return result;
}

CUresult cuArray3DCreate_v2(CUarray* array, const CUDA_ARRAY3D_DESCRIPTOR* description) {
  const Call call;
  const CUresult result =
      forward_with_room<&driver::Api::cuArray3DCreate_v2>(call, array, description);
  if (call && result == CUDA_SUCCESS)
    grew(call, OutsideKind::array, key_of(*array),
         array_bytes(description->Width, description->Height, description->Depth,
                     description->Format, description->NumChannels));
  return result;
}

CUresult cuArrayDestroy(CUarray array) {
  const Call call;
  const CUresult result = forward<&driver::Api::cuArrayDestroy>(array);
  if (call && result == CUDA_SUCCESS)
    (void)call->outside().shrank(OutsideKind::array, key_of(array));
  return result;
}

CUresult cuMipmappedArrayCreate(CUmipmappedArray* array, const CUDA_ARRAY3D_DESCRIPTOR* description,
                                unsigned levels) {
  const Call call;
  const CUresult result =
      forward_with_room<&driver::Api::cuMipmappedArrayCreate>(call, array, description, levels);
  // All further levels together are at most a seventh to a third of the first; count the larger.
  if (call && result == CUDA_SUCCESS)
    grew(call, OutsideKind::mipmap, key_of(*array),
         array_bytes(description->Width, description->Height, description->Depth,
                     description->Format, description->NumChannels) /
             3 * 4);
  return result;
}

CUresult cuMipmappedArrayDestroy(CUmipmappedArray array) {
  const Call call;
  const CUresult result = forward<&driver::Api::cuMipmappedArrayDestroy>(array);
  if (call && result == CUDA_SUCCESS)
    (void)call->outside().shrank(OutsideKind::mipmap, key_of(array));
  return result;
}

}  // namespace barswap::interpose::handlers

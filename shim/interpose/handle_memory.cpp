// Device memory: cuMemAlloc, cuMemAllocPitch and cuMemFree become ranges.
#include "driver/errors.hpp"
#include "interpose/call.hpp"

namespace barswap::interpose::handlers {
namespace {

constexpr std::uint64_t kPitchBytes = 512;

// While a capture lives, the driver judges allocation and release by the calling thread's mode, and
// an illegal one invalidates the capture. Only the driver knows that mode, so it is asked with a
// real allocation of the smallest size: its answer is the bare program's answer.
CUresult judged_by_capture(const Call& call) {
  if (!call->capturing()) return CUDA_SUCCESS;
  CUdeviceptr probe = 0;
  const CUresult result = forward<&driver::Api::cuMemAlloc_v2>(&probe, std::size_t{512});
  // A die without room for the probe has judged that the call is legal.
  if (result == CUDA_ERROR_OUT_OF_MEMORY) return CUDA_SUCCESS;
  if (result != CUDA_SUCCESS) return result;
  return forward<&driver::Api::cuMemFree_v2>(probe);
}

CUresult allocate(const Call& call, CUdeviceptr* pointer, std::size_t bytes,
                  const void* return_address) {
  const session::Session::Caller caller = call->caller();
  if (!caller.managed) return forward_with_room<&driver::Api::cuMemAlloc_v2>(call, pointer, bytes);
  const CUresult judged = judged_by_capture(call);
  if (judged != CUDA_SUCCESS) return judged;
  auto address = call->allocate(caller, bytes, return_address);
  if (!address) return driver::code_of(address.error());
  *pointer = value_of(*address);
  return CUDA_SUCCESS;
}

}  // namespace

CUresult cuMemAlloc_v2(CUdeviceptr* pointer, std::size_t bytes) {
  const Call call;
  if (!call || !pointer || bytes == 0) return forward<&driver::Api::cuMemAlloc_v2>(pointer, bytes);
  return allocate(call, pointer, bytes, __builtin_return_address(0));
}

CUresult cuMemAllocPitch_v2(CUdeviceptr* pointer, std::size_t* pitch, std::size_t width_bytes,
                            std::size_t height, unsigned element_bytes) {
  const Call call;
  const std::size_t wide = round_up(width_bytes, kPitchBytes);
  const bool element = element_bytes == 4 || element_bytes == 8 || element_bytes == 16;
  std::size_t bytes = 0;
  // What the driver would refuse, it refuses itself.
  if (!call || !pointer || !pitch || width_bytes == 0 || height == 0 || !element ||
      wide < width_bytes || __builtin_mul_overflow(wide, height, &bytes))
    return forward<&driver::Api::cuMemAllocPitch_v2>(pointer, pitch, width_bytes, height,
                                                      element_bytes);
  if (!call->caller().managed)
    return forward_with_room<&driver::Api::cuMemAllocPitch_v2>(call, pointer, pitch, width_bytes,
                                                                height, element_bytes);
  const CUresult result =
      allocate(call, pointer, bytes, __builtin_return_address(0));
  if (result == CUDA_SUCCESS) *pitch = wide;
  return result;
}

CUresult cuMemFree_v2(CUdeviceptr pointer) {
  const Call call;
  if (call.owns(pointer) && call->memory().at(static_cast<Address>(pointer))) {
    const CUresult judged = judged_by_capture(call);
    if (judged != CUDA_SUCCESS) return judged;
    auto freed = call->free(static_cast<Address>(pointer));
    if (!freed) return driver::code_of(freed.error());
    if (*freed) {
      session::free_moment();
      return CUDA_SUCCESS;
    }
  }
  // Interior, freed and foreign pointers get the driver's own answer.
  const CUresult result = forward<&driver::Api::cuMemFree_v2>(pointer);
  if (call && result == CUDA_SUCCESS)
    (void)call->outside().shrank(memory::OutsideKind::pool, pointer);
  return result;
}

}  // namespace barswap::interpose::handlers

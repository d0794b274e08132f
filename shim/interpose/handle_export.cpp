// What leaves our sight: pinned into HBM frames first, or refused.
#include "interpose/call.hpp"

namespace barswap::interpose::handlers {

// The legacy handle names one plain allocation of the driver, which ours is not. Programs take this
// answer as "not shareable here".
CUresult cuIpcGetMemHandle(CUipcMemHandle* handle, CUdeviceptr pointer) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward<&driver::Api::cuIpcGetMemHandle>(handle, pointer);
}

CUresult cuMemGetHandleForAddressRange(void* handle, CUdeviceptr pointer, std::size_t bytes,
                                       CUmemRangeHandleType type, unsigned long long flags) {
  const Call call;
  if (call.owns(pointer) && !call->memory().pin(static_cast<Address>(pointer)))
    return CUDA_ERROR_NOT_SUPPORTED;
  return forward<&driver::Api::cuMemGetHandleForAddressRange>(handle, pointer, bytes, type, flags);
}

CUresult cuMulticastBindAddr(CUmemGenericAllocationHandle group, std::size_t group_offset,
                             CUdeviceptr pointer, std::size_t bytes, unsigned long long flags) {
  const Call call;
  if (call.owns(pointer) && !call->memory().pin(static_cast<Address>(pointer)))
    return CUDA_ERROR_NOT_SUPPORTED;
  return forward<&driver::Api::cuMulticastBindAddr>(group, group_offset, pointer, bytes, flags);
}

}  // namespace barswap::interpose::handlers

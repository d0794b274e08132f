// CUresult and Error, both ways, and which codes mean that a context is lost for good.
#pragma once
#include "barswap/result.hpp"
#include "driver/api.hpp"

namespace barswap::driver {

// A driver's refusal travels back unchanged; ours become codes that the call's documentation lists.
inline CUresult code_of(Error error) {
  switch (error.fault) {
    case Fault::driver: return static_cast<CUresult>(error.driver_code);
    case Fault::out_of_memory: return CUDA_ERROR_OUT_OF_MEMORY;
    case Fault::not_supported: return CUDA_ERROR_NOT_SUPPORTED;
    case Fault::invalid: return CUDA_ERROR_INVALID_VALUE;
    case Fault::busy: return CUDA_ERROR_NOT_READY;
  }
  return CUDA_ERROR_UNKNOWN;
}

// After these every later call on the context answers the same: the error belongs to the program.
constexpr bool is_sticky(int code) {
  switch (code) {
    case CUDA_ERROR_ILLEGAL_ADDRESS:
    case CUDA_ERROR_LAUNCH_TIMEOUT:
    case CUDA_ERROR_ASSERT:
    case CUDA_ERROR_HARDWARE_STACK_ERROR:
    case CUDA_ERROR_ILLEGAL_INSTRUCTION:
    case CUDA_ERROR_MISALIGNED_ADDRESS:
    case CUDA_ERROR_INVALID_ADDRESS_SPACE:
    case CUDA_ERROR_INVALID_PC:
    case CUDA_ERROR_LAUNCH_FAILED:
    case CUDA_ERROR_ECC_UNCORRECTABLE:
    case CUDA_ERROR_NVLINK_UNCORRECTABLE:
    case CUDA_ERROR_CONTAINED:
    case CUDA_ERROR_UNKNOWN:
    case CUDA_ERROR_DEINITIALIZED:
    case CUDA_ERROR_CONTEXT_IS_DESTROYED:
      return true;
    default:
      return false;
  }
}

}  // namespace barswap::driver

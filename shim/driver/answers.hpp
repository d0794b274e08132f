// How a driver's answers and our handles are turned into each other, for verbs alone.
#pragma once

#include "driver/api.hpp"
#include "driver/verbs.hpp"

namespace barswap::driver {

inline Error refused(CUresult code) { return {Fault::driver, code}; }

inline Result<void> done(CUresult code) {
  if (code != CUDA_SUCCESS) return refused(code);
  return {};
}

template <class T>
Result<T> answer(CUresult code, T value) {
  if (code != CUDA_SUCCESS) return refused(code);
  return value;
}

// A slot that this driver lacks: the caller treats it like any refusal.
constexpr CUresult kMissing = CUDA_ERROR_NOT_SUPPORTED;

inline CUcontext native(Context context) { return reinterpret_cast<CUcontext>(context); }
inline CUevent native(Event event) { return reinterpret_cast<CUevent>(event); }
inline CUmodule native(Module module) { return reinterpret_cast<CUmodule>(module); }
inline CUstream native(Stream stream) { return reinterpret_cast<CUstream>(stream); }

}  // namespace barswap::driver

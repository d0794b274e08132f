// The driver's functions for the programs of this folder, found as an ordinary program may find
// them: by dlopen and dlsym, so that nothing here needs libcuda to be linked. Owns no state but the
// library's handle, which is never closed.
#pragma once
#include <cuda.h>
#include <dlfcn.h>

#include <cstdio>
#include <cstdlib>

namespace gpu {

inline void* driver_symbol(const char* symbol) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW);
  void* const address = library != nullptr ? dlsym(library, symbol) : nullptr;
  if (address == nullptr) {
    std::fprintf(stderr, "no %s: %s\n", symbol, dlerror());
    std::exit(77);
  }
  return address;
}

#define GPU_DRIVER_NAMED(symbol)                                                                  \
  ([]() -> decltype(&symbol) {                                                                    \
    static const auto function = reinterpret_cast<decltype(&symbol)>(gpu::driver_symbol(#symbol)); \
    return function;                                                                              \
  }())
// cuda.h renames functions by macros; the detour expands them before the name becomes text.
#define GPU_DRIVER(name) GPU_DRIVER_NAMED(name)

inline const char* name_of(CUresult result) {
  const char* name = nullptr;
  return GPU_DRIVER(cuGetErrorName)(result, &name) == CUDA_SUCCESS ? name : "unknown";
}

inline void need(CUresult result, const char* what, int line) {
  if (result == CUDA_SUCCESS) return;
  std::fprintf(stderr, "line %d: %s: %s\n", line, what, name_of(result));
  std::exit(3);
}
#define GPU_NEED(name, ...) gpu::need(GPU_DRIVER(name)(__VA_ARGS__), #name, __LINE__)

inline CUcontext use_first_die() {
  CUdevice die = 0;
  CUcontext context = nullptr;
  GPU_NEED(cuInit, 0);
  GPU_NEED(cuDeviceGet, &die, 0);
  GPU_NEED(cuDevicePrimaryCtxRetain, &context, die);
  GPU_NEED(cuCtxSetCurrent, context);
  return context;
}

}  // namespace gpu

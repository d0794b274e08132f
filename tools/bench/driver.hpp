// The driver's functions for `barswap bench`, found as an ordinary program may find them: by dlopen
// and dlsym, so that the command itself needs no libcuda, and so that a preloaded Barswap is met as
// any program meets it. Owns the library's handle, which is never closed.
#pragma once
#include <cuda.h>

#include <stdexcept>
#include <string>

namespace barswap::bench {

// A call that the driver refused, or a function that it lacks.
struct DriverError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

// Throws if the library or the function is missing.
void* driver_symbol(const char* symbol);
// Throws, with the call and the driver's name of the error, unless it is CUDA_SUCCESS.
void need(CUresult result, const char* what);
// For destructors: what cannot be given back is told, and the process goes on to its end.
void release(CUresult result, const char* what);

}  // namespace barswap::bench

#define BARSWAP_DRIVER_NAMED(symbol)                                                   \
  ([]() -> decltype(&symbol) {                                                         \
    static const auto function =                                                       \
        reinterpret_cast<decltype(&symbol)>(::barswap::bench::driver_symbol(#symbol)); \
    return function;                                                                   \
  }())
// cuda.h renames functions by macros; the detour expands them before the name becomes text.
#define BARSWAP_DRIVER(name) BARSWAP_DRIVER_NAMED(name)
#define BARSWAP_NEED(name, ...) ::barswap::bench::need(BARSWAP_DRIVER(name)(__VA_ARGS__), #name)
#define BARSWAP_RELEASE(name, ...) \
  ::barswap::bench::release(BARSWAP_DRIVER(name)(__VA_ARGS__), #name)

#include "driver.hpp"

#include <dlfcn.h>

#include <cstdio>

namespace barswap::bench {
namespace {

std::string text_of(CUresult result, const char* what) {
  const char* name = nullptr;
  if (BARSWAP_DRIVER(cuGetErrorName)(result, &name) != CUDA_SUCCESS) name = "an unknown error";
  return std::string(what) + ": " + name;
}

}  // namespace

void* driver_symbol(const char* symbol) {
  static void* const library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) throw DriverError(dlerror());
  void* const address = dlsym(library, symbol);
  if (address == nullptr) throw DriverError(std::string("the driver has no ") + symbol);
  return address;
}

void need(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS) throw DriverError(text_of(result, what));
}

void release(CUresult result, const char* what) {
  if (result != CUDA_SUCCESS)
    std::fprintf(stderr, "barswap: bench: %s\n", text_of(result, what).c_str());
}

}  // namespace barswap::bench

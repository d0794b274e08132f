// A machine on the bench: built for one test, with a context made current and the kernels loaded.
#pragma once

#include <doctest/doctest.h>

#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "sim/machine.hpp"

namespace barswap::sim::bench {

inline constexpr std::size_t MiB = std::size_t{1} << 20;
inline constexpr std::size_t page = granule_bytes;

#define OK(call) REQUIRE((call) == CUDA_SUCCESS)

inline std::string kernels_text() {
  std::ifstream file(BARSWAP_KERNELS_PTX);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

inline Config small_config(std::uint64_t seed = 1) {
  Config config;
  config.seed = seed;
  config.vram_bytes = 64 * MiB;
  config.host_bytes = 64 * MiB;
  return config;
}

struct Bench {
  explicit Bench(Config config = small_config()) : machine(std::move(config)) {
    fill(api);
    OK(api.cuInit(0));
    OK(api.cuDevicePrimaryCtxRetain(&context, 0));
    OK(api.cuCtxSetCurrent(context));
  }

  CUfunction kernel(const char* name) {
    if (module == nullptr) OK(api.cuModuleLoadData(&module, kernels_text().c_str()));
    CUfunction function = nullptr;
    OK(api.cuModuleGetFunction(&function, module, name));
    return function;
  }

  template <class... Parameters>
  CUresult launch(const char* name, CUstream stream, Parameters... parameters) {
    void* pointers[] = {&parameters...};
    return api.cuLaunchKernel(kernel(name), 4, 1, 1, 128, 1, 1, 0, stream, pointers, nullptr);
  }

  CUresult fill_words(CUdeviceptr at, std::uint64_t words, std::uint32_t seed,
                      CUstream stream = nullptr) {
    return launch("barswap_fill", stream, at, words, seed);
  }

  CUdeviceptr alloc(std::size_t bytes) {
    CUdeviceptr at = 0;
    OK(api.cuMemAlloc_v2(&at, bytes));
    return at;
  }

  CUstream stream(unsigned flags = CU_STREAM_NON_BLOCKING) {
    CUstream result = nullptr;
    OK(api.cuStreamCreate(&result, flags));
    return result;
  }

  CUevent event() {
    CUevent result = nullptr;
    OK(api.cuEventCreate(&result, CU_EVENT_DISABLE_TIMING));
    return result;
  }

  // A VMM page of one die, or of the host.
  CUmemGenericAllocationHandle create(std::size_t bytes = page, bool on_host = false, int die = 0) {
    CUmemGenericAllocationHandle handle = 0;
    const CUmemAllocationProp properties = properties_of(on_host, die);
    OK(api.cuMemCreate(&handle, bytes, &properties, 0));
    return handle;
  }

  static CUmemAllocationProp properties_of(bool on_host, int die = 0) {
    CUmemAllocationProp properties{};
    properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties.location.type =
        on_host ? CU_MEM_LOCATION_TYPE_HOST_NUMA : CU_MEM_LOCATION_TYPE_DEVICE;
    properties.location.id = on_host ? 0 : die;
    return properties;
  }

  CUdeviceptr reserve(std::size_t bytes) {
    CUdeviceptr at = 0;
    OK(api.cuMemAddressReserve(&at, bytes, 0, 0, 0));
    return at;
  }

  CUresult grant(CUdeviceptr at, std::size_t bytes,
                 CUmemAccess_flags flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE, int die = 0) {
    CUmemAccessDesc description{};
    description.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    description.location.id = die;
    description.flags = flags;
    return api.cuMemSetAccess(at, bytes, &description, 1);
  }

  std::uint32_t word(CUdeviceptr at) {
    std::uint32_t value = 0;
    OK(api.cuMemcpyDtoH_v2(&value, at, sizeof value));
    return value;
  }

  // Holds a stream until release() is called.
  struct Hold {
    CUdeviceptr flag = 0;
    volatile std::uint32_t* host = nullptr;
    void release() { *host = 1; }
  };
  Hold hold(CUstream on) {
    Hold held;
    void* memory = nullptr;
    OK(api.cuMemHostAlloc(&memory, 4, 0));
    held.host = static_cast<volatile std::uint32_t*>(memory);
    *held.host = 0;
    held.flag = reinterpret_cast<CUdeviceptr>(memory);
    OK(launch("barswap_spin", on, held.flag));
    return held;
  }

  Machine machine;
  driver::Api api;
  CUcontext context = nullptr;
  CUmodule module = nullptr;
};

}  // namespace barswap::sim::bench

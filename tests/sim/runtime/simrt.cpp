// The runtime's face: each function starts the runtime if need be, makes the primary context
// current, and calls the driver through the address that the driver itself gave.
#define __CUDA_API_VERSION_INTERNAL
#include "simrt.h"

#include <cuda.h>

#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "resolve.hpp"

namespace {

constexpr int devices_max = 16;

std::mutex state_mutex;
std::vector<const void*> images;
CUcontext primaries[devices_max];
std::unordered_map<std::string, CUfunction> functions[devices_max];
thread_local int current_device = 0;

int ready();

// The function behind a request, with the type of the symbol that the request stands for.
#define RT_DRIVER(symbol, name, version) \
  reinterpret_cast<decltype(&::symbol)>(simrt::resolved(name, version, 0))

template <class Driver, class... Arguments>
int invoke(const char* name, int version, Arguments... arguments) {
  if (const int result = ready(); result != RT_SUCCESS) return result;
  const auto function = reinterpret_cast<Driver>(simrt::resolved(name, version, 0));
  if (function == nullptr) return RT_NO_FUNCTION;
  return function(arguments...);
}

#define RT_CALL(symbol, ...) invoke<decltype(&::symbol)>(__VA_ARGS__)

int ready() {
  if (const int result = simrt::start(); result != RT_SUCCESS) return result;
  const auto set_current = RT_DRIVER(cuCtxSetCurrent, "cuCtxSetCurrent", 4000);
  const auto retain = RT_DRIVER(cuDevicePrimaryCtxRetain, "cuDevicePrimaryCtxRetain", 7000);
  if (set_current == nullptr || retain == nullptr) return RT_NO_FUNCTION;
  std::lock_guard<std::mutex> guard(state_mutex);
  CUcontext& context = primaries[current_device];
  if (context == nullptr)
    if (const int result = retain(&context, current_device); result != 0) return result;
  return set_current(context);
}

CUdeviceptr device(const void* pointer) { return reinterpret_cast<CUdeviceptr>(pointer); }

// Loads the images into the device's context until one has the kernel.
int find_function(const char* name, CUfunction& found) {
  const auto load = RT_DRIVER(cuModuleLoadData, "cuModuleLoadData", 2000);
  const auto get = RT_DRIVER(cuModuleGetFunction, "cuModuleGetFunction", 2000);
  if (load == nullptr || get == nullptr) return RT_NO_FUNCTION;
  std::lock_guard<std::mutex> guard(state_mutex);
  auto& known = functions[current_device];
  if (const auto old = known.find(name); old != known.end()) {
    found = old->second;
    return RT_SUCCESS;
  }
  for (const void* image : images) {
    CUmodule module = nullptr;
    if (const int result = load(&module, image); result != 0) return result;
    if (get(&found, module, name) != CUDA_SUCCESS) continue;
    known.emplace(name, found);
    return RT_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}

}  // namespace

int rtResolved(int* found, int* asked) {
  const int result = simrt::start();
  simrt::count(*found, *asked);
  return result;
}

int rtGetDeviceCount(int* count) {
  if (const int result = simrt::start(); result != RT_SUCCESS) return result;
  const auto function = RT_DRIVER(cuDeviceGetCount, "cuDeviceGetCount", 2000);
  if (function == nullptr) return RT_NO_FUNCTION;
  return function(count);
}

int rtSetDevice(int wanted) {
  if (wanted < 0 || wanted >= devices_max) return CUDA_ERROR_INVALID_DEVICE;
  current_device = wanted;
  return ready();
}

int rtDeviceSynchronize() { return RT_CALL(cuCtxSynchronize, "cuCtxSynchronize", 2000); }

int rtDeviceReset() {
  if (const int result = ready(); result != RT_SUCCESS) return result;
  const auto reset = RT_DRIVER(cuDevicePrimaryCtxReset, "cuDevicePrimaryCtxReset", 7000);
  if (reset == nullptr) return RT_NO_FUNCTION;
  std::lock_guard<std::mutex> guard(state_mutex);
  primaries[current_device] = nullptr;
  functions[current_device].clear();
  return reset(current_device);
}

int rtGetMemInfo(size_t* free_bytes, size_t* total_bytes) {
  return RT_CALL(cuMemGetInfo_v2, "cuMemGetInfo", 3020, free_bytes, total_bytes);
}

int rtMalloc(void** pointer, size_t bytes) {
  CUdeviceptr address = 0;
  const int result = RT_CALL(cuMemAlloc_v2, "cuMemAlloc", 3020, &address, bytes);
  if (result == 0) *pointer = reinterpret_cast<void*>(address);
  return result;
}

int rtMallocPitch(void** pointer, size_t* pitch, size_t width, size_t height) {
  CUdeviceptr address = 0;
  const int result =
      RT_CALL(cuMemAllocPitch_v2, "cuMemAllocPitch", 3020, &address, pitch, width, height, 4);
  if (result == 0) *pointer = reinterpret_cast<void*>(address);
  return result;
}

int rtFree(void* pointer) { return RT_CALL(cuMemFree_v2, "cuMemFree", 3020, device(pointer)); }

int rtMallocHost(void** pointer, size_t bytes) {
  return RT_CALL(cuMemHostAlloc, "cuMemHostAlloc", 2020, pointer, bytes, 0);
}

int rtFreeHost(void* pointer) { return RT_CALL(cuMemFreeHost, "cuMemFreeHost", 2000, pointer); }

int rtMemcpy(void* to, const void* from, size_t bytes, rtCopyKind kind) {
  switch (kind) {
    case RT_HOST_TO_DEVICE:
      return RT_CALL(cuMemcpyHtoD_v2, "cuMemcpyHtoD", 3020, device(to), from, bytes);
    case RT_DEVICE_TO_HOST:
      return RT_CALL(cuMemcpyDtoH_v2, "cuMemcpyDtoH", 3020, to, device(from), bytes);
    case RT_DEVICE_TO_DEVICE:
      return RT_CALL(cuMemcpyDtoD_v2, "cuMemcpyDtoD", 3020, device(to), device(from), bytes);
  }
  return CUDA_ERROR_INVALID_VALUE;
}

int rtMemcpyAsync(void* to, const void* from, size_t bytes, rtCopyKind kind, rtStream_t handle) {
  const CUstream stream = static_cast<CUstream>(handle);
  switch (kind) {
    case RT_HOST_TO_DEVICE:
      return RT_CALL(cuMemcpyHtoDAsync_v2, "cuMemcpyHtoDAsync", 3020, device(to), from, bytes,
                     stream);
    case RT_DEVICE_TO_HOST:
      return RT_CALL(cuMemcpyDtoHAsync_v2, "cuMemcpyDtoHAsync", 3020, to, device(from), bytes,
                     stream);
    case RT_DEVICE_TO_DEVICE:
      return RT_CALL(cuMemcpyDtoDAsync_v2, "cuMemcpyDtoDAsync", 3020, device(to), device(from),
                     bytes, stream);
  }
  return CUDA_ERROR_INVALID_VALUE;
}

int rtMemset(void* pointer, int value, size_t bytes) {
  return RT_CALL(cuMemsetD8_v2, "cuMemsetD8", 3020, device(pointer),
                 static_cast<unsigned char>(value), bytes);
}

int rtMemsetAsync(void* pointer, int value, size_t bytes, rtStream_t stream) {
  return RT_CALL(cuMemsetD8Async, "cuMemsetD8Async", 3020, device(pointer),
                 static_cast<unsigned char>(value), bytes, static_cast<CUstream>(stream));
}

int rtStreamCreate(rtStream_t* stream) {
  return RT_CALL(cuStreamCreate, "cuStreamCreate", 2000, reinterpret_cast<CUstream*>(stream), 0);
}

int rtStreamDestroy(rtStream_t stream) {
  return RT_CALL(cuStreamDestroy_v2, "cuStreamDestroy", 4000, static_cast<CUstream>(stream));
}

int rtStreamSynchronize(rtStream_t stream) {
  return RT_CALL(cuStreamSynchronize, "cuStreamSynchronize", 2000, static_cast<CUstream>(stream));
}

int rtEventCreate(rtEvent_t* event) {
  return RT_CALL(cuEventCreate, "cuEventCreate", 2000, reinterpret_cast<CUevent*>(event), 0);
}

int rtEventRecord(rtEvent_t event, rtStream_t stream) {
  return RT_CALL(cuEventRecord, "cuEventRecord", 2000, static_cast<CUevent>(event),
                 static_cast<CUstream>(stream));
}

int rtEventSynchronize(rtEvent_t event) {
  return RT_CALL(cuEventSynchronize, "cuEventSynchronize", 2000, static_cast<CUevent>(event));
}

int rtEventDestroy(rtEvent_t event) {
  return RT_CALL(cuEventDestroy_v2, "cuEventDestroy", 4000, static_cast<CUevent>(event));
}

int rtRegisterImage(const void* image) {
  std::lock_guard<std::mutex> guard(state_mutex);
  images.push_back(image);
  return RT_SUCCESS;
}

int rtLaunch(const char* name, unsigned blocks, unsigned threads, void** parameters,
             rtStream_t stream) {
  if (const int result = ready(); result != RT_SUCCESS) return result;
  CUfunction function = nullptr;
  if (const int result = find_function(name, function); result != RT_SUCCESS) return result;
  return RT_CALL(cuLaunchKernel, "cuLaunchKernel", 4000, function, blocks, 1, 1, threads, 1, 1, 0,
                 static_cast<CUstream>(stream), parameters, nullptr);
}

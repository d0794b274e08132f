// A libcuda.so.1 that only listens: every function of the table exists, succeeds and writes one
// line "function caller" to the file named by FAKE_DRIVER_LOG, where caller is the base name of the
// object that called. Derived from the table, so it never lacks a function. It has no dies: who
// needs them wants the simulated machine.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "interpose/parameters.hpp"

#ifndef FAKE_DRIVER_VERSION
#define FAKE_DRIVER_VERSION 13000
#endif

#define EXPORT extern "C" [[gnu::visibility("default"), gnu::noinline]]

namespace {

void record(const char* function, const void* caller) {
  const char* path = std::getenv("FAKE_DRIVER_LOG");
  const int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
  if (file < 0) return;
  Dl_info info{};
  const char* name = dladdr(caller, &info) && info.dli_fname ? info.dli_fname : "?";
  if (const char* slash = std::strrchr(name, '/')) name = slash + 1;
  char line[256];
  const int length = std::snprintf(line, sizeof(line), "%s %s\n", function, name);
  if (write(file, line, static_cast<std::size_t>(length)) < 0) std::abort();
  close(file);
}

struct Entry {
  const char* symbol;
  const char* api;
  int version;
  const char* suffix;
  void* address;
};
extern const Entry entries[];
extern const std::size_t entry_count;

// As the driver chooses: the newest variant that the asked version knows, per-thread if asked.
void* resolve(const char* api, int version, cuuint64_t flags) {
  const bool per_thread = flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
  const Entry* best = nullptr;
  for (std::size_t i = 0; i < entry_count; ++i) {
    const Entry& entry = entries[i];
    if (std::strcmp(entry.api, api) != 0 || entry.version > version) continue;
    if (*entry.suffix && !per_thread) continue;
    const bool newer = !best || entry.version > best->version ||
                       (entry.version == best->version && *entry.suffix);
    if (newer) best = &entry;
  }
  return best ? best->address : nullptr;
}

template <auto Function>
struct Answer {
  template <class... A>
  static CUresult give(A...) {
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuDriverGetVersion> {
  static CUresult give(int* version) {
    *version = FAKE_DRIVER_VERSION;
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuDeviceGetCount> {
  static CUresult give(int* count) {
    *count = 0;
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuMemAlloc_v2> {
  static CUresult give(CUdeviceptr* address, std::size_t bytes) {
    *address = reinterpret_cast<CUdeviceptr>(std::malloc(bytes));
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuMemFree_v2> {
  static CUresult give(CUdeviceptr address) {
    std::free(reinterpret_cast<void*>(address));
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuMemcpyHtoD_v2> {
  static CUresult give(CUdeviceptr to, const void* from, std::size_t bytes) {
    std::memcpy(reinterpret_cast<void*>(to), from, bytes);
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuMemcpyDtoH_v2> {
  static CUresult give(void* to, CUdeviceptr from, std::size_t bytes) {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuGetProcAddress> {
  static CUresult give(const char* api, void** function, int version, cuuint64_t flags) {
    void* found = resolve(api, version, flags);
    if (!found) return CUDA_ERROR_NOT_FOUND;
    *function = found;
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuGetProcAddress_v2> {
  static CUresult give(const char* api, void** function, int version, cuuint64_t flags,
                       CUdriverProcAddressQueryResult* status) {
    *function = resolve(api, version, flags);
    const bool found = *function || !*api;
    if (status)
      *status = found ? CU_GET_PROC_ADDRESS_SUCCESS : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
    return CUDA_SUCCESS;
  }
};
template <>
struct Answer<&::cuGetExportTable> {
  static CUresult give(const void** table, const CUuuid*) {
    *table = nullptr;
    return CUDA_ERROR_NOT_FOUND;
  }
};

}  // namespace

#define ROW(symbol, arity)                                             \
  EXPORT CUresult symbol(BARSWAP_PARAMETERS_##arity(symbol)) {         \
    record(#symbol, __builtin_return_address(0));                      \
    return Answer<&::symbol>::give(BARSWAP_ARGUMENTS_##arity);         \
  }
#define BARSWAP_HOOK(symbol, api, version, suffix, arity) ROW(symbol, arity)
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits) ROW(symbol, arity)
#define BARSWAP_SYNC(symbol, api, version, suffix, arity) ROW(symbol, arity)
#define BARSWAP_RETRY(symbol, api, version, suffix, arity) ROW(symbol, arity)
#define BARSWAP_ORDER(symbol, api, version, suffix, arity) ROW(symbol, arity)
#define BARSWAP_CALL(symbol, api, version, suffix, arity) ROW(symbol, arity)
#define BARSWAP_PASS(symbol, api, version, suffix, arity, reason) ROW(symbol, arity)
#include "driver/driver_api.def"

// Functions of a driver newer than any table: twelve words and nine doubles, so that both kinds of
// arguments spill to the stack; the answer weighs each, so that no two may change places.
EXPORT CUresult cuTestTwelveWords(long a, long b, long c, long d, long e, long f, long g, long h,
                                  long i, long j, long k, long l) {
  record("cuTestTwelveWords", __builtin_return_address(0));
  const long all[] = {a, b, c, d, e, f, g, h, i, j, k, l};
  long sum = 0;
  for (long n = 0; n < 12; ++n) sum += (n + 1) * all[n];
  return static_cast<CUresult>(sum);
}
EXPORT double cuTestMixed(int a, double p, long b, double q, double r, void* c, double s, double t,
                          float u, double v, double w, double x, int d, int e, int f, long g,
                          double y) {
  record("cuTestMixed", __builtin_return_address(0));
  const double all[] = {double(a), p, double(b), q, r, double(reinterpret_cast<long>(c)),
                        s, t, u, v, w, x, double(d), double(e), double(f), double(g), y};
  double sum = 0;
  for (int n = 0; n < 17; ++n) sum += (n + 1) * all[n];
  return sum;
}

namespace {
#define ENTRY(symbol, api, version, suffix) \
  {#symbol, #api, version, #suffix, reinterpret_cast<void*>(&::symbol)},
const Entry entries[] = {
#define BARSWAP_HOOK(symbol, api, version, suffix, arity) ENTRY(symbol, api, version, suffix)
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits) \
  ENTRY(symbol, api, version, suffix)
#define BARSWAP_SYNC(symbol, api, version, suffix, arity) ENTRY(symbol, api, version, suffix)
#define BARSWAP_RETRY(symbol, api, version, suffix, arity) ENTRY(symbol, api, version, suffix)
#define BARSWAP_ORDER(symbol, api, version, suffix, arity) ENTRY(symbol, api, version, suffix)
#define BARSWAP_CALL(symbol, api, version, suffix, arity) ENTRY(symbol, api, version, suffix)
#define BARSWAP_PASS(symbol, api, version, suffix, arity, reason) \
  ENTRY(symbol, api, version, suffix)
#include "driver/driver_api.def"
    {"cuTestTwelveWords", "cuTestTwelveWords", 13000, "",
     reinterpret_cast<void*>(&cuTestTwelveWords)},
    {"cuTestMixed", "cuTestMixed", 13000, "", reinterpret_cast<void*>(&cuTestMixed)},
};
const std::size_t entry_count = sizeof(entries) / sizeof(entries[0]);
}  // namespace

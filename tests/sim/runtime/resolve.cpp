#include "resolve.hpp"

#include <dlfcn.h>

#include <cstring>
#include <iterator>
#include <mutex>

#include "simrt.h"

namespace simrt {
namespace {

struct Request {
  const char* name;
  int version;
  cuuint64_t flags;
  void* address;
};

Request requests[] = {
#include "requests.inc"
};

using GetProcAddress = CUresult (*)(const char*, void**, int, cuuint64_t, void*);
using GetExportTable = CUresult (*)(const void**, const CUuuid*);

constexpr unsigned char table_before_init[16] = {0xf8, 0xcf, 0xf9, 0x51, 0x21, 0x46, 0x8b, 0x4e,
                                                 0xb9, 0xe2, 0xfb, 0x46, 0x9e, 0x7c, 0x0d, 0xd9};
constexpr unsigned char table_interface[16] = {0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a,
                                               0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d, 0xf9};

bool has_table(const unsigned char (&id)[16]) {
  CUuuid uuid;
  std::memcpy(uuid.bytes, id, sizeof uuid.bytes);
  const void* table = nullptr;
  const auto ask = reinterpret_cast<GetExportTable>(resolved("cuGetExportTable", 3000, 0));
  return ask != nullptr && ask(&table, &uuid) == CUDA_SUCCESS && table != nullptr;
}

int find_driver() {
  void* library = dlopen("libcuda.so.1", RTLD_NOW);
  if (library == nullptr) return RT_NO_DRIVER;
  const auto ask = reinterpret_cast<GetProcAddress>(dlsym(library, "cuGetProcAddress_v2"));
  if (ask == nullptr) return RT_NO_FUNCTION;
  void* probe = nullptr;
  if (const CUresult works = ask("", &probe, 0, 0, nullptr); works != CUDA_SUCCESS) return works;
  for (Request& request : requests) {
    const CUresult result =
        ask(request.name, &request.address, request.version, request.flags, nullptr);
    if (result != CUDA_SUCCESS) request.address = nullptr;
  }
  return RT_SUCCESS;
}

int check_driver() {
  if (!has_table(table_before_init)) return RT_INTEGRITY;
  int version = 0;
  const auto ask_version =
      reinterpret_cast<CUresult (*)(int*)>(resolved("cuDriverGetVersion", 2020, 0));
  const auto init = reinterpret_cast<CUresult (*)(unsigned)>(resolved("cuInit", 2000, 0));
  if (ask_version == nullptr || init == nullptr) return RT_NO_FUNCTION;
  if (const CUresult result = ask_version(&version); result != CUDA_SUCCESS) return result;
  if (const CUresult result = init(0); result != CUDA_SUCCESS) return result;
  return has_table(table_interface) ? RT_SUCCESS : RT_INTEGRITY;
}

}  // namespace

int start() {
  static std::once_flag once;
  static int result = RT_NO_DRIVER;
  std::call_once(once, [] {
    result = find_driver();
    if (result == RT_SUCCESS) result = check_driver();
  });
  return result;
}

void* resolved(const char* name, int version, int flags) {
  for (const Request& request : requests)
    if (request.version == version && request.flags == static_cast<cuuint64_t>(flags) &&
        std::strcmp(request.name, name) == 0)
      return request.address;
  return nullptr;
}

void count(int& found, int& asked) {
  asked = static_cast<int>(std::size(requests));
  found = 0;
  for (const Request& request : requests) found += request.address != nullptr ? 1 : 0;
}

}  // namespace simrt

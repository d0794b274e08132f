// Handlers of the driver's own loader: cuGetProcAddress and cuGetExportTable. The real one answers
// first, with the caller's own arguments; versions, stream modes and "not found" stay its decision.
#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "barswap/log.hpp"
#include "interpose/handlers.hpp"
#include "interpose/resolver.hpp"
#include "session/door.hpp"

namespace barswap::interpose::handlers {
namespace {

CUresult exchanged(CUresult result, const char* name, void** function) {
  report_second_copy();
  if (result == CUDA_SUCCESS && function && *function) *function = exchange(name, *function);
  return result;
}

// The private tables that the CUDA runtime and NVIDIA's libraries ask for, by their UUIDs as seen
// in the runtimes 12.x and 13.0 and their libraries. What is used of them neither submits device
// work nor allocates device memory (docs/adr/0010-private-tables.md).
struct Uuid {
  unsigned char bytes[16];
};
constexpr Uuid kVetted[] = {
    // Module loading and primary contexts.
    {{0x6b, 0xd5, 0xfb, 0x6c, 0x5b, 0xf4, 0xe7, 0x4a, 0x89, 0x87, 0xd9, 0x39, 0x12, 0xfd, 0x9d,
      0xf9}},
    // Asked for before cuInit, from 13.0.
    {{0xf8, 0xcf, 0xf9, 0x51, 0x21, 0x46, 0x8b, 0x4e, 0xb9, 0xe2, 0xfb, 0x46, 0x9e, 0x7c, 0x0d,
      0xd9}},
    // Hooks for tools.
    {{0xa0, 0x94, 0x79, 0x8c, 0x2e, 0x74, 0x2e, 0x74, 0x93, 0xf2, 0x08, 0x00, 0x20, 0x0c, 0x0a,
      0x66}},
    // Thread-local storage.
    {{0x42, 0xd8, 0x5a, 0x81, 0x23, 0xf6, 0xcb, 0x47, 0x82, 0x98, 0xf6, 0xe7, 0x8a, 0x3a, 0xec,
      0xdc}},
    // Context-local storage.
    {{0xc6, 0x93, 0x33, 0x6e, 0x11, 0x21, 0xdf, 0x11, 0xa8, 0xc3, 0x68, 0xf3, 0x55, 0xd8, 0x95,
      0x93}},
    // Integrity check.
    {{0xd4, 0x08, 0x20, 0x55, 0xbd, 0xe6, 0x70, 0x4b, 0x8d, 0x34, 0xba, 0x12, 0x3c, 0x66, 0xe1,
      0xf2}},
    // The number of a context: cuBLASLt and cuFFT, for their registers of kernels.
    {{0x21, 0x31, 0x8c, 0x60, 0x97, 0x14, 0x32, 0x48, 0x8c, 0xa6, 0x41, 0xff, 0x73, 0x24, 0xc8,
      0xf2}},
    // The run-time compiler, which works on the host alone.
    {{0xda, 0x91, 0x51, 0xd3, 0x3a, 0xe6, 0xcc, 0x41, 0xa5, 0xc0, 0x4f, 0x26, 0xd5, 0x33, 0xe3,
      0x28}},
    // How clusters of blocks lie on the die: cuBLASLt for kernels with clusters, compilers.
    {{0x17, 0x34, 0xdc, 0x26, 0x80, 0x0d, 0x47, 0x45, 0x87, 0x26, 0xc0, 0xf1, 0xe7, 0xdd, 0x8b,
      0xca}},
    // What NVML registers at its start.
    {{0x69, 0xa2, 0x8e, 0x9f, 0x24, 0x49, 0x8b, 0x47, 0xb0, 0x30, 0xc5, 0xda, 0x33, 0x0e, 0xa4,
      0xe9}},
    // Context checks.
    {{0x26, 0x3e, 0x88, 0x60, 0x7c, 0xd2, 0x61, 0x43, 0x92, 0xf6, 0xbb, 0xd5, 0x00, 0x6d, 0xfa,
      0x7e}},
};

// A large table that tools use as well; cuFFT takes from it how to walk a module's functions.
constexpr Uuid kOfModules = {{0x6e, 0x16, 0x3f, 0xbe, 0xb9, 0x58, 0x44, 0x4d, 0x83, 0x5c, 0xe1,
                              0x82, 0xaf, 0xf1, 0x99, 0x1e}};

bool same(const Uuid& known, const CUuuid& id) {
  return std::memcmp(known.bytes, id.bytes, sizeof(known.bytes)) == 0;
}

// The path of the library that called, or of the program.
const char* asker_of(const void* caller) {
  Dl_info info{};
  return dladdr(caller, &info) != 0 && info.dli_fname ? info.dli_fname : "the program";
}

bool is_vetted(const CUuuid& id) {
  return std::any_of(std::begin(kVetted), std::end(kVetted),
                     [&](const Uuid& known) { return same(known, id); });
}

bool is_vetted_for(const CUuuid& id, const char* asker) {
  const char* slash = std::strrchr(asker, '/');
  constexpr const char* kFft = "libcufft";
  return same(kOfModules, id) &&
         std::strncmp(slash ? slash + 1 : asker, kFft, std::strlen(kFft)) == 0;
}

// Who asks, and for what: enough for a user's report.
void report_table(const CUuuid& id, const char* asker) {
  char text[2 * sizeof id.bytes + 1];
  for (std::size_t i = 0; i < sizeof id.bytes; ++i)
    std::snprintf(text + 2 * i, 3, "%02x", static_cast<unsigned char>(id.bytes[i]));
  BARSWAP_LOG(info, "interpose", "%s asks for the driver's private table %s", asker, text);
}

}  // namespace

CUresult cuGetProcAddress(const char* symbol, void** function, int version, cuuint64_t flags) {
  return exchanged(forward<&driver::Api::cuGetProcAddress>(symbol, function, version, flags),
                   symbol, function);
}

CUresult cuGetProcAddress_v2(const char* symbol, void** function, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult* status) {
  return exchanged(
      forward<&driver::Api::cuGetProcAddress_v2>(symbol, function, version, flags, status), symbol,
      function);
}

CUresult cuGetExportTable(const void** table, const CUuuid* id) {
  const CUresult result = forward<&driver::Api::cuGetExportTable>(table, id);
  if (result != CUDA_SUCCESS || !id || is_vetted(*id)) return result;
  if (const char* asker = asker_of(__builtin_return_address(0)); !is_vetted_for(*id, asker)) {
    report_table(*id, asker);
    session::note_unseen_submitter("a private table of the driver that is not the runtime's");
  }
  return result;
}

}  // namespace barswap::interpose::handlers

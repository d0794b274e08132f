// The two structs of NVML that we fill, with the layout that NVIDIA documents for nvml.h, so that
// no NVML header is needed. Sizes in bytes.
#pragma once

namespace barswap::interpose {

using NvmlDevice = struct NvmlDeviceTag*;
constexpr int kNvmlSuccess = 0;
constexpr int kNvmlFunctionNotFound = 13;
constexpr unsigned kNvmlUuidBytes = 96;  // the longest that nvmlDeviceGetUUID writes

struct NvmlMemory {
  unsigned long long total;
  unsigned long long free;
  unsigned long long used;
};

struct NvmlMemory2 {
  unsigned version;
  unsigned long long total;
  unsigned long long reserved;
  unsigned long long free;
  unsigned long long used;
};

}  // namespace barswap::interpose

extern "C" {
#define BARSWAP_NVML(symbol, memory) \
  int symbol(barswap::interpose::NvmlDevice device, barswap::interpose::memory* answer);
#include "interpose/nvml_api.def"
}

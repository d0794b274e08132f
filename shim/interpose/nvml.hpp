// The structs of NVML that we fill or read, with the layout that NVIDIA documents for nvml.h, so
// that no NVML header is needed. Sizes in bytes.
#pragma once

namespace barswap::interpose {

using NvmlDevice = struct NvmlDeviceTag*;
constexpr int kNvmlSuccess = 0;
constexpr int kNvmlInsufficientSize = 7;
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

struct NvmlRates {
  unsigned gpu;  // percent of the time in which some kernel ran
  unsigned memory;
};

// Of nvmlDeviceGetComputeRunningProcesses_v3.
struct NvmlProcess {
  unsigned pid;
  unsigned long long used;
  unsigned gpu_instance;
  unsigned compute_instance;
};

}  // namespace barswap::interpose

extern "C" {
#define BARSWAP_NVML(symbol, memory) \
  int symbol(barswap::interpose::NvmlDevice device, barswap::interpose::memory* answer);
#include "interpose/nvml_api.def"
}

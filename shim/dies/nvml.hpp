// The structs of NVML that we fill or read, with the layout that NVIDIA documents for nvml.h, so
// that no NVML header is needed; and how its functions are called. Sizes in bytes.
#pragma once

namespace barswap::dies {

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

// NVML, wherever it was found.
class Nvml {
 public:
  // The real function of that name; null: there is none. It may take the loader's lock.
  using Find = void* (*)(const char* name);
  explicit Nvml(Find find) : find_(find) {}

  // The arguments have the types that NVML documents. Its refusals travel back unchanged.
  template <class... Arguments>
  int call(const char* name, Arguments... arguments) const {
    const auto function = reinterpret_cast<int (*)(Arguments...)>(find_(name));
    return function ? function(arguments...) : kNvmlFunctionNotFound;
  }

 private:
  Find find_;
};

}  // namespace barswap::dies

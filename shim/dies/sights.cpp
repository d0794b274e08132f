#include "dies/sights.hpp"

#include <atomic>
#include <utility>

namespace barswap::dies {
namespace {

// It is started once and for all: the program's own starts and stops are counted apart.
bool started(const Nvml& nvml) {
  static constinit std::atomic<bool> done{false};
  if (done.load()) return true;
  if (nvml.call("nvmlInit_v2") != kNvmlSuccess) return false;
  done.store(true);
  return true;
}

unsigned busy_percent(const Nvml& nvml, NvmlDevice device) {
  NvmlRates rates{};
  const int result = nvml.call("nvmlDeviceGetUtilizationRates", device, &rates);
  return result == kNvmlSuccess ? rates.gpu : 0;
}

bool sliced(const Nvml& nvml, NvmlDevice device) {
  unsigned now = 0, next_boot = 0;
  return nvml.call("nvmlDeviceGetMigMode", device, &now, &next_boot) == kNvmlSuccess && now != 0;
}

// Those that start meanwhile may make the list longer than was asked for; then it is not known.
std::vector<int> processes(const Nvml& nvml, NvmlDevice device) {
  constexpr const char* kName = "nvmlDeviceGetComputeRunningProcesses_v3";
  std::vector<NvmlProcess> all(64);
  auto count = static_cast<unsigned>(all.size());
  int result = nvml.call(kName, device, &count, all.data());
  if (result == kNvmlInsufficientSize) {
    all.resize(count + 64);
    count = static_cast<unsigned>(all.size());
    result = nvml.call(kName, device, &count, all.data());
  }
  std::vector<int> pids;
  for (unsigned i = 0; result == kNvmlSuccess && i < count; ++i)
    pids.push_back(static_cast<int>(all[i].pid));
  return pids;
}

bool look_at(const Nvml& nvml, NvmlDevice device, Sight& sight) {
  char uuid[kNvmlUuidBytes] = "";
  NvmlMemory memory{};
  if (nvml.call("nvmlDeviceGetUUID", device, &uuid[0], kNvmlUuidBytes) != kNvmlSuccess ||
      nvml.call("nvmlDeviceGetMemoryInfo", device, &memory) != kNvmlSuccess)
    return false;
  sight = {uuid, memory.free, busy_percent(nvml, device), processes(nvml, device),
           sliced(nvml, device)};
  return true;
}

}  // namespace

// A die that does not answer is none that the driver would give to this process.
std::vector<Sight> sights(const Nvml& nvml) {
  std::vector<Sight> all;
  unsigned count = 0;
  if (!started(nvml) || nvml.call("nvmlDeviceGetCount_v2", &count) != kNvmlSuccess) return all;
  for (unsigned i = 0; i < count; ++i) {
    NvmlDevice device = nullptr;
    Sight sight;
    if (nvml.call("nvmlDeviceGetHandleByIndex_v2", i, &device) == kNvmlSuccess &&
        look_at(nvml, device, sight))
      all.push_back(std::move(sight));
  }
  return all;
}

std::optional<std::uint64_t> free_on(const Nvml& nvml, const std::string& uuid) {
  NvmlDevice device = nullptr;
  NvmlMemory memory{};
  const bool known =
      started(nvml) &&
      nvml.call("nvmlDeviceGetHandleByUUID", uuid.c_str(), &device) == kNvmlSuccess &&
      nvml.call("nvmlDeviceGetMemoryInfo", device, &memory) == kNvmlSuccess;
  if (!known) return std::nullopt;
  return memory.free;
}

}  // namespace barswap::dies

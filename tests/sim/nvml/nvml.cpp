// A libnvidia-ml.so.1 of the simulated machine, for tests that put this folder into the search
// path: as many dies as SIM_DIES, with the driver's UUIDs.
//
// SIM_NVML says how each looks: "free:busy:processes" of the first, of the second and so on,
// separated by ';' ("512MiB:30:2;1GiB:0:0"): what is free, percent busy, how many processes compute
// on it. A die that it does not name is free and idle; one more than SIM_DIES the driver does not
// have. "broken": it does not start.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <sstream>

#include "interpose/nvml.hpp"
#include "sim/config.hpp"

namespace {

using namespace barswap;
using dies::NvmlDevice;
using dies::NvmlMemory;
using dies::NvmlProcess;
using dies::NvmlRates;

constexpr int kInvalidArgument = 2;
constexpr int kUnknown = 999;
// Numbers that no process of a test has.
constexpr unsigned kFirstPid = 1u << 30;

struct DieLook {
  int number = 0;
  std::size_t free_bytes = 0;
  unsigned busy_percent = 0, processes = 0;
};

std::string said() {
  const char* text = std::getenv("SIM_NVML");
  return text ? text : "";
}

DieLook looks[sim::dies_max];

int count = 0;

void look() {
  const sim::Config config = sim::Config::from_environment();
  std::istringstream items(said());
  for (count = 0; count < sim::dies_max; ++count) {
    DieLook& die = looks[count];
    die = {count, config.vram_bytes, 0, 0};
    std::string item, free;
    if (!std::getline(items, item, ';')) {
      if (count < config.dies) continue;
      return;
    }
    std::istringstream words(item);
    std::getline(words, free, ':');
    die.free_bytes = sim::parse_size(free);
    char colon = 0;
    words >> die.busy_percent >> colon >> die.processes;
  }
}

DieLook* die_of(NvmlDevice device) { return reinterpret_cast<DieLook*>(device); }

}  // namespace

#define VISIBLE extern "C" [[gnu::visibility("default")]]

VISIBLE int nvmlInit_v2() {
  if (said() == "broken") return kUnknown;
  // Threads may start it together, as they may NVIDIA's.
  static std::mutex mutex;
  static bool looked = false;
  const std::lock_guard lock(mutex);
  if (!looked) look();
  looked = true;
  return dies::kNvmlSuccess;
}

VISIBLE int nvmlDeviceGetCount_v2(unsigned* answer) {
  *answer = static_cast<unsigned>(count);
  return dies::kNvmlSuccess;
}

VISIBLE int nvmlDeviceGetHandleByIndex_v2(unsigned index, NvmlDevice* device) {
  if (index >= static_cast<unsigned>(count)) return kInvalidArgument;
  *device = reinterpret_cast<NvmlDevice>(&looks[index]);
  return dies::kNvmlSuccess;
}

VISIBLE int nvmlDeviceGetHandleByUUID(const char* uuid, NvmlDevice* device) {
  for (DieLook& die : looks)
    if (sim::uuid_text(die.number) == uuid) {
      *device = reinterpret_cast<NvmlDevice>(&die);
      return dies::kNvmlSuccess;
    }
  return kInvalidArgument;
}

VISIBLE int nvmlDeviceGetUUID(NvmlDevice device, char* text, unsigned bytes) {
  std::snprintf(text, bytes, "%s", sim::uuid_text(die_of(device)->number).c_str());
  return dies::kNvmlSuccess;
}

VISIBLE int nvmlDeviceGetMemoryInfo(NvmlDevice device, NvmlMemory* answer) {
  const std::size_t total_bytes = sim::Config::from_environment().vram_bytes;
  const std::size_t free_bytes = std::min(die_of(device)->free_bytes, total_bytes);
  *answer = {total_bytes, free_bytes, total_bytes - free_bytes};
  return dies::kNvmlSuccess;
}

VISIBLE int nvmlDeviceGetUtilizationRates(NvmlDevice device, NvmlRates* rates) {
  *rates = {die_of(device)->busy_percent, 0};
  return dies::kNvmlSuccess;
}

VISIBLE int nvmlDeviceGetComputeRunningProcesses_v3(NvmlDevice device, unsigned* length,
                                                    NvmlProcess* processes) {
  const unsigned room = *length;
  *length = die_of(device)->processes;
  if (*length > room) return dies::kNvmlInsufficientSize;
  for (unsigned i = 0; i < *length; ++i) processes[i] = {kFirstPid + i, 0, 0, 0};
  return dies::kNvmlSuccess;
}

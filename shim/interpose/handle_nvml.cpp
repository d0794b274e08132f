#include "interpose/handle_nvml.hpp"

#include <atomic>
#include <cstdint>
#include <utility>

#include "interpose/resolver.hpp"
#include "session/door.hpp"

namespace barswap::interpose {
namespace {

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// "GPU-" and 32 hexadecimal digits with dashes between. A slice of a die ("MIG-") is left alone.
bool parse_uuid(const char* text, unsigned char (&uuid)[16]) {
  if (text[0] != 'G' || text[1] != 'P' || text[2] != 'U') return false;
  int digits = 0;
  for (text += 3; *text && digits < 32; ++text) {
    if (*text == '-') continue;
    const int digit = digit_of(*text);
    if (digit < 0) return false;
    uuid[digits / 2] =
        static_cast<unsigned char>(digits % 2 ? uuid[digits / 2] | digit : digit << 4);
    ++digits;
  }
  return digits == 32;
}

bool uuid_of(NvmlDevice device, char (&text)[kNvmlUuidBytes]) {
  using GetUuid = int (*)(NvmlDevice, char*, unsigned);
  const auto get_uuid = reinterpret_cast<GetUuid>(next_nvml("nvmlDeviceGetUUID"));
  return get_uuid && get_uuid(device, text, sizeof(text)) == kNvmlSuccess;
}

void advertise(NvmlDevice device, unsigned long long& total, unsigned long long& free,
               unsigned long long& used, unsigned long long reserved) {
  char text[kNvmlUuidBytes] = "";
  unsigned char uuid[16]{};
  std::uint64_t total_bytes = 0, free_bytes = 0;
  if (!uuid_of(device, text) || !parse_uuid(text, uuid) ||
      !session::advertised(uuid, &total_bytes, &free_bytes))
    return;
  total = total_bytes;
  free = free_bytes;
  const std::uint64_t gone = free_bytes + reserved;
  used = total_bytes > gone ? total_bytes - gone : 0;
}

template <class Memory>
int ask_real(const char* symbol, NvmlDevice device, Memory* answer) {
  using GetMemory = int (*)(NvmlDevice, Memory*);
  const auto get_memory = reinterpret_cast<GetMemory>(next_nvml(symbol));
  return get_memory ? get_memory(device, answer) : kNvmlFunctionNotFound;
}

// It is started once and for all: the program's own starts and stops are counted apart.
bool started() {
  using Init = int (*)();
  static constinit std::atomic<bool> done{false};
  if (done.load()) return true;
  const auto init = reinterpret_cast<Init>(next_nvml("nvmlInit_v2"));
  if (!init || init() != kNvmlSuccess) return false;
  done.store(true);
  return true;
}

unsigned busy_percent(NvmlDevice device) {
  using Get = int (*)(NvmlDevice, NvmlRates*);
  const auto get = reinterpret_cast<Get>(next_nvml("nvmlDeviceGetUtilizationRates"));
  NvmlRates rates{};
  return get && get(device, &rates) == kNvmlSuccess ? rates.gpu : 0;
}

bool sliced(NvmlDevice device) {
  using Get = int (*)(NvmlDevice, unsigned*, unsigned*);
  const auto get = reinterpret_cast<Get>(next_nvml("nvmlDeviceGetMigMode"));
  unsigned now = 0, next_boot = 0;
  return get && get(device, &now, &next_boot) == kNvmlSuccess && now != 0;
}

// Those that start meanwhile may make the list longer than was asked for; then it is not known.
std::vector<int> processes(NvmlDevice device) {
  using Get = int (*)(NvmlDevice, unsigned*, NvmlProcess*);
  const auto get = reinterpret_cast<Get>(next_nvml("nvmlDeviceGetComputeRunningProcesses_v3"));
  std::vector<NvmlProcess> all(64);
  auto count = static_cast<unsigned>(all.size());
  int result = get ? get(device, &count, all.data()) : kNvmlFunctionNotFound;
  if (result == kNvmlInsufficientSize) {
    all.resize(count + 64);
    count = static_cast<unsigned>(all.size());
    result = get(device, &count, all.data());
  }
  std::vector<int> pids;
  for (unsigned i = 0; result == kNvmlSuccess && i < count; ++i)
    pids.push_back(static_cast<int>(all[i].pid));
  return pids;
}

bool look_at(NvmlDevice device, session::Sight& sight) {
  char uuid[kNvmlUuidBytes] = "";
  NvmlMemory memory{};
  if (!uuid_of(device, uuid) ||
      ask_real("nvmlDeviceGetMemoryInfo", device, &memory) != kNvmlSuccess)
    return false;
  sight = {uuid, memory.free, busy_percent(device), processes(device), sliced(device)};
  return true;
}

}  // namespace

int memory_info(const char* symbol, NvmlDevice device, NvmlMemory* answer) noexcept {
  const int result = ask_real(symbol, device, answer);
  if (result == kNvmlSuccess && answer)
    advertise(device, answer->total, answer->free, answer->used, 0);
  return result;
}

int memory_info(const char* symbol, NvmlDevice device, NvmlMemory2* answer) noexcept {
  const int result = ask_real(symbol, device, answer);
  if (result == kNvmlSuccess && answer)
    advertise(device, answer->total, answer->free, answer->used, answer->reserved);
  return result;
}

std::optional<std::uint64_t> free_by_nvml(const std::string& uuid) {
  using Find = int (*)(const char*, NvmlDevice*);
  const auto find = reinterpret_cast<Find>(next_nvml("nvmlDeviceGetHandleByUUID"));
  if (!find || !started()) return std::nullopt;
  NvmlDevice device = nullptr;
  NvmlMemory memory{};
  const bool known = find(uuid.c_str(), &device) == kNvmlSuccess &&
                     ask_real("nvmlDeviceGetMemoryInfo", device, &memory) == kNvmlSuccess;
  if (!known) return std::nullopt;
  return memory.free;
}

// A die that does not answer is none that the driver would give to this process.
std::vector<session::Sight> sights_by_nvml() {
  using GetCount = int (*)(unsigned*);
  using GetDevice = int (*)(unsigned, NvmlDevice*);
  const auto get_count = reinterpret_cast<GetCount>(next_nvml("nvmlDeviceGetCount_v2"));
  const auto get_device = reinterpret_cast<GetDevice>(next_nvml("nvmlDeviceGetHandleByIndex_v2"));
  std::vector<session::Sight> sights;
  unsigned count = 0;
  if (!get_count || !get_device || !started() || get_count(&count) != kNvmlSuccess) return sights;
  for (unsigned i = 0; i < count; ++i) {
    NvmlDevice device = nullptr;
    session::Sight sight;
    if (get_device(i, &device) == kNvmlSuccess && look_at(device, sight))
      sights.push_back(std::move(sight));
  }
  return sights;
}

}  // namespace barswap::interpose

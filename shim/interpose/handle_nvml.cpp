#include "interpose/handle_nvml.hpp"

#include <atomic>
#include <cstdint>

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

bool uuid_of(NvmlDevice device, unsigned char (&uuid)[16]) {
  using GetUuid = int (*)(NvmlDevice, char*, unsigned);
  const auto get_uuid = reinterpret_cast<GetUuid>(next_nvml("nvmlDeviceGetUUID"));
  char text[kNvmlUuidBytes] = "";
  return get_uuid && get_uuid(device, text, sizeof(text)) == kNvmlSuccess && parse_uuid(text, uuid);
}

void advertise(NvmlDevice device, unsigned long long& total, unsigned long long& free,
               unsigned long long& used, unsigned long long reserved) {
  unsigned char uuid[16]{};
  std::uint64_t total_bytes = 0, free_bytes = 0;
  if (!uuid_of(device, uuid) || !session::advertised(uuid, &total_bytes, &free_bytes)) return;
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

// It is started once and for all: the program's own starts and stops are counted apart.
std::optional<std::uint64_t> free_by_nvml(const std::string& uuid) {
  using Simple = int (*)();
  using Find = int (*)(const char*, NvmlDevice*);
  const auto init = reinterpret_cast<Simple>(next_nvml("nvmlInit_v2"));
  const auto find = reinterpret_cast<Find>(next_nvml("nvmlDeviceGetHandleByUUID"));
  static std::atomic<bool> started{false};
  if (!init || !find) return std::nullopt;
  if (!started.load() && init() != kNvmlSuccess) return std::nullopt;
  started.store(true);
  NvmlDevice device = nullptr;
  NvmlMemory memory{};
  const bool known = find(uuid.c_str(), &device) == kNvmlSuccess &&
                     ask_real("nvmlDeviceGetMemoryInfo", device, &memory) == kNvmlSuccess;
  if (!known) return std::nullopt;
  return memory.free;
}

}  // namespace barswap::interpose

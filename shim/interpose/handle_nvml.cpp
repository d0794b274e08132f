#include "interpose/handle_nvml.hpp"

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

dies::Nvml nvml() { return dies::Nvml(next_nvml); }

void advertise(dies::NvmlDevice device, unsigned long long& total, unsigned long long& free,
               unsigned long long& used, unsigned long long reserved) {
  char text[dies::kNvmlUuidBytes] = "";
  unsigned char uuid[16]{};
  std::uint64_t total_bytes = 0, free_bytes = 0;
  if (nvml().call("nvmlDeviceGetUUID", device, &text[0], dies::kNvmlUuidBytes) !=
          dies::kNvmlSuccess ||
      !parse_uuid(text, uuid) || !session::advertised(uuid, &total_bytes, &free_bytes))
    return;
  total = total_bytes;
  free = free_bytes;
  const std::uint64_t gone = free_bytes + reserved;
  used = total_bytes > gone ? total_bytes - gone : 0;
}

}  // namespace

int memory_info(const char* symbol, dies::NvmlDevice device, dies::NvmlMemory* answer) noexcept {
  const int result = nvml().call(symbol, device, answer);
  if (result == dies::kNvmlSuccess && answer)
    advertise(device, answer->total, answer->free, answer->used, 0);
  return result;
}

int memory_info(const char* symbol, dies::NvmlDevice device, dies::NvmlMemory2* answer) noexcept {
  const int result = nvml().call(symbol, device, answer);
  if (result == dies::kNvmlSuccess && answer)
    advertise(device, answer->total, answer->free, answer->used, answer->reserved);
  return result;
}

std::optional<std::uint64_t> free_by_nvml(const std::string& uuid) {
  return dies::free_on(nvml(), uuid);
}

std::vector<dies::Sight> sights_by_nvml() { return dies::sights(nvml()); }

}  // namespace barswap::interpose

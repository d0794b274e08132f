#include "interpose/rows.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include "driver/api.hpp"
#include "interpose/nvml.hpp"

namespace barswap::interpose {
namespace {

constexpr const char* kNames[] = {
#define BARSWAP_HOOK(symbol, api, version, suffix, arity) #symbol,
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits) #symbol,
#define BARSWAP_SYNC(symbol, api, version, suffix, arity) #symbol,
#define BARSWAP_RETRY(symbol, api, version, suffix, arity) #symbol,
#define BARSWAP_ORDER(symbol, api, version, suffix, arity) #symbol,
#define BARSWAP_CALL(symbol, api, version, suffix, arity) #symbol,
#define BARSWAP_PASS(symbol, api, version, suffix, arity, reason) #symbol,
#include "driver/driver_api.def"
#define BARSWAP_NVML(symbol, memory) #symbol,
#include "interpose/nvml_api.def"
};
constexpr std::size_t kCount = std::size(kNames);

// In the order of kNames. The addresses are fixed up by the loader before any code of ours runs.
void* const kWrappers[kCount] = {
#define BARSWAP_HOOK(symbol, api, version, suffix, arity) reinterpret_cast<void*>(&::symbol),
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits) \
  reinterpret_cast<void*>(&::symbol),
#define BARSWAP_SYNC(symbol, api, version, suffix, arity) reinterpret_cast<void*>(&::symbol),
#define BARSWAP_RETRY(symbol, api, version, suffix, arity) reinterpret_cast<void*>(&::symbol),
#define BARSWAP_ORDER(symbol, api, version, suffix, arity) reinterpret_cast<void*>(&::symbol),
#define BARSWAP_CALL(symbol, api, version, suffix, arity) nullptr,
#define BARSWAP_PASS(symbol, api, version, suffix, arity, reason) nullptr,
#include "driver/driver_api.def"
#define BARSWAP_NVML(symbol, memory) reinterpret_cast<void*>(&::symbol),
#include "interpose/nvml_api.def"
};

constexpr auto kByName = [] {
  std::array<std::uint16_t, kCount> order{};
  for (std::size_t i = 0; i < kCount; ++i) order[i] = static_cast<std::uint16_t>(i);
  std::sort(order.begin(), order.end(), [](std::uint16_t a, std::uint16_t b) {
    return std::string_view(kNames[a]) < std::string_view(kNames[b]);
  });
  return order;
}();

constexpr bool each_name_once() {
  for (std::size_t i = 1; i < kCount; ++i)
    if (std::string_view(kNames[kByName[i - 1]]) == kNames[kByName[i]]) return false;
  return true;
}
static_assert(each_name_once(), "a function is in two rows");

}  // namespace

Owner owner_of(const char* name) {
  if (name[0] == 'c' && name[1] == 'u' && name[2] >= 'A' && name[2] <= 'Z') return Owner::driver;
  if (name[0] == 'n' && name[1] == 'v' && name[2] == 'm' && name[3] == 'l') return Owner::nvml;
  return Owner::none;
}

std::size_t row_count() { return kCount; }
Row row_at(std::size_t index) { return {kNames[index], kWrappers[index]}; }

Row row_named(const char* name) {
  const auto found = std::lower_bound(
      kByName.begin(), kByName.end(), name,
      [](std::uint16_t row, const char* wanted) { return std::strcmp(kNames[row], wanted) < 0; });
  if (found == kByName.end() || std::strcmp(kNames[*found], name) != 0) return {};
  return row_at(*found);
}

}  // namespace barswap::interpose

// Finding functions by name: the table, cuGetProcAddress and the private tables.
#include <algorithm>
#include <cstring>
#include <unordered_map>

#include "sim/machine.hpp"

namespace barswap::sim {
namespace {

// The variants of one API name, by ascending version.
using Variants = std::vector<const Row*>;

const std::unordered_map<std::string_view, Variants>& by_api() {
  static const auto* table = [] {
    auto* map = new std::unordered_map<std::string_view, Variants>;
    for (int i = 0; i < row_count; ++i) (*map)[rows()[i].api].push_back(&rows()[i]);
    for (auto& [name, variants] : *map)
      std::stable_sort(variants.begin(), variants.end(),
                       [](const Row* a, const Row* b) { return a->version < b->version; });
    return map;
  }();
  return *table;
}

bool same_mode(const Row& variant, bool per_thread) { return variant.suffix.empty() != per_thread; }

struct Answer {
  const Row* row = nullptr;
  CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
};

// The newest variant that the asked version knows. A function without a twin answers for both
// modes.
Answer look_up(const char* name, int version, cuuint64_t flags, int driver_version) {
  const auto found = by_api().find(name);
  if (found == by_api().end()) return {};
  const bool per_thread = (flags & CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM) != 0;
  const int newest = std::min(version, driver_version);
  Answer answer;
  bool any = false;
  for (const bool mode : {per_thread, false}) {
    for (const Row* variant : found->second) {
      if (!same_mode(*variant, mode) || variant->version > driver_version) continue;
      any = true;
      if (variant->version <= newest) answer.row = variant;
    }
    if (answer.row != nullptr) break;
  }
  answer.status = answer.row != nullptr ? CU_GET_PROC_ADDRESS_SUCCESS
                  : any                 ? CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT
                                        : CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND;
  return answer;
}

// What a private table holds is private: some slots that do nothing, after the size that comes
// first.
struct ExportTable {
  void* slots[32];
};

CUresult private_slot() { return CUDA_ERROR_NOT_SUPPORTED; }

constexpr unsigned char known_tables[][4] = {
    {0xf8, 0xcf, 0xf9, 0x51}, {0x6b, 0xd5, 0xfb, 0x6c}, {0xa0, 0x94, 0x79, 0x8c},
    {0x42, 0xd8, 0x5a, 0x81}, {0xc6, 0x93, 0x33, 0x6e}, {0xd4, 0x08, 0x20, 0x55},
    {0x26, 0x3e, 0x88, 0x60},
    // Of libraries.
    {0x21, 0x31, 0x8c, 0x60}, {0xda, 0x91, 0x51, 0xd3}, {0x17, 0x34, 0xdc, 0x26},
    {0x69, 0xa2, 0x8e, 0x9f}, {0x6e, 0x16, 0x3f, 0xbe},
    // Of nobody that we know.
    {0x00, 0x11, 0x22, 0x33},
};

}  // namespace

void* find(const char* symbol) {
  static const auto* table = [] {
    auto* map = new std::unordered_map<std::string_view, void*>;
    for (int i = 0; i < row_count; ++i) map->emplace(rows()[i].symbol, rows()[i].entry);
    return map;
  }();
  const auto found = table->find(symbol);
  return found == table->end() ? nullptr : found->second;
}

void fill(driver::Api& api) {
  driver::fill(api, [](void*, const char* symbol) { return find(symbol); }, nullptr);
}

namespace body {

CUresult cuGetProcAddress_v2(const char* name, void** function, int version, cuuint64_t flags,
                             CUdriverProcAddressQueryResult* status) {
  if (name == nullptr || function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if ((flags & ~static_cast<cuuint64_t>(CU_GET_PROC_ADDRESS_LEGACY_STREAM |
                                        CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM)) != 0)
    return CUDA_ERROR_INVALID_VALUE;
  // The runtime's first question, with an empty name, asks only whether this function works.
  if (*name == '\0') {
    *function = find("cuGetProcAddress_v2");
    if (status != nullptr) *status = CU_GET_PROC_ADDRESS_SUCCESS;
    return CUDA_SUCCESS;
  }
  const Answer answer =
      look_up(name, version, flags, Machine::current()->config().driver_version);
  if (status != nullptr) *status = answer.status;
  *function = answer.row == nullptr ? nullptr : answer.row->entry;
  return CUDA_SUCCESS;
}

// The older form knows no status: what is missing is an error, and the pointer stays as it was.
CUresult cuGetProcAddress(const char* name, void** function, int version, cuuint64_t flags) {
  if (name == nullptr || function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  void* found = nullptr;
  CUdriverProcAddressQueryResult status{};
  const CUresult result = body::cuGetProcAddress_v2(name, &found, version, flags, &status);
  if (result != CUDA_SUCCESS) return result;
  if (found == nullptr) return CUDA_ERROR_NOT_FOUND;
  *function = found;
  return CUDA_SUCCESS;
}

CUresult cuGetExportTable(const void** table, const CUuuid* id) {
  if (table == nullptr || id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  static ExportTable tables[std::size(known_tables)];
  for (std::size_t i = 0; i < std::size(known_tables); ++i) {
    if (std::memcmp(id->bytes, known_tables[i], 4) != 0) continue;
    ExportTable& known = tables[i];
    std::fill(std::begin(known.slots), std::end(known.slots),
              reinterpret_cast<void*>(&private_slot));
    known.slots[0] = reinterpret_cast<void*>(sizeof known.slots);
    *table = known.slots;
    return CUDA_SUCCESS;
  }
  *table = nullptr;
  return CUDA_ERROR_NOT_FOUND;
}

}  // namespace body
}  // namespace barswap::sim

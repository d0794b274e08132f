// The driver's functions as the simulator sees them: all derived from shim/driver/driver_api.def.
//
// Each function is declared twice: `sim::cuX` is what a program calls (counted, faulted, locked),
// and `sim::body::cuX` is what it does. A body that nobody wrote is a weak default: a twin for a
// stream mode calls its plain form, anything else answers CUDA_ERROR_NOT_SUPPORTED.
#pragma once

#include <string_view>

#include "driver/api.hpp"

// Rows of every kind, reduced to what a simulator asks: ROW(symbol, api, version, suffix, arity).
#define BARSWAP_SIM_ROWS "sim/rows.inc"

namespace barswap::sim {

#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity) decltype(::symbol) symbol;
#include BARSWAP_SIM_ROWS
namespace body {
#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity) decltype(::symbol) symbol;
#include BARSWAP_SIM_ROWS
}  // namespace body

// An index into the table, in the order of driver_api.def.
enum class RowId : int {
#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity) symbol,
#include BARSWAP_SIM_ROWS
};

struct Row {
  const char* symbol;
  const char* api;
  int version;
  std::string_view suffix;  // empty, "_ptsz" or "_ptds"
  void* entry;              // what a program calls
  void* body;
};

inline constexpr int row_count = 0
#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity) +1
#include BARSWAP_SIM_ROWS
    ;

const Row* rows();
inline const Row& row(RowId id) { return rows()[static_cast<int>(id)]; }

// The entry point exported under this name; null if there is none.
void* find(const char* symbol);
void fill(driver::Api& api);

}  // namespace barswap::sim

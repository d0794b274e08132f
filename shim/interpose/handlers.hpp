// One handler for each HOOK row, declared from the row: a handler that is missing does not link,
// one with other types does not compile. A handler receives the program's own arguments and returns
// what the program sees. It opens the session's door itself, because some rows must work before
// cuInit.
#pragma once
#include <type_traits>

#include "driver/api.hpp"

namespace barswap::interpose::handlers {
#define BARSWAP_HOOK(symbol, api, version, suffix, arity) \
  std::remove_pointer_t<decltype(&::symbol)> symbol;
#include "driver/driver_api.def"
}  // namespace barswap::interpose::handlers

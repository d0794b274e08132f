#include "driver/api.hpp"

namespace barswap::driver {

void fill(Api& api, Finder find, void* state) {
#define BARSWAP_FILL(symbol) \
  api.symbol = reinterpret_cast<decltype(api.symbol)>(find(state, #symbol));
#define BARSWAP_HOOK(symbol, api_name, version, suffix, arity) BARSWAP_FILL(symbol)
#define BARSWAP_SUBMIT(symbol, api_name, version, suffix, arity, traits) BARSWAP_FILL(symbol)
#define BARSWAP_SYNC(symbol, api_name, version, suffix, arity) BARSWAP_FILL(symbol)
#define BARSWAP_RETRY(symbol, api_name, version, suffix, arity) BARSWAP_FILL(symbol)
#define BARSWAP_ORDER(symbol, api_name, version, suffix, arity) BARSWAP_FILL(symbol)
#define BARSWAP_CALL(symbol, api_name, version, suffix, arity) BARSWAP_FILL(symbol)
#include "driver/driver_api.def"
#undef BARSWAP_FILL
}

}  // namespace barswap::driver

// The driver's functions that the shim does not export: the program reaches the driver itself, as
// the loader would bind it.
#include "interpose/parameters.hpp"
#include "sim/machine.hpp"

#define BARSWAP_UNHOOKED(symbol, arity)                                                           \
  extern "C" CUresult symbol(BARSWAP_PARAMETERS_##arity(symbol)) {                                \
    static const auto entry = reinterpret_cast<decltype(&::symbol)>(barswap::sim::find(#symbol)); \
    return entry(BARSWAP_ARGUMENTS_##arity);                                                      \
  }
#define BARSWAP_HOOK(symbol, api, version, suffix, arity)
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits)
#define BARSWAP_SYNC(symbol, api, version, suffix, arity)
#define BARSWAP_RETRY(symbol, api, version, suffix, arity)
#define BARSWAP_ORDER(symbol, api, version, suffix, arity)
#define BARSWAP_CALL(symbol, api, version, suffix, arity) BARSWAP_UNHOOKED(symbol, arity)
#define BARSWAP_PASS(symbol, api, version, suffix, arity, reason) BARSWAP_UNHOOKED(symbol, arity)
#include "driver/driver_api.def"

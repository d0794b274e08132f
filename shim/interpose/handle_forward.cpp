// The weakest handler: the call as it came. A handler of the same name in its family's file
// replaces it.
#include "interpose/handlers.hpp"
#include "interpose/parameters.hpp"
#include "interpose/resolver.hpp"

namespace barswap::interpose::handlers {
#define BARSWAP_HOOK(symbol, api, version, suffix, arity)                \
  [[gnu::weak]] CUresult symbol(BARSWAP_PARAMETERS_##arity(symbol)) {    \
    return forward<&driver::Api::symbol>(BARSWAP_ARGUMENTS_##arity);     \
  }
#include "driver/driver_api.def"
}  // namespace barswap::interpose::handlers

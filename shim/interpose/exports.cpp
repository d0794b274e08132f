// Expansion only: each row of the tables becomes one exported function. HOOK rows go to their
// handler; the other kinds are the same few lines for every function, and stand here.
//
// The exports are not noexcept: cuda.h declares them without, and a thread that is cancelled while
// it sleeps in the driver must be able to unwind through us. Nothing of ours throws.
#include <type_traits>

#include "barswap/barswap.h"
#include "interpose/config.hpp"
#include "interpose/handle_nvml.hpp"
#include "interpose/handlers.hpp"
#include "interpose/parameters.hpp"
#include "interpose/resolver.hpp"
#include "interpose/submit.hpp"
#include "session/door.hpp"
#include "trace/trace.hpp"

namespace barswap::interpose {
namespace {

// For the trace: a stream's handle, or 0 for calls that wait for something else.
template <class... A>
std::uint64_t stream_of(A... arguments) {
  if constexpr (std::is_same_v<void(A...), void(CUstream)>)
    return (reinterpret_cast<std::uintptr_t>(arguments), ...);
  else return 0;
}

template <auto Slot, class... A>
CUresult wait_in_driver(bool traced, A... arguments) {
  const trace::Wait wait(traced, {trace::kAnyDie, stream_of(arguments...)});
  return forward<Slot>(arguments...);
}

template <auto Slot, class... A>
CUresult synchronize(A... arguments) {
  session::Door door;
  if (door.open()) session::come_home();
  const CUresult result = wait_in_driver<Slot>(door.open(), arguments...);
  if (!door.open()) return result;
  session::free_moment();
  return heard(result);
}

template <auto Slot, class... A>
CUresult order(A... arguments) {
  const session::Door door;
  const session::AtHome home(door.open());
  return forward<Slot>(arguments...);
}

template <auto Slot, class... A>
CUresult retry(A... arguments) {
  session::Door door;
  CUresult result = forward<Slot>(arguments...);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && door.open() && session::after_out_of_memory())
    result = forward<Slot>(arguments...);
  return result;
}

}  // namespace
}  // namespace barswap::interpose

#define BARSWAP_EXPORT extern "C" [[gnu::visibility("default")]]
#define BARSWAP_BODY(symbol, arity, ...)                                                 \
  static_assert(barswap::interpose::Signature<decltype(&::symbol)>::kParameters == arity, \
                #symbol ": the row's arity is wrong");                                    \
  BARSWAP_EXPORT CUresult symbol(BARSWAP_PARAMETERS_##arity(symbol)) {                    \
    using namespace barswap::interpose;                                                   \
    return __VA_ARGS__(BARSWAP_ARGUMENTS_##arity);                                        \
  }

#define BARSWAP_HOOK(symbol, api, version, suffix, arity) \
  BARSWAP_BODY(symbol, arity, handlers::symbol)
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits) \
  BARSWAP_BODY(symbol, arity, submit<&barswap::driver::Api::symbol, Trait::traits>)
#define BARSWAP_SYNC(symbol, api, version, suffix, arity) \
  BARSWAP_BODY(symbol, arity, synchronize<&barswap::driver::Api::symbol>)
#define BARSWAP_ORDER(symbol, api, version, suffix, arity) \
  BARSWAP_BODY(symbol, arity, order<&barswap::driver::Api::symbol>)
#define BARSWAP_RETRY(symbol, api, version, suffix, arity) \
  BARSWAP_BODY(symbol, arity, retry<&barswap::driver::Api::symbol>)
#include "driver/driver_api.def"

#define BARSWAP_NVML(symbol, memory)                                              \
  BARSWAP_EXPORT int symbol(barswap::dies::NvmlDevice device,                     \
                            barswap::dies::memory* answer) {                      \
    return barswap::interpose::memory_info(#symbol, device, answer);              \
  }
#include "interpose/nvml_api.def"

BARSWAP_EXPORT const char* barswap_version(void) { return BARSWAP_VERSION; }
BARSWAP_EXPORT int barswap_active(void) { return barswap::session::active() ? 1 : 0; }
BARSWAP_EXPORT const char* barswap_stats_path(void) { return barswap::session::statistics_path(); }

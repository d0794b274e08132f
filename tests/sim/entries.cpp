// The entry of every function, and the table of them. In libcuda.so.1 the entries are the exported
// symbols; in process they live in the namespace, beside whatever else exports those names.
#include "sim/machine.hpp"
#include "sim/process.hpp"
#include "sim/signature.hpp"

namespace barswap::sim {
namespace {

template <class... Arguments>
CUresult enter(RowId id, CUresult (*body)(Arguments...), Arguments... arguments) {
  Machine* machine = machine_for_call();
  if (machine == nullptr) return CUDA_ERROR_NOT_INITIALIZED;
  machine->lock();
  CUresult result = machine->begin_call(id);
  if (result == CUDA_SUCCESS) result = body(arguments...);
  machine->unlock();
  return result;
}

}  // namespace

#ifdef BARSWAP_SIM_EXPORT
}  // namespace barswap::sim
#define BARSWAP_SIM_ENTRY(symbol) ::symbol
#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity)                              \
  extern "C" [[gnu::visibility("default")]] CUresult symbol(                              \
      BARSWAP_SIM_PARAMETERS_##arity(symbol)) {                                           \
    using namespace barswap::sim;                                                         \
    return enter(RowId::symbol, &body::symbol BARSWAP_SIM_ARGUMENTS_##arity);             \
  }
#include BARSWAP_SIM_ROWS
namespace barswap::sim {
#else
#define BARSWAP_SIM_ENTRY(symbol) sim::symbol
#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity)                  \
  CUresult symbol(BARSWAP_SIM_PARAMETERS_##arity(symbol)) {                   \
    return enter(RowId::symbol, &body::symbol BARSWAP_SIM_ARGUMENTS_##arity); \
  }
#include BARSWAP_SIM_ROWS
#endif

const Row* rows() {
  static const Row table[] = {
#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity)                          \
  {#symbol, #api, version, #suffix, reinterpret_cast<void*>(&BARSWAP_SIM_ENTRY(symbol)), \
   reinterpret_cast<void*>(&body::symbol)},
#include BARSWAP_SIM_ROWS
  };
  return table;
}

}  // namespace barswap::sim

// The body of every function that nobody wrote: weak, so that a written one replaces it when
// linked.
#include "sim/machine.hpp"
#include "sim/signature.hpp"

namespace barswap::sim {
namespace {

const Row* plain_form(const Row& twin) {
  const std::string_view symbol = twin.symbol;
  const std::string_view plain = symbol.substr(0, symbol.size() - twin.suffix.size());
  for (int i = 0; i < row_count; ++i)
    if (rows()[i].symbol == plain) return &rows()[i];
  return nullptr;
}

// A twin of a stream mode is its plain form, under the mode in which handle 0 is the thread's
// stream.
template <class... Arguments>
CUresult default_body(RowId id, CUresult (*)(Arguments...), Arguments... arguments) {
  const Row& called = row(id);
  if (called.suffix.empty()) return CUDA_ERROR_NOT_SUPPORTED;
  const Row* plain = plain_form(called);
  if (plain == nullptr) return CUDA_ERROR_NOT_SUPPORTED;
  ThreadState& state = Machine::current()->thread();
  const bool before = state.per_thread_default;
  state.per_thread_default = true;
  const CUresult result = reinterpret_cast<CUresult (*)(Arguments...)>(plain->body)(arguments...);
  state.per_thread_default = before;
  return result;
}

}  // namespace

namespace body {
#define BARSWAP_SIM_ROW(symbol, api, version, suffix, arity)                             \
  [[gnu::weak]] CUresult symbol(BARSWAP_SIM_PARAMETERS_##arity(symbol)) {                \
    return default_body(RowId::symbol, &body::symbol BARSWAP_SIM_ARGUMENTS_##arity);     \
  }
#include BARSWAP_SIM_ROWS
}  // namespace body

}  // namespace barswap::sim

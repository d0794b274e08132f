// Launches: what they name is counted while something has spilled; nothing else is done to them.
// Modules and libraries: when one goes, what we know of its kernels goes with it.
#include "interpose/call.hpp"
#include "interpose/submit.hpp"

namespace barswap::interpose::handlers {
namespace {

// Only the outermost call of a thread is the program's own.
void note(CUfunction function, void** parameters, void** extra) {
  if (session::door_depth != 0) return;
  session::Session* session = session::Session::current();
  if (!session || !session->reach().wanted()) [[likely]] return;
  const session::Door door;
  if (!door.open()) return;
  session->reach().launch(
      static_cast<driver::Function>(reinterpret_cast<std::uintptr_t>(function)), parameters,
      extra);
}

// `parameters` and `extra` are the last two arguments of every launch but the cooperative ones.
template <auto Slot, class... A>
CUresult launched(CUfunction function, void** parameters, void** extra, A... arguments) {
  note(function, parameters, extra);
  return submit<Slot, Trait::RETRY_ON_OOM>(arguments...);
}

template <auto Slot, class Handle>
CUresult unloaded(Handle handle) {
  const Call call;
  const CUresult result = forward<Slot>(handle);
  if (call) call->reach().forget_functions();
  return result;
}

}  // namespace

#define BARSWAP_LAUNCH(symbol)                                                               \
  CUresult symbol(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,    \
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,     \
                  CUstream stream, void** parameters, void** extra) {                        \
    return launched<&driver::Api::symbol>(function, parameters, extra, function, grid_x,     \
                                          grid_y, grid_z, block_x, block_y, block_z, shared, \
                                          stream, parameters, extra);                        \
  }
BARSWAP_LAUNCH(cuLaunchKernel)
BARSWAP_LAUNCH(cuLaunchKernel_ptsz)
#undef BARSWAP_LAUNCH

#define BARSWAP_LAUNCH(symbol)                                                               \
  CUresult symbol(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,    \
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,     \
                  CUstream stream, void** parameters) {                                      \
    return launched<&driver::Api::symbol>(function, parameters, nullptr, function, grid_x,   \
                                          grid_y, grid_z, block_x, block_y, block_z, shared, \
                                          stream, parameters);                               \
  }
BARSWAP_LAUNCH(cuLaunchCooperativeKernel)
BARSWAP_LAUNCH(cuLaunchCooperativeKernel_ptsz)
#undef BARSWAP_LAUNCH

#define BARSWAP_LAUNCH(symbol)                                                             \
  CUresult symbol(const CUlaunchConfig* config, CUfunction function, void** parameters,    \
                  void** extra) {                                                          \
    return launched<&driver::Api::symbol>(function, parameters, extra, config, function,   \
                                          parameters, extra);                              \
  }
BARSWAP_LAUNCH(cuLaunchKernelEx)
BARSWAP_LAUNCH(cuLaunchKernelEx_ptsz)
#undef BARSWAP_LAUNCH

CUresult cuModuleUnload(CUmodule module) { return unloaded<&driver::Api::cuModuleUnload>(module); }
CUresult cuLibraryUnload(CUlibrary library) {
  return unloaded<&driver::Api::cuLibraryUnload>(library);
}

}  // namespace barswap::interpose::handlers

// Launches: what they name is read while something has spilled, or for a trace; nothing else is
// done to them.
#include "interpose/call.hpp"
#include "interpose/timed.hpp"

namespace barswap::interpose::handlers {
namespace {

session::Launch launch_of(CUfunction function, void** parameters, void** extra,
                          std::uint64_t threads, std::uint64_t blocks, CUstream stream) {
  return {static_cast<driver::Function>(reinterpret_cast<std::uintptr_t>(function)), parameters,
          extra, threads, blocks, reinterpret_cast<std::uintptr_t>(stream)};
}

template <auto Slot, class... A>
CUresult launched(driver::Stream stream, const session::Launch& launch, A... arguments) {
  const auto note = [&](session::Session& session) { return session.reach().launch(launch); };
  return timed<Slot, Trait::RETRY_ON_OOM>(stream, note, arguments...);
}

std::uint64_t product(unsigned x, unsigned y, unsigned z) { return std::uint64_t{x} * y * z; }

}  // namespace

#define BARSWAP_LAUNCH(symbol)                                                            \
  CUresult symbol(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, \
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,  \
                  CUstream stream, void** parameters, void** extra) {                     \
    return launched<&driver::Api::symbol>(                                                \
        stream_behind(#symbol, stream),                                                   \
        launch_of(function, parameters, extra, product(block_x, block_y, block_z),        \
                  product(grid_x, grid_y, grid_z), stream),                               \
        function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream,      \
        parameters, extra);                                                               \
  }
BARSWAP_LAUNCH(cuLaunchKernel)
BARSWAP_LAUNCH(cuLaunchKernel_ptsz)
#undef BARSWAP_LAUNCH

#define BARSWAP_LAUNCH(symbol)                                                            \
  CUresult symbol(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, \
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,  \
                  CUstream stream, void** parameters) {                                   \
    return launched<&driver::Api::symbol>(                                                \
        stream_behind(#symbol, stream),                                                   \
        launch_of(function, parameters, nullptr, product(block_x, block_y, block_z),      \
                  product(grid_x, grid_y, grid_z), stream),                               \
        function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream,      \
        parameters);                                                                      \
  }
BARSWAP_LAUNCH(cuLaunchCooperativeKernel)
BARSWAP_LAUNCH(cuLaunchCooperativeKernel_ptsz)
#undef BARSWAP_LAUNCH

// Without a configuration there is nothing to read; the driver says so.
#define BARSWAP_LAUNCH(symbol)                                                              \
  CUresult symbol(const CUlaunchConfig* config, CUfunction function, void** parameters,     \
                  void** extra) {                                                           \
    if (!config) return forward<&driver::Api::symbol>(config, function, parameters, extra); \
    return launched<&driver::Api::symbol>(                                                  \
        stream_behind(#symbol, config->hStream),                                            \
        launch_of(function, parameters, extra,                                              \
                  product(config->blockDimX, config->blockDimY, config->blockDimZ),         \
                  product(config->gridDimX, config->gridDimY, config->gridDimZ),            \
                  config->hStream),                                                         \
        config, function, parameters, extra);                                               \
  }
BARSWAP_LAUNCH(cuLaunchKernelEx)
BARSWAP_LAUNCH(cuLaunchKernelEx_ptsz)
#undef BARSWAP_LAUNCH

}  // namespace barswap::interpose::handlers

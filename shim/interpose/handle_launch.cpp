// Launches: what they name is read while something has spilled, or for a trace; and where launches
// are routed, one may be sent to another die.
#include <algorithm>
#include <optional>

#include "driver/errors.hpp"
#include "interpose/call.hpp"
#include "interpose/timed.hpp"

namespace barswap::interpose::handlers {
namespace {

session::Launch launch_of(CUfunction function, void** parameters, void** extra,
                          std::uint64_t threads, std::uint64_t blocks, CUstream stream,
                          driver::Stream behind, bool tied) {
  return {static_cast<driver::Function>(reinterpret_cast<std::uintptr_t>(function)),
          parameters,
          extra,
          threads,
          blocks,
          reinterpret_cast<std::uintptr_t>(stream),
          behind,
          tied};
}

// Nothing: it is to be made at home. `on` is the driver's call, with the kernel and the stream left
// open.
template <class On>
std::optional<CUresult> sent_away(session::Session& session, const session::Launch& launch, Die die,
                                  On on) {
  const session::Submission inside{session::Submission::Away{}};
  session::Router::Sending sending(*session.router(), {launch.function, launch.behind, launch.tied},
                                   die);
  if (!sending.ready()) return std::nullopt;
  const auto stream = static_cast<std::uintptr_t>(sending.stream());
  const auto kernel = static_cast<std::uintptr_t>(sending.function());
  const CUresult result =
      on(reinterpret_cast<CUfunction>(kernel), reinterpret_cast<CUstream>(stream));
  if (sending.sent(result, driver::is_sticky(result))) return result;
  return std::nullopt;
}

// `on` as above; `arguments` are those of the program's own call.
template <auto Slot, class On, class... A>
CUresult launched(const session::Launch& launch, On on, A... arguments) {
  session::Session* session = session::Session::current();
  session::Router* router = session ? session->router() : nullptr;
  const auto note = [&](session::Session& noting) { return noting.reach().launch(launch); };
  if (!router || session::door_depth != 0 || !session->reach().wanted()) [[likely]]
    return timed<Slot, Trait::RETRY_ON_OOM>(launch.behind, note, arguments...);
  const session::Declaration declaration;
  session::Timing timing;
  {
    const session::Door door;
    if (!door.open()) return forward<Slot>(arguments...);
    session::RouteNames names;
    timing = session->reach().launch(launch, &names);
    const session::Router::Order order{launch.function, launch.behind, launch.tied};
    if (const auto die = router->plan(order, names)) {
      const auto result = sent_away(*session, launch, *die, on);
      // Its own stream does not see it: it is not timed.
      if (result) session->stopwatch().lose(timing);
      if (result) return *result;
    }
  }
  const session::AtHome home;
  if (session::counting.load(std::memory_order_relaxed)) router->launches_at_home(launch.behind);
  const auto noted = [&](session::Session&) { return timing; };
  return timed<Slot, Trait::RETRY_ON_OOM>(launch.behind, noted, arguments...);
}

std::uint64_t product(unsigned x, unsigned y, unsigned z) { return std::uint64_t{x} * y * z; }

// An attribute that holds on another die as it does here, whatever it is for.
bool ties(const CUlaunchAttribute& attribute) {
  switch (attribute.id) {
    case CU_LAUNCH_ATTRIBUTE_IGNORE:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION:
    case CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT:
    case CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: return false;
    case CU_LAUNCH_ATTRIBUTE_COOPERATIVE: return attribute.value.cooperative != 0;
    default: return true;
  }
}

bool ties(const CUlaunchConfig& config) {
  return std::any_of(config.attrs, config.attrs + (config.attrs ? config.numAttrs : 0),
                     [](const CUlaunchAttribute& attribute) { return ties(attribute); });
}

}  // namespace

#define BARSWAP_LAUNCH(symbol)                                                                     \
  CUresult symbol(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,          \
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,           \
                  CUstream stream, void** parameters, void** extra) {                              \
    const auto on = [&](CUfunction kernel, CUstream there) {                                       \
      return forward<&driver::Api::symbol>(kernel, grid_x, grid_y, grid_z, block_x, block_y,       \
                                           block_z, shared, there, parameters, extra);             \
    };                                                                                             \
    return launched<&driver::Api::symbol>(                                                         \
        launch_of(function, parameters, extra, product(block_x, block_y, block_z),                 \
                  product(grid_x, grid_y, grid_z), stream, stream_behind(#symbol, stream), false), \
        on, function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream,           \
        parameters, extra);                                                                        \
  }
BARSWAP_LAUNCH(cuLaunchKernel)
BARSWAP_LAUNCH(cuLaunchKernel_ptsz)
#undef BARSWAP_LAUNCH

// Its blocks wait for each other on one die, and its capacity was asked for there.
#define BARSWAP_LAUNCH(symbol)                                                                    \
  CUresult symbol(CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z,         \
                  unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,          \
                  CUstream stream, void** parameters) {                                           \
    const auto nowhere = [](CUfunction, CUstream) { return CUDA_ERROR_NOT_SUPPORTED; };           \
    return launched<&driver::Api::symbol>(                                                        \
        launch_of(function, parameters, nullptr, product(block_x, block_y, block_z),              \
                  product(grid_x, grid_y, grid_z), stream, stream_behind(#symbol, stream), true), \
        nowhere, function, grid_x, grid_y, grid_z, block_x, block_y, block_z, shared, stream,     \
        parameters);                                                                              \
  }
BARSWAP_LAUNCH(cuLaunchCooperativeKernel)
BARSWAP_LAUNCH(cuLaunchCooperativeKernel_ptsz)
#undef BARSWAP_LAUNCH

// Without a configuration there is nothing to read; the driver says so.
#define BARSWAP_LAUNCH(symbol)                                                                    \
  CUresult symbol(const CUlaunchConfig* config, CUfunction function, void** parameters,           \
                  void** extra) {                                                                 \
    if (!config) return forward<&driver::Api::symbol>(config, function, parameters, extra);       \
    const auto on = [&](CUfunction kernel, CUstream there) {                                      \
      CUlaunchConfig moved = *config;                                                             \
      moved.hStream = there;                                                                      \
      return forward<&driver::Api::symbol>(&moved, kernel, parameters, extra);                    \
    };                                                                                            \
    return launched<&driver::Api::symbol>(                                                        \
        launch_of(function, parameters, extra,                                                    \
                  product(config->blockDimX, config->blockDimY, config->blockDimZ),               \
                  product(config->gridDimX, config->gridDimY, config->gridDimZ), config->hStream, \
                  stream_behind(#symbol, config->hStream), ties(*config)),                        \
        on, config, function, parameters, extra);                                                 \
  }
BARSWAP_LAUNCH(cuLaunchKernelEx)
BARSWAP_LAUNCH(cuLaunchKernelEx_ptsz)
#undef BARSWAP_LAUNCH

}  // namespace barswap::interpose::handlers

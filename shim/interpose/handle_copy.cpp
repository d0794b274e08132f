// Copies. On one die the gate is all they need. With several, a range may lie where the copying die
// cannot reach: then the copy runs on the range's own die, in the order of the program's stream, or
// crosses through the host. A capture cannot hold an arranged copy: our own streams would join it.
#include <algorithm>
#include <optional>

#include "barswap/log.hpp"
#include "driver/errors.hpp"
#include "interpose/along.hpp"
#include "interpose/submit.hpp"

namespace barswap::interpose::handlers {
namespace {

constexpr bool kBlocks = true;

// The stream that 0 stands for: the legacy one, or in the per-thread family the thread's own.
template <bool PerThread>
driver::Stream stream_of(CUstream stream) {
  const auto word = reinterpret_cast<std::uintptr_t>(stream);
  const auto zero =
      reinterpret_cast<std::uintptr_t>(PerThread ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY);
  return static_cast<driver::Stream>(word == 0 ? zero : word);
}

CUresult code_of(const Result<void>& outcome) {
  return outcome ? CUDA_SUCCESS : driver::code_of(outcome.error());
}

// Where a copy between these two must be arranged by us. Neither set: the driver's own call does
// it.
struct Route {
  std::optional<Die> whole;  // the whole copy runs on this die
  std::optional<Die> from, to;
  bool direct() const { return !whole && !from; }
};

Result<Route> route_of(const Call& call, CUdeviceptr to, CUdeviceptr from, driver::Stream stream) {
  Route route;
  if (!call->several_dies() || (!call.owns(to) && !call.owns(from))) return route;
  const Die here = BARSWAP_TRY(call->crossing().die_of(stream));
  const auto target = call->home_of(static_cast<Address>(to));
  const auto source = call->home_of(static_cast<Address>(from));
  const auto reached = [&](const std::optional<Die>& home) {
    return !home || call->crossing().reaches(here, *home);
  };
  if (reached(target) && reached(source)) return route;
  if (target && source && *target != *source) {
    if (call->crossing().reaches(*target, *source)) route.whole = *target;
    else if (call->crossing().reaches(*source, *target)) route.whole = *source;
    else route.from = *source, route.to = *target;
    return route;
  }
  route.whole = target ? *target : *source;
  return route;
}

// As the driver does with what it cannot capture, so that a program that ignores the code does not
// replay a graph without the copy: asking a stream that captures voids its capture.
CUresult refuse_in_capture(driver::Stream stream) {
  BARSWAP_LOG_ONCE(warn, "interpose",
                   "a copy between dies was to be captured into a graph, but the die of its stream "
                   "does not surely reach both ranges: refused. Cure: enable peer access first");
  const CUresult code = forward<&driver::Api::cuStreamQuery>(reinterpret_cast<CUstream>(stream));
  const bool said = code != CUDA_SUCCESS && code != CUDA_ERROR_NOT_READY;
  return said ? code : CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
}

// `direct` is the program's own call; `submit` puts the same copy on a stream of another die.
// `host` is the side that is called the host's, and may be an address of ours all the same.
template <class Direct, class Submit>
CUresult copied(const Call& call, CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                driver::Stream stream, bool blocks, Direct direct, Submit submit,
                const void* host) {
  const session::Declaration declaration;
  if (call->reach().wanted())
    call->reach().copy(static_cast<Address>(to), static_cast<Address>(from), bytes,
                       static_cast<std::uintptr_t>(stream), blocks,
                       static_cast<Address>(reinterpret_cast<std::uintptr_t>(host)));
  const auto pages = [&](CUdeviceptr side) {
    return call->memory().in_arena(static_cast<Address>(side));
  };
  if (!blocks && pages(to) && pages(from))
    if (const auto result = along(call, stream, submit)) return *result;
  const session::Submission inside(blocks, session::Says::declared);
  auto found = route_of(call, to, from, stream);
  if (!found) return code_of(found.error());
  const Route& route = *found;
  if (route.direct()) return direct();
  auto capturing = call->verbs().capturing(stream);
  if (!capturing) return code_of(capturing.error());
  if (*capturing) return refuse_in_capture(stream);
  const driver::RelaxedCapture relaxed(call->verbs());
  session::Crossing& crossing = call->crossing();
  auto outcome =
      route.whole ? crossing.on(*route.whole, stream,
                                [&](driver::Stream other) -> Result<void> {
                                  const CUresult code = submit(reinterpret_cast<CUstream>(other));
                                  if (code != CUDA_SUCCESS) return Error{Fault::driver, code};
                                  return {};
                                })
                  : crossing.copy(static_cast<Address>(to), *route.to, static_cast<Address>(from),
                                  *route.from, bytes, stream);
  if (outcome && blocks)
    return forward<&driver::Api::cuStreamSynchronize>(reinterpret_cast<CUstream>(stream));
  return code_of(outcome);
}

// One that blocks has waited for what was sent to other dies, too.
template <class Direct, class Submit>
CUresult copy(const Call& call, CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
              driver::Stream stream, bool blocks, Direct direct, Submit submit,
              const void* host = nullptr) {
  if (!call) return direct();
  if (const int lost = session::lost_away.load(std::memory_order_relaxed)) [[unlikely]]
    return static_cast<CUresult>(lost);
  const CUresult result = copied(call, to, from, bytes, stream, blocks, direct, submit, host);
  return blocks ? heard(result) : result;
}

}  // namespace

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<false>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpy>(to, from, bytes); },
      [&](CUstream other) { return forward<&driver::Api::cuMemcpyAsync>(to, from, bytes, other); });
}

CUresult cuMemcpy_ptds(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<true>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpy_ptds>(to, from, bytes); },
      [&](CUstream other) { return forward<&driver::Api::cuMemcpyAsync>(to, from, bytes, other); });
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<false>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyAsync>(to, from, bytes, stream); },
      [&](CUstream other) { return forward<&driver::Api::cuMemcpyAsync>(to, from, bytes, other); });
}

CUresult cuMemcpyAsync_ptsz(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<true>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyAsync_ptsz>(to, from, bytes, stream); },
      [&](CUstream other) { return forward<&driver::Api::cuMemcpyAsync>(to, from, bytes, other); });
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<false>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoD_v2>(to, from, bytes); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoDAsync_v2>(to, from, bytes, other);
      });
}

CUresult cuMemcpyDtoD_v2_ptds(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<true>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoD_v2_ptds>(to, from, bytes); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoDAsync_v2>(to, from, bytes, other);
      });
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                              CUstream stream) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<false>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoDAsync_v2>(to, from, bytes, stream); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoDAsync_v2>(to, from, bytes, other);
      });
}

CUresult cuMemcpyDtoDAsync_v2_ptsz(CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                                   CUstream stream) {
  const Call call;
  return copy(
      call, to, from, bytes, stream_of<true>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoDAsync_v2_ptsz>(to, from, bytes, stream); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoDAsync_v2>(to, from, bytes, other);
      });
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) {
  const Call call;
  return copy(
      call, to, CUdeviceptr{0}, bytes, stream_of<false>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyHtoD_v2>(to, from, bytes); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyHtoDAsync_v2>(to, from, bytes, other);
      },
      from);
}

CUresult cuMemcpyHtoD_v2_ptds(CUdeviceptr to, const void* from, std::size_t bytes) {
  const Call call;
  return copy(
      call, to, CUdeviceptr{0}, bytes, stream_of<true>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyHtoD_v2_ptds>(to, from, bytes); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyHtoDAsync_v2>(to, from, bytes, other);
      },
      from);
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes,
                              CUstream stream) {
  const Call call;
  return copy(
      call, to, CUdeviceptr{0}, bytes, stream_of<false>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyHtoDAsync_v2>(to, from, bytes, stream); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyHtoDAsync_v2>(to, from, bytes, other);
      },
      from);
}

CUresult cuMemcpyHtoDAsync_v2_ptsz(CUdeviceptr to, const void* from, std::size_t bytes,
                                   CUstream stream) {
  const Call call;
  return copy(
      call, to, CUdeviceptr{0}, bytes, stream_of<true>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyHtoDAsync_v2_ptsz>(to, from, bytes, stream); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyHtoDAsync_v2>(to, from, bytes, other);
      },
      from);
}

CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) {
  const Call call;
  return copy(
      call, CUdeviceptr{0}, from, bytes, stream_of<false>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoH_v2>(to, from, bytes); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoHAsync_v2>(to, from, bytes, other);
      },
      to);
}

CUresult cuMemcpyDtoH_v2_ptds(void* to, CUdeviceptr from, std::size_t bytes) {
  const Call call;
  return copy(
      call, CUdeviceptr{0}, from, bytes, stream_of<true>(CUstream{}), kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoH_v2_ptds>(to, from, bytes); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoHAsync_v2>(to, from, bytes, other);
      },
      to);
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call;
  return copy(
      call, CUdeviceptr{0}, from, bytes, stream_of<false>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoHAsync_v2>(to, from, bytes, stream); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoHAsync_v2>(to, from, bytes, other);
      },
      to);
}

CUresult cuMemcpyDtoHAsync_v2_ptsz(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  const Call call;
  return copy(
      call, CUdeviceptr{0}, from, bytes, stream_of<true>(stream), !kBlocks,
      [&] { return forward<&driver::Api::cuMemcpyDtoHAsync_v2_ptsz>(to, from, bytes, stream); },
      [&](CUstream other) {
        return forward<&driver::Api::cuMemcpyDtoHAsync_v2>(to, from, bytes, other);
      },
      to);
}

namespace {

// A peer copy names contexts; what counts is where the bytes are. Memory that is not ours lies on
// the die of the context that the program named.
template <class Direct>
CUresult copy_peer(const Call& call, CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                   CUcontext from_context, std::size_t bytes, driver::Stream stream, bool blocks,
                   Direct direct) {
  if (!call || (!call.owns(to) && !call.owns(from))) {
    if (!call) return direct();
    const session::Submission inside(blocks);
    return direct();
  }
  auto target = call->home_of(static_cast<Address>(to));
  auto source = call->home_of(static_cast<Address>(from));
  const driver::Context strange = word_of(target ? from_context : to_context);
  if (!target || !source) {
    auto die = call->die_of(strange);
    if (!die) return code_of(die.error());
    (target ? source : target) = *die;
  }
  const session::Submission inside(blocks);
  if (*target == *source) return direct();
  session::Crossing& crossing = call->crossing();
  const auto plain = [&](driver::Stream other) {
    return call->verbs().copy(static_cast<Address>(to), static_cast<Address>(from), bytes, other);
  };
  // Grants are known of our own memory only.
  const bool both = call.owns(to) && call.owns(from);
  auto capturing = call->verbs().capturing(stream);
  if (!capturing) return code_of(capturing.error());
  if (*capturing) {
    auto here = crossing.die_of(stream);
    const bool reached =
        both && here && crossing.reaches(*here, *target) && crossing.reaches(*here, *source);
    return reached ? code_of(plain(stream)) : refuse_in_capture(stream);
  }
  const driver::RelaxedCapture relaxed(call->verbs());
  Result<void> outcome;
  if (both && crossing.reaches(*target, *source)) outcome = crossing.on(*target, stream, plain);
  else if (both && crossing.reaches(*source, *target))
    outcome = crossing.on(*source, stream, plain);
  else
    outcome = crossing.copy(static_cast<Address>(to), *target, static_cast<Address>(from), *source,
                            bytes, stream);
  if (outcome && blocks)
    return forward<&driver::Api::cuStreamSynchronize>(reinterpret_cast<CUstream>(stream));
  return code_of(outcome);
}

// Only a peer copy of one unbroken stretch is rearranged; a box with gaps goes to the driver as it
// is.
bool is_stretch(const CUDA_MEMCPY3D_PEER& box) {
  return box.srcMemoryType == CU_MEMORYTYPE_DEVICE && box.dstMemoryType == CU_MEMORYTYPE_DEVICE &&
         box.srcXInBytes == 0 && box.dstXInBytes == 0 && box.srcY == 0 && box.dstY == 0 &&
         box.srcZ == 0 && box.dstZ == 0 && box.Depth <= 1 &&
         (box.Height <= 1 ||
          (box.srcPitch == box.WidthInBytes && box.dstPitch == box.WidthInBytes));
}

template <class Direct>
CUresult copy_box(const Call& call, const CUDA_MEMCPY3D_PEER* box, driver::Stream stream,
                  bool blocks, Direct direct) {
  if (!call) return direct();
  if (!box || !is_stretch(*box)) {
    const session::Submission inside(blocks);
    return direct();
  }
  return copy_peer(call, box->dstDevice, box->dstContext, box->srcDevice, box->srcContext,
                   box->WidthInBytes * std::max<std::size_t>(box->Height, 1), stream, blocks,
                   direct);
}

}  // namespace

CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                      CUcontext from_context, std::size_t bytes) {
  const Call call;
  return copy_peer(
      call, to, to_context, from, from_context, bytes, stream_of<false>(CUstream{}), kBlocks, [&] {
        return forward<&driver::Api::cuMemcpyPeer>(to, to_context, from, from_context, bytes);
      });
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                           CUcontext from_context, std::size_t bytes, CUstream stream) {
  const Call call;
  return copy_peer(call, to, to_context, from, from_context, bytes, stream_of<false>(stream),
                   !kBlocks, [&] {
                     return forward<&driver::Api::cuMemcpyPeerAsync>(to, to_context, from,
                                                                     from_context, bytes, stream);
                   });
}

CUresult cuMemcpy3DPeer(const CUDA_MEMCPY3D_PEER* box) {
  const Call call;
  return copy_box(call, box, stream_of<false>(CUstream{}), kBlocks,
                  [&] { return forward<&driver::Api::cuMemcpy3DPeer>(box); });
}

CUresult cuMemcpy3DPeerAsync(const CUDA_MEMCPY3D_PEER* box, CUstream stream) {
  const Call call;
  return copy_box(call, box, stream_of<false>(stream), !kBlocks,
                  [&] { return forward<&driver::Api::cuMemcpy3DPeerAsync>(box, stream); });
}

CUresult cuMemcpyPeer_ptds(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                           CUcontext from_context, std::size_t bytes) {
  const Call call;
  return copy_peer(
      call, to, to_context, from, from_context, bytes, stream_of<true>(CUstream{}), kBlocks, [&] {
        return forward<&driver::Api::cuMemcpyPeer_ptds>(to, to_context, from, from_context, bytes);
      });
}

CUresult cuMemcpyPeerAsync_ptsz(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                                CUcontext from_context, std::size_t bytes, CUstream stream) {
  const Call call;
  return copy_peer(call, to, to_context, from, from_context, bytes, stream_of<true>(stream),
                   !kBlocks, [&] {
                     return forward<&driver::Api::cuMemcpyPeerAsync_ptsz>(
                         to, to_context, from, from_context, bytes, stream);
                   });
}

CUresult cuMemcpy3DPeer_ptds(const CUDA_MEMCPY3D_PEER* box) {
  const Call call;
  return copy_box(call, box, stream_of<true>(CUstream{}), kBlocks,
                  [&] { return forward<&driver::Api::cuMemcpy3DPeer_ptds>(box); });
}

CUresult cuMemcpy3DPeerAsync_ptsz(const CUDA_MEMCPY3D_PEER* box, CUstream stream) {
  const Call call;
  return copy_box(call, box, stream_of<true>(stream), !kBlocks,
                  [&] { return forward<&driver::Api::cuMemcpy3DPeerAsync_ptsz>(box, stream); });
}

}  // namespace barswap::interpose::handlers

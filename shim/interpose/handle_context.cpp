// Contexts: their birth gives us objects in them, their death takes what they own.
#include "driver/errors.hpp"
#include "interpose/call.hpp"

namespace barswap::interpose::handlers {
namespace {

CUresult made(const Call& call, CUresult result, CUcontext* context, CUdevice device) {
  if (call && result == CUDA_SUCCESS) call->context_made(word_of(*context), Die{device});
  return result;
}

// `end` is the driver's call. Until it is through, no batch of moves may use the context.
template <class End, class Gone>
CUresult ended(const Call& call, driver::Context context, End end, Gone gone) {
  call->context_ends(context);
  const CUresult result = end();
  call->context_ended(context, gone(result));
  return result;
}

template <auto Slot>
CUresult destroyed(CUcontext context) {
  const Call call;
  if (call) call->reach().functions_gone();
  if (!call || !call->pager().contexts().known(word_of(context))) return forward<Slot>(context);
  return ended(
      call, word_of(context), [&] { return forward<Slot>(context); },
      [](CUresult result) { return result == CUDA_SUCCESS; });
}

template <auto Slot>
CUresult primary_left(CUdevice device, bool always_gone) {
  const Call call;
  if (call) call->reach().functions_gone();
  const auto primary = call ? call->primary_of(Die{device}) : std::nullopt;
  if (!primary) return forward<Slot>(device);
  return ended(
      call, *primary, [&] { return forward<Slot>(device); },
      [&](CUresult result) {
        if (result != CUDA_SUCCESS) return false;
        auto active = call->verbs().primary_active(Die{device});
        return always_gone || (active && !*active);
      });
}

}  // namespace

CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice device) {
  const Call call;
  return made(call, forward_with_room<&driver::Api::cuCtxCreate_v2>(call, context, flags, device),
              context, device);
}

CUresult cuCtxCreate_v3(CUcontext* context, CUexecAffinityParam* affinity, int count,
                        unsigned flags, CUdevice device) {
  const Call call;
  return made(call,
              forward_with_room<&driver::Api::cuCtxCreate_v3>(call, context, affinity, count, flags,
                                                               device),
              context, device);
}

CUresult cuCtxCreate_v4(CUcontext* context, CUctxCreateParams* parameters, unsigned flags,
                        CUdevice device) {
  const Call call;
  return made(
      call,
      forward_with_room<&driver::Api::cuCtxCreate_v4>(call, context, parameters, flags, device),
      context, device);
}

CUresult cuCtxDestroy(CUcontext context) { return destroyed<&driver::Api::cuCtxDestroy>(context); }
CUresult cuCtxDestroy_v2(CUcontext context) {
  return destroyed<&driver::Api::cuCtxDestroy_v2>(context);
}
CUresult cuCtxDetach(CUcontext context) { return destroyed<&driver::Api::cuCtxDetach>(context); }

CUresult cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice device) {
  const Call call;
  const CUresult result =
      forward_with_room<&driver::Api::cuDevicePrimaryCtxRetain>(call, context, device);
  if (call && result == CUDA_SUCCESS) call->primary_retained(word_of(*context), Die{device});
  return result;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice device) {
  return primary_left<&driver::Api::cuDevicePrimaryCtxRelease>(device, false);
}
CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
  return primary_left<&driver::Api::cuDevicePrimaryCtxRelease_v2>(device, false);
}
// Others may still hold it, but what it held is gone.
CUresult cuDevicePrimaryCtxReset(CUdevice device) {
  return primary_left<&driver::Api::cuDevicePrimaryCtxReset>(device, true);
}
CUresult cuDevicePrimaryCtxReset_v2(CUdevice device) {
  return primary_left<&driver::Api::cuDevicePrimaryCtxReset_v2>(device, true);
}

CUresult cuGreenCtxCreate(CUgreenCtx* context, CUdevResourceDesc description, CUdevice device,
                          unsigned flags) {
  const Call call;
  return forward_with_room<&driver::Api::cuGreenCtxCreate>(call, context, description, device,
                                                           flags);
}

CUresult cuGreenCtxDestroy(CUgreenCtx context) {
  const Call call;
  return forward<&driver::Api::cuGreenCtxDestroy>(context);
}

// The proof of idleness of a primary context covers its green contexts.
CUresult cuCtxFromGreenCtx(CUcontext* context, CUgreenCtx green) {
  const Call call;
  const CUresult result = forward<&driver::Api::cuCtxFromGreenCtx>(context, green);
  if (call && result == CUDA_SUCCESS) {
    const driver::Entered entered(call->verbs(), word_of(*context));
    auto die = call->verbs().current_die();
    if (entered.ok() && die) call->context_seen(word_of(*context), *die);
  }
  return result;
}

CUresult cuCtxEnablePeerAccess(CUcontext peer, unsigned flags) {
  const Call call;
  const CUresult result = forward<&driver::Api::cuCtxEnablePeerAccess>(peer, flags);
  if (!call || result != CUDA_SUCCESS) return result;
  auto accessor = call->verbs().current();
  const auto granted = accessor ? call->peer_enabled(*accessor, word_of(peer))
                                : Result<void>(accessor.error());
  if (granted) return result;
  // Half a peer access would be a fault later; none is an error now.
  (void)forward<&driver::Api::cuCtxDisablePeerAccess>(peer);
  return driver::code_of(granted.error());
}

CUresult cuCtxDisablePeerAccess(CUcontext peer) {
  const Call call;
  const CUresult result = forward<&driver::Api::cuCtxDisablePeerAccess>(peer);
  if (!call || result != CUDA_SUCCESS) return result;
  auto accessor = call->verbs().current();
  if (accessor) call->peer_disabled(*accessor, word_of(peer));
  return result;
}

}  // namespace barswap::interpose::handlers

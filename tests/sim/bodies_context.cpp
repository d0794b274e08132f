// Contexts, their stack and their peers.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

CUresult check_die(CUdevice die) {
  return die >= 0 && die < machine().config().dies ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

CUresult create(CUcontext* result, unsigned flags, CUdevice die) {
  if (result == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(die));
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().create_context(die, flags, false, context));
  machine().thread().stack.push_back(context);
  *result = context->handle();
  return CUDA_SUCCESS;
}

CUresult synchronize(Context& context) {
  if (context.error != CUDA_SUCCESS) return context.error;
  BARSWAP_SIM_TRY(refuse_captured(context));
  return machine().wait_for(context, machine().scheduler().everything(&context));
}

CUresult find_context(CUcontext handle, Context*& context) {
  if (handle == nullptr) return machine().need(context);
  context = machine().context_of(handle);
  return context == nullptr ? CUDA_ERROR_INVALID_CONTEXT : CUDA_SUCCESS;
}

Context* top() {
  const auto& stack = machine().thread().stack;
  return stack.empty() ? nullptr : stack.back();
}

}  // namespace

namespace body {

CUresult cuCtxCreate_v2(CUcontext* context, unsigned flags, CUdevice die) {
  return create(context, flags, die);
}

CUresult cuCtxCreate_v3(CUcontext* context, CUexecAffinityParam*, int, unsigned flags,
                        CUdevice die) {
  return create(context, flags, die);
}

CUresult cuCtxCreate_v4(CUcontext* context, CUctxCreateParams*, unsigned flags, CUdevice die) {
  return create(context, flags, die);
}

CUresult cuCtxDestroy_v2(CUcontext handle) {
  Context* context = machine().context_of(handle);
  if (context == nullptr || context->primary) return CUDA_ERROR_INVALID_CONTEXT;
  machine().destroy_context(context);
  return CUDA_SUCCESS;
}

CUresult cuCtxDestroy(CUcontext handle) { return body::cuCtxDestroy_v2(handle); }
CUresult cuCtxDetach(CUcontext handle) { return body::cuCtxDestroy_v2(handle); }

CUresult cuDevicePrimaryCtxRetain(CUcontext* result, CUdevice die) {
  if (result == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(die));
  Primary& primary = machine().primary(die);
  Context* context = primary.context.get();
  if (context == nullptr || !context->active)
    BARSWAP_SIM_TRY(machine().create_context(die, primary.flags, true, context));
  ++primary.references;
  *result = context->handle();
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice die) {
  BARSWAP_SIM_TRY(check_die(die));
  Primary& primary = machine().primary(die);
  if (primary.references == 0) return CUDA_ERROR_INVALID_CONTEXT;
  if (--primary.references == 0) machine().empty_context(*primary.context);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxRelease(CUdevice die) { return body::cuDevicePrimaryCtxRelease_v2(die); }

// The references stay: a later use through the same handle finds the context gone until it is
// retained.
CUresult cuDevicePrimaryCtxReset_v2(CUdevice die) {
  BARSWAP_SIM_TRY(check_die(die));
  Primary& primary = machine().primary(die);
  if (primary.context != nullptr && primary.context->active)
    machine().empty_context(*primary.context);
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxReset(CUdevice die) { return body::cuDevicePrimaryCtxReset_v2(die); }

CUresult cuDevicePrimaryCtxGetState(CUdevice die, unsigned* flags, int* active) {
  BARSWAP_SIM_TRY(check_die(die));
  const Primary& primary = machine().primary(die);
  if (flags != nullptr) *flags = primary.flags;
  if (active != nullptr) *active = primary.context != nullptr && primary.context->active ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags_v2(CUdevice die, unsigned flags) {
  BARSWAP_SIM_TRY(check_die(die));
  machine().primary(die).flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuDevicePrimaryCtxSetFlags(CUdevice die, unsigned flags) {
  return body::cuDevicePrimaryCtxSetFlags_v2(die, flags);
}

CUresult cuCtxGetCurrent(CUcontext* context) {
  if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *context = top() == nullptr ? nullptr : top()->handle();
  return CUDA_SUCCESS;
}

CUresult cuCtxSetCurrent(CUcontext handle) {
  auto& stack = machine().thread().stack;
  if (handle != nullptr && machine().context_of(handle) == nullptr) {
    // A released primary context keeps its handle; making it current is allowed, using it is not.
    for (int die = 0; die < machine().config().dies; ++die) {
      const auto& primary = machine().primary(die).context;
      if (primary == nullptr || primary->handle() != handle) continue;
      if (!stack.empty()) stack.pop_back();
      stack.push_back(primary.get());
      return CUDA_SUCCESS;
    }
    return CUDA_ERROR_INVALID_CONTEXT;
  }
  if (!stack.empty()) stack.pop_back();
  if (handle != nullptr) stack.push_back(machine().context_of(handle));
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent_v2(CUcontext handle) {
  Context* context = machine().context_of(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  machine().thread().stack.push_back(context);
  return CUDA_SUCCESS;
}

CUresult cuCtxPushCurrent(CUcontext handle) { return body::cuCtxPushCurrent_v2(handle); }

CUresult cuCtxPopCurrent_v2(CUcontext* handle) {
  auto& stack = machine().thread().stack;
  if (stack.empty()) return CUDA_ERROR_INVALID_CONTEXT;
  if (handle != nullptr) *handle = stack.back()->handle();
  stack.pop_back();
  return CUDA_SUCCESS;
}

CUresult cuCtxPopCurrent(CUcontext* handle) { return body::cuCtxPopCurrent_v2(handle); }

CUresult cuCtxGetDevice(CUdevice* die) {
  if (die == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (top() == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  Context* context = nullptr;
  if (machine().need(context) == CUDA_ERROR_CONTEXT_IS_DESTROYED)
    return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  *die = context->die;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetDevice_v2(CUdevice* die, CUcontext handle) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(find_context(handle, context));
  *die = context->die;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetFlags(unsigned* flags) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  *flags = context->flags;
  return CUDA_SUCCESS;
}

CUresult cuCtxSetFlags(unsigned flags) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  context->flags = flags;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetId(CUcontext handle, unsigned long long* id) {
  Context* context = nullptr;
  if (id == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(find_context(handle, context));
  *id = context->id;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetApiVersion(CUcontext handle, unsigned* version) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(find_context(handle, context));
  *version = 3020;
  return CUDA_SUCCESS;
}

CUresult cuCtxSynchronize() {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  return synchronize(*context);
}

CUresult cuCtxSynchronize_v2(CUcontext handle) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(find_context(handle, context));
  return synchronize(*context);
}

CUresult cuCtxSetLimit(CUlimit limit, std::size_t value) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  if (limit < 0 || static_cast<std::size_t>(limit) >= std::size(context->limits))
    return CUDA_ERROR_INVALID_VALUE;
  context->limits[limit] = value;
  return CUDA_SUCCESS;
}

CUresult cuCtxGetLimit(std::size_t* value, CUlimit limit) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  if (limit < 0 || static_cast<std::size_t>(limit) >= std::size(context->limits))
    return CUDA_ERROR_INVALID_VALUE;
  *value = context->limits[limit];
  return CUDA_SUCCESS;
}

CUresult cuCtxGetCacheConfig(CUfunc_cache* config) {
  *config = CU_FUNC_CACHE_PREFER_NONE;
  return CUDA_SUCCESS;
}
CUresult cuCtxSetCacheConfig(CUfunc_cache) { return CUDA_SUCCESS; }

CUresult cuCtxGetStreamPriorityRange(int* least, int* greatest) {
  if (least != nullptr) *least = 0;
  if (greatest != nullptr) *greatest = -5;
  return CUDA_SUCCESS;
}

CUresult cuCtxEnablePeerAccess(CUcontext handle, unsigned flags) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  Context* peer = machine().context_of(handle);
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  if (peer == nullptr || peer == context) return CUDA_ERROR_INVALID_CONTEXT;
  if (peer->die == context->die || !machine().config().reaches(context->die, peer->die))
    return CUDA_ERROR_PEER_ACCESS_UNSUPPORTED;
  if (!context->peers.insert(peer).second) return CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED;
  machine().refresh_peer_access();
  return CUDA_SUCCESS;
}

CUresult cuCtxDisablePeerAccess(CUcontext handle) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  Context* peer = machine().context_of(handle);
  if (peer == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (context->peers.erase(peer) == 0) return CUDA_ERROR_PEER_ACCESS_NOT_ENABLED;
  machine().refresh_peer_access();
  return CUDA_SUCCESS;
}

// An event that covers all that the context has been given. It captures nothing; it breaks
// captures.
CUresult cuCtxRecordEvent(CUcontext handle, CUevent handle_of_event) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(find_context(handle, context));
  if (context->error != CUDA_SUCCESS) return context->error;
  Event* event = look_up(objects().events, handle_of_event);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (event->context != context) return CUDA_ERROR_INVALID_HANDLE;
  BARSWAP_SIM_TRY(refuse_captured(*context));
  event->recorded = true;
  event->capture.reset();
  event->after = machine().scheduler().everything(context);
  event->stamp_ns = std::make_shared<std::uint64_t>(machine().clock_ns());
  event->late_left = machine().config().late_queries;
  return CUDA_SUCCESS;
}

CUresult cuCtxWaitEvent(CUcontext handle, CUevent handle_of_event) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(find_context(handle, context));
  Event* event = look_up(objects().events, handle_of_event);
  if (event == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  BARSWAP_SIM_TRY(refuse_captured(*context));
  const auto streams = machine().scheduler().streams();
  for (const auto& stream : streams) {
    if (stream->context != context || stream->destroyed) continue;
    auto op = std::make_unique<MarkOp>();
    op->after = event->after;
    machine().scheduler().submit(*stream, std::move(op));
  }
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

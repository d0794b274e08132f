// Streams, host functions and stream memory operations.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

CUresult create(CUstream* result, unsigned flags, int priority) {
  if (result == nullptr || (flags & ~1u) != 0) return CUDA_ERROR_INVALID_VALUE;
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  auto stream = machine().make_stream(*context, flags, std::clamp(priority, -5, 0));
  *result = reinterpret_cast<CUstream>(stream.get());
  machine().stream_handles().emplace(*result, stream);
  return CUDA_SUCCESS;
}

// Looking at a stream that captures, or at the legacy stream beside one, voids the capture.
CUresult refuse_captured_stream(const Stream& stream) {
  if (stream.capture != nullptr) {
    stream.capture->invalidated = true;
    return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  if (!stream.legacy) return CUDA_SUCCESS;
  for (const auto& capture : objects().captures) {
    if (capture->origin->context != stream.context || !capture->origin->blocking()) continue;
    capture->invalidated = true;
    return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  }
  return CUDA_SUCCESS;
}

CUresult wait_value(CUstream stream, CUdeviceptr address, std::uint64_t value, unsigned flags,
                    bool wide) {
  if (address % (wide ? 8 : 4) != 0 || memory().find(address) == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  auto op = std::make_unique<WaitValueOp>();
  op->address = address;
  op->value = value;
  op->flags = flags;
  op->wide = wide;
  return submit(stream, std::move(op));
}

CUresult write_value(CUstream stream, CUdeviceptr address, std::uint64_t value, bool wide) {
  if (address % (wide ? 8 : 4) != 0 || memory().find(address) == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  auto op = std::make_unique<WriteValueOp>();
  op->address = address;
  op->value = value;
  op->wide = wide;
  return submit(stream, std::move(op));
}

}  // namespace

namespace body {

CUresult cuStreamCreate(CUstream* stream, unsigned flags) { return create(stream, flags, 0); }

CUresult cuStreamCreateWithPriority(CUstream* stream, unsigned flags, int priority) {
  return create(stream, flags, priority);
}

// Work in it still ends; only the handle goes.
CUresult cuStreamDestroy_v2(CUstream handle) {
  const auto found = machine().stream_handles().find(handle);
  if (found == machine().stream_handles().end()) return CUDA_ERROR_INVALID_HANDLE;
  const std::shared_ptr<Stream> stream = found->second;
  if (stream->capture != nullptr) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  machine().stream_handles().erase(found);
  stream->destroyed = true;
  machine().scheduler().forget_drained();
  return CUDA_SUCCESS;
}

CUresult cuStreamDestroy(CUstream handle) { return body::cuStreamDestroy_v2(handle); }

CUresult cuStreamQuery(CUstream handle) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  BARSWAP_SIM_TRY(refuse_captured_stream(*stream));
  if (stream->completed < stream->submitted) return CUDA_ERROR_NOT_READY;
  machine().advance_clock(stream->ready_ns);
  return CUDA_SUCCESS;
}

// The legacy stream stands for all blocking streams of its context.
CUresult cuStreamSynchronize(CUstream handle) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  BARSWAP_SIM_TRY(refuse_captured_stream(*stream));
  std::vector<Dependency> targets = {{stream, stream->submitted}};
  if (stream->legacy)
    for (const auto& other : machine().scheduler().streams())
      if (other->context == stream->context && other->blocking())
        targets.push_back({other, other->submitted});
  return machine().wait_for(*stream->context, targets);
}

CUresult cuStreamGetCtx(CUstream handle, CUcontext* context) {
  std::shared_ptr<Stream> stream;
  if (context == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  *context = stream->context->handle();
  return CUDA_SUCCESS;
}

CUresult cuStreamGetCtx_v2(CUstream handle, CUcontext* context, CUgreenCtx* green) {
  if (green != nullptr) *green = nullptr;
  return body::cuStreamGetCtx(handle, context);
}

CUresult cuStreamGetDevice(CUstream handle, CUdevice* device) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  *device = stream->context->die;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetFlags(CUstream handle, unsigned* flags) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  *flags = stream->flags;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetPriority(CUstream handle, int* priority) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  *priority = stream->priority;
  return CUDA_SUCCESS;
}

CUresult cuStreamGetId(CUstream handle, unsigned long long* id) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  *id = stream->id;
  return CUDA_SUCCESS;
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  if (function == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto op = std::make_unique<HostOp>();
  op->function = function;
  op->data = data;
  Node node;
  node.type = CU_GRAPH_NODE_TYPE_HOST;
  node.host = {function, data};
  return submit(stream, std::move(op), &node);
}

CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void* data,
                             unsigned flags) {
  if (callback == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  std::shared_ptr<Stream> target;
  BARSWAP_SIM_TRY(machine().stream_of(stream, target));
  BARSWAP_SIM_TRY(refuse_captured_stream(*target));
  auto op = std::make_unique<HostOp>();
  op->callback = callback;
  op->callback_stream = stream;
  op->data = data;
  return submit(target, std::move(op));
}

CUresult cuStreamWaitValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value,
                                unsigned flags) {
  return wait_value(stream, address, value, flags, false);
}
CUresult cuStreamWaitValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value,
                                unsigned flags) {
  return wait_value(stream, address, value, flags, true);
}
CUresult cuStreamWriteValue32_v2(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned) {
  return write_value(stream, address, value, false);
}
CUresult cuStreamWriteValue64_v2(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned) {
  return write_value(stream, address, value, true);
}
CUresult cuStreamWaitValue32(CUstream stream, CUdeviceptr address, cuuint32_t value,
                             unsigned flags) {
  return wait_value(stream, address, value, flags, false);
}
CUresult cuStreamWaitValue64(CUstream stream, CUdeviceptr address, cuuint64_t value,
                             unsigned flags) {
  return wait_value(stream, address, value, flags, true);
}
CUresult cuStreamWriteValue32(CUstream stream, CUdeviceptr address, cuuint32_t value, unsigned) {
  return write_value(stream, address, value, false);
}
CUresult cuStreamWriteValue64(CUstream stream, CUdeviceptr address, cuuint64_t value, unsigned) {
  return write_value(stream, address, value, true);
}

CUresult cuStreamBatchMemOp_v2(CUstream stream, unsigned count, CUstreamBatchMemOpParams* ops,
                               unsigned) {
  for (unsigned i = 0; i < count; ++i) {
    const CUstreamBatchMemOpParams& op = ops[i];
    const bool wide = op.operation == CU_STREAM_MEM_OP_WAIT_VALUE_64 ||
                      op.operation == CU_STREAM_MEM_OP_WRITE_VALUE_64;
    const std::uint64_t value = wide ? op.waitValue.value64 : op.waitValue.value;
    switch (op.operation) {
      case CU_STREAM_MEM_OP_WAIT_VALUE_32:
      case CU_STREAM_MEM_OP_WAIT_VALUE_64:
        BARSWAP_SIM_TRY(wait_value(stream, op.waitValue.address, value, op.waitValue.flags, wide));
        break;
      case CU_STREAM_MEM_OP_WRITE_VALUE_32:
      case CU_STREAM_MEM_OP_WRITE_VALUE_64:
        BARSWAP_SIM_TRY(write_value(stream, op.writeValue.address, value, wide));
        break;
      case CU_STREAM_MEM_OP_FLUSH_REMOTE_WRITES:
      case CU_STREAM_MEM_OP_BARRIER:
        break;
      default:
        return CUDA_ERROR_INVALID_VALUE;
    }
  }
  return CUDA_SUCCESS;
}

CUresult cuStreamBatchMemOp(CUstream stream, unsigned count, CUstreamBatchMemOpParams* ops,
                            unsigned flags) {
  return body::cuStreamBatchMemOp_v2(stream, count, ops, flags);
}

}  // namespace body
}  // namespace barswap::sim

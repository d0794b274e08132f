#include "sim/submit.hpp"

#include <algorithm>

namespace barswap::sim {
namespace {

// A node that the stream's capture gains; the stream's next node comes after it.
CUresult capture_node(Stream& stream, std::unique_ptr<Op> op, const Node* like) {
  Capture& capture = *stream.capture;
  if (capture.invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  auto node = std::make_unique<Node>();
  if (like != nullptr) static_cast<NodeFacts&>(*node) = *like;
  if (op->context == nullptr) op->context = stream.context;
  node->op = std::move(op);
  node->after = stream.capture_tail;
  node->graph = capture.graph;
  node->number = capture.graph->nodes.size();
  stream.capture_tail = {node->number};
  capture.graph->nodes.push_back(std::move(node));
  return CUDA_SUCCESS;
}

}  // namespace

CUresult submit(const std::shared_ptr<Stream>& stream, std::unique_ptr<Op> op, const Node* like) {
  if (stream->context->error != CUDA_SUCCESS) return stream->context->error;
  if (stream->capture != nullptr) return capture_node(*stream, std::move(op), like);
  if (stream->legacy) {
    for (const auto& capture : objects().captures) {
      if (capture->origin->context != stream->context || !capture->origin->blocking()) continue;
      capture->invalidated = true;
      return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
    }
  }
  machine().scheduler().submit(*stream, std::move(op));
  return CUDA_SUCCESS;
}

CUresult submit(CUstream handle, std::unique_ptr<Op> op, const Node* like) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  return submit(stream, std::move(op), like);
}

CUresult submit_and_wait(CUstream handle, std::unique_ptr<Op> op) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  BARSWAP_SIM_TRY(submit(stream, std::move(op)));
  return machine().wait_for(*stream->context, {{stream, stream->submitted}});
}

CUresult refuse_beside_capture() {
  const CUstreamCaptureMode mode = machine().thread().capture_mode;
  if (mode == CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_SUCCESS;
  CUresult result = CUDA_SUCCESS;
  for (const auto& capture : objects().captures) {
    if (capture->mode == CU_STREAM_CAPTURE_MODE_RELAXED) continue;
    const bool mine = capture->thread == std::this_thread::get_id();
    const bool global =
        mode == CU_STREAM_CAPTURE_MODE_GLOBAL && capture->mode == CU_STREAM_CAPTURE_MODE_GLOBAL;
    if (!mine && !global) continue;
    capture->invalidated = true;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return result;
}

CUresult refuse_captured(Context& context) {
  CUresult result = CUDA_SUCCESS;
  for (const auto& capture : objects().captures) {
    const bool touched =
        std::any_of(capture->members.begin(), capture->members.end(),
                    [&](const Stream* member) { return member->context == &context; });
    if (!touched) continue;
    capture->invalidated = true;
    result = CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  }
  return result;
}

}  // namespace barswap::sim

// Stream capture.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

std::shared_ptr<Capture> begin(Stream& stream, CUstreamCaptureMode mode, Graph* into) {
  auto capture = std::make_shared<Capture>();
  if (into == nullptr) {
    capture->owned = std::make_unique<Graph>();
    into = capture->owned.get();
  }
  capture->graph = into;
  capture->origin = &stream;
  capture->members = {&stream};
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  capture->id = machine().new_id();
  stream.capture = capture;
  stream.capture_tail.clear();
  objects().captures.push_back(capture);
  return capture;
}

CUresult check_begin(CUstream handle, CUstreamCaptureMode mode, std::shared_ptr<Stream>& stream) {
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  if (mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
  if (stream->legacy) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return stream->capture != nullptr ? CUDA_ERROR_ILLEGAL_STATE : CUDA_SUCCESS;
}

// Whether some work was captured that the origin's last node does not come after.
bool unjoined(const Capture& capture) {
  std::vector<bool> followed(capture.graph->nodes.size());
  for (const auto& node : capture.graph->nodes)
    for (const std::size_t before : node->after) followed[before] = true;
  for (const std::size_t node : capture.origin->capture_tail) followed[node] = true;
  for (const Stream* member : capture.members)
    for (const std::size_t node : member->capture_tail)
      if (!followed[node]) return true;
  return false;
}

void finish(const std::shared_ptr<Capture>& capture) {
  for (Stream* member : capture->members) {
    member->capture.reset();
    member->capture_tail.clear();
  }
  std::erase(objects().captures, capture);
}

// The information that three forms of one function give.
CUresult information(CUstream handle, CUstreamCaptureStatus* status, cuuint64_t* id, CUgraph* graph,
                     const CUgraphNode** nodes, std::size_t* count) {
  std::shared_ptr<Stream> stream;
  if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  if (count != nullptr) *count = 0;
  if (stream->capture == nullptr) {
    *status = CU_STREAM_CAPTURE_STATUS_NONE;
    return CUDA_SUCCESS;
  }
  const Capture& capture = *stream->capture;
  *status = capture.invalidated ? CU_STREAM_CAPTURE_STATUS_INVALIDATED
                                : CU_STREAM_CAPTURE_STATUS_ACTIVE;
  if (capture.invalidated) return CUDA_SUCCESS;
  if (id != nullptr) *id = capture.id;
  if (graph != nullptr) *graph = reinterpret_cast<CUgraph>(capture.graph);
  thread_local std::vector<CUgraphNode> answer;
  answer.clear();
  for (const std::size_t node : stream->capture_tail)
    answer.push_back(reinterpret_cast<CUgraphNode>(capture.graph->nodes[node].get()));
  if (nodes != nullptr) *nodes = answer.data();
  if (count != nullptr) *count = answer.size();
  return CUDA_SUCCESS;
}

}  // namespace

namespace body {

CUresult cuStreamBeginCapture_v2(CUstream handle, CUstreamCaptureMode mode) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(check_begin(handle, mode, stream));
  begin(*stream, mode, nullptr);
  return CUDA_SUCCESS;
}

CUresult cuStreamBeginCapture(CUstream handle) {
  return body::cuStreamBeginCapture_v2(handle, CU_STREAM_CAPTURE_MODE_GLOBAL);
}

CUresult cuStreamBeginCaptureToGraph(CUstream handle, CUgraph graph, const CUgraphNode* nodes,
                                     const CUgraphEdgeData*, std::size_t count,
                                     CUstreamCaptureMode mode) {
  std::shared_ptr<Stream> stream;
  Graph* into = look_up(objects().graphs, graph);
  if (into == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_begin(handle, mode, stream));
  begin(*stream, mode, into);
  for (std::size_t i = 0; i < count; ++i)
    stream->capture_tail.push_back(reinterpret_cast<Node*>(nodes[i])->number);
  return CUDA_SUCCESS;
}

CUresult cuStreamEndCapture(CUstream handle, CUgraph* graph) {
  std::shared_ptr<Stream> stream;
  if (graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  if (capture->origin != stream.get()) return CUDA_ERROR_STREAM_CAPTURE_UNMATCHED;
  if (capture->mode != CU_STREAM_CAPTURE_MODE_RELAXED &&
      capture->thread != std::this_thread::get_id())
    return CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
  const bool is_unjoined = !capture->invalidated && unjoined(*capture);
  finish(capture);
  if (capture->invalidated) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
  if (is_unjoined) return CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
  *graph = reinterpret_cast<CUgraph>(capture->owned == nullptr
                                         ? capture->graph
                                         : adopt(objects().graphs, std::move(capture->owned)));
  return CUDA_SUCCESS;
}

CUresult cuStreamIsCapturing(CUstream handle, CUstreamCaptureStatus* status) {
  std::shared_ptr<Stream> stream;
  if (status == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  if (stream->legacy)
    for (const auto& capture : objects().captures)
      if (capture->origin->context == stream->context && capture->origin->blocking())
        return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT;
  return information(handle, status, nullptr, nullptr, nullptr, nullptr);
}

CUresult cuStreamGetCaptureInfo(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id) {
  return information(stream, status, id, nullptr, nullptr, nullptr);
}

CUresult cuStreamGetCaptureInfo_v2(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id,
                                   CUgraph* graph, const CUgraphNode** nodes, std::size_t* count) {
  return information(stream, status, id, graph, nodes, count);
}

CUresult cuStreamGetCaptureInfo_v3(CUstream stream, CUstreamCaptureStatus* status, cuuint64_t* id,
                                   CUgraph* graph, const CUgraphNode** nodes,
                                   const CUgraphEdgeData** edges, std::size_t* count) {
  if (edges != nullptr) *edges = nullptr;
  return information(stream, status, id, graph, nodes, count);
}

CUresult cuStreamUpdateCaptureDependencies_v2(CUstream handle, CUgraphNode* nodes,
                                              const CUgraphEdgeData*, std::size_t count,
                                              unsigned flags) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  if (stream->capture == nullptr) return CUDA_ERROR_ILLEGAL_STATE;
  if ((flags & CU_STREAM_SET_CAPTURE_DEPENDENCIES) != 0) stream->capture_tail.clear();
  for (std::size_t i = 0; i < count; ++i)
    stream->capture_tail.push_back(reinterpret_cast<Node*>(nodes[i])->number);
  return CUDA_SUCCESS;
}

CUresult cuStreamUpdateCaptureDependencies(CUstream handle, CUgraphNode* nodes, std::size_t count,
                                           unsigned flags) {
  return body::cuStreamUpdateCaptureDependencies_v2(handle, nodes, nullptr, count, flags);
}

CUresult cuThreadExchangeStreamCaptureMode(CUstreamCaptureMode* mode) {
  if (mode == nullptr || *mode > CU_STREAM_CAPTURE_MODE_RELAXED) return CUDA_ERROR_INVALID_VALUE;
  std::swap(machine().thread().capture_mode, *mode);
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

// Capture and host callbacks: both decide when pages may move at all.
#include "interpose/call.hpp"

namespace barswap::interpose::handlers {
namespace {

std::uintptr_t word_of_stream(CUstream stream) { return reinterpret_cast<std::uintptr_t>(stream); }

// Begin and end pass the gate, and the begin is counted before the driver sees it: a drain's proof
// would invalidate the capture.
template <auto Slot, class... Arguments>
CUresult begin(CUstream stream, Arguments... arguments) {
  const Call call;
  if (!call) return forward<Slot>(stream, arguments...);
  const session::Submission inside(false);
  auto context = call->verbs().current();
  call->pager().contexts().capture_begins(word_of_stream(stream),
                                          context ? *context : driver::Context::none);
  const CUresult result = forward<Slot>(stream, arguments...);
  if (result != CUDA_SUCCESS) call->pager().contexts().capture_ends(word_of_stream(stream));
  return result;
}

template <auto Slot>
CUresult end(CUstream stream, CUgraph* graph) {
  const Call call;
  if (!call) return forward<Slot>(stream, graph);
  const session::Submission inside(false);
  const CUresult result = forward<Slot>(stream, graph);
  // The capture is over also when it ends with an error; a stream that never captured is not in the
  // list.
  if (result != CUDA_ERROR_ILLEGAL_STATE && result != CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD)
    call->pager().contexts().capture_ends(word_of_stream(stream));
  return result;
}

template <auto Slot>
CUresult destroy(CUstream stream) {
  const Call call;
  const session::AtHome home(static_cast<bool>(call));
  // Before it is gone: another may have its handle at once.
  if (call) call->forget(static_cast<driver::Stream>(word_of_stream(stream)));
  const CUresult result = forward<Slot>(stream);
  if (call && result == CUDA_SUCCESS) call->pager().contexts().capture_ends(word_of_stream(stream));
  return result;
}

// From the first callback on, pages move only while every context is idle: a callback may hold a
// lock that a thread waiting at the gate wants.
template <auto Slot, class... Arguments>
CUresult with_callback(Arguments... arguments) {
  const Call call;
  if (!call) return forward<Slot>(arguments...);
  call->pager().expect_callbacks();
  const session::Submission inside(false);
  return forward<Slot>(arguments...);
}

template <auto Slot, class... Arguments>
CUresult add_node(bool host, Arguments... arguments) {
  const Call call;
  if (call && host) call->pager().expect_callbacks();
  return forward_mapped<Slot>(call, arguments...);
}

}  // namespace

CUresult cuStreamBeginCapture(CUstream stream) {
  return begin<&driver::Api::cuStreamBeginCapture>(stream);
}
CUresult cuStreamBeginCapture_ptsz(CUstream stream) {
  return begin<&driver::Api::cuStreamBeginCapture_ptsz>(stream);
}
CUresult cuStreamBeginCapture_v2(CUstream stream, CUstreamCaptureMode mode) {
  return begin<&driver::Api::cuStreamBeginCapture_v2>(stream, mode);
}
CUresult cuStreamBeginCapture_v2_ptsz(CUstream stream, CUstreamCaptureMode mode) {
  return begin<&driver::Api::cuStreamBeginCapture_v2_ptsz>(stream, mode);
}
CUresult cuStreamBeginCaptureToGraph(CUstream stream, CUgraph graph,
                                     const CUgraphNode* dependencies, const CUgraphEdgeData* edges,
                                     std::size_t count, CUstreamCaptureMode mode) {
  return begin<&driver::Api::cuStreamBeginCaptureToGraph>(stream, graph, dependencies, edges, count,
                                                          mode);
}
CUresult cuStreamBeginCaptureToGraph_ptsz(CUstream stream, CUgraph graph,
                                          const CUgraphNode* dependencies,
                                          const CUgraphEdgeData* edges, std::size_t count,
                                          CUstreamCaptureMode mode) {
  return begin<&driver::Api::cuStreamBeginCaptureToGraph_ptsz>(stream, graph, dependencies, edges,
                                                               count, mode);
}
CUresult cuStreamEndCapture(CUstream stream, CUgraph* graph) {
  return end<&driver::Api::cuStreamEndCapture>(stream, graph);
}
CUresult cuStreamEndCapture_ptsz(CUstream stream, CUgraph* graph) {
  return end<&driver::Api::cuStreamEndCapture_ptsz>(stream, graph);
}
CUresult cuStreamDestroy(CUstream stream) { return destroy<&driver::Api::cuStreamDestroy>(stream); }
CUresult cuStreamDestroy_v2(CUstream stream) {
  return destroy<&driver::Api::cuStreamDestroy_v2>(stream);
}

CUresult cuLaunchHostFunc(CUstream stream, CUhostFn function, void* data) {
  return with_callback<&driver::Api::cuLaunchHostFunc>(stream, function, data);
}
CUresult cuLaunchHostFunc_ptsz(CUstream stream, CUhostFn function, void* data) {
  return with_callback<&driver::Api::cuLaunchHostFunc_ptsz>(stream, function, data);
}
CUresult cuStreamAddCallback(CUstream stream, CUstreamCallback callback, void* data,
                             unsigned flags) {
  return with_callback<&driver::Api::cuStreamAddCallback>(stream, callback, data, flags);
}
CUresult cuStreamAddCallback_ptsz(CUstream stream, CUstreamCallback callback, void* data,
                                  unsigned flags) {
  return with_callback<&driver::Api::cuStreamAddCallback_ptsz>(stream, callback, data, flags);
}
CUresult cuGraphAddHostNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                            std::size_t count, const CUDA_HOST_NODE_PARAMS* parameters) {
  return add_node<&driver::Api::cuGraphAddHostNode>(true, node, graph, dependencies, count,
                                                    parameters);
}
CUresult cuGraphAddNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                        std::size_t count, CUgraphNodeParams* parameters) {
  const bool host = parameters && parameters->type == CU_GRAPH_NODE_TYPE_HOST;
  return add_node<&driver::Api::cuGraphAddNode>(host, node, graph, dependencies, count, parameters);
}
CUresult cuGraphAddNode_v2(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                           const CUgraphEdgeData* edges, std::size_t count,
                           CUgraphNodeParams* parameters) {
  const bool host = parameters && parameters->type == CU_GRAPH_NODE_TYPE_HOST;
  return add_node<&driver::Api::cuGraphAddNode_v2>(host, node, graph, dependencies, edges, count,
                                                   parameters);
}

}  // namespace barswap::interpose::handlers

// Graphs: what one names is read when it is made executable, and counted when it is launched.
#include <optional>

#include "interpose/call.hpp"
#include "interpose/timed.hpp"

namespace barswap::interpose::handlers {
namespace {

std::uintptr_t word_of(CUgraphExec exec) { return reinterpret_cast<std::uintptr_t>(exec); }
driver::Graph word_of(CUgraph graph) {
  return driver::Graph{reinterpret_cast<std::uintptr_t>(graph)};
}

driver::Exec exec_of(CUgraphExec exec) { return driver::Exec{word_of(exec)}; }
driver::Node word_of(CUgraphNode node) {
  return driver::Node{reinterpret_cast<std::uintptr_t>(node)};
}

session::PartedGraphs* graphs_of(const Call& call) {
  return call ? call->graphs() : nullptr;
}

// A program that fits pays nothing: a graph made before anything has spilled stays uncounted.
template <auto Slot, class... A>
CUresult instantiated(CUgraphExec* exec, CUgraph graph, std::uint64_t flags, A... arguments) {
  const Call call;
  CUresult result = forward_mapped<Slot>(call, exec, graph, arguments...);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && call && session::after_out_of_memory())
    result = forward_mapped<Slot>(call, exec, graph, arguments...);
  if (!call || result != CUDA_SUCCESS) return result;
  // The handle may have been that of another, which ended with its context.
  session::PartedGraphs* graphs = graphs_of(call);
  if (graphs) graphs->gone(exec_of(*exec));
  if (!call->reach().wanted()) return result;
  call->reach().graph_made(word_of(*exec), word_of(graph));
  if (graphs) graphs->made(exec_of(*exec), word_of(graph), flags);
  return result;
}

// Ours is launched in its place, or nothing: then the program's own is. `noted`: the launch was
// counted as one of ours, and what it names is not to come home for it.
std::optional<CUresult> parted(session::Session& session, const session::AtHome& home,
                               driver::Stream on, CUgraphExec exec, CUstream stream, bool& noted) {
  session::PartedGraphs& graphs = *session.graphs();
  const session::Door door;
  if (!door.open() || !graphs.choose(exec_of(exec), on)) return std::nullopt;
  const session::AtHome from_now(!home.counted());  // the first one that is launched in parts
  const session::Declaration declaration;
  // Without routing each part counts as a launch.
  noted = session.router() != nullptr;
  if (noted)
    session.stopwatch().lose(session.reach().graph_launched(
        word_of(exec), reinterpret_cast<std::uintptr_t>(stream), true));
  const auto code = graphs.launch(exec_of(exec), on);
  if (!code) return std::nullopt;
  return static_cast<CUresult>(*code);
}

template <auto Slot>
CUresult launched(driver::Stream on, CUgraphExec exec, CUstream stream) {
  const session::AtHome home(session::door_depth == 0);
  session::Session* current = session::door_depth == 0 ? session::Session::current() : nullptr;
  session::Router* router = current ? current->router() : nullptr;
  session::PartedGraphs* graphs = current ? current->graphs() : nullptr;
  if (graphs && !graphs->any()) graphs = nullptr;
  if (router && session::counting.load(std::memory_order_relaxed)) router->launches_at_home(on);
  bool noted = false;
  if (graphs)
    if (const auto result = parted(*current, home, on, exec, stream, noted)) return *result;
  const auto note = [&](session::Session& session) {
    if (noted) return session::Timing{};
    return session.reach().graph_launched(word_of(exec), reinterpret_cast<std::uintptr_t>(stream),
                                          false);
  };
  const CUresult result = timed<Slot, Trait::PLAIN>(on, note, exec, stream);
  if (graphs && result == CUDA_SUCCESS) {
    const session::Door door;
    if (door.open()) graphs->launched(exec_of(exec), on);
  }
  return result;
}

template <auto Slot, class... A>
CUresult updated(CUgraphExec exec, CUgraph graph, A... arguments) {
  const Call call;
  const CUresult result = forward_mapped<Slot>(call, exec, graph, arguments...);
  if (!call) return result;
  if (session::PartedGraphs* graphs = graphs_of(call)) {
    if (result == CUDA_SUCCESS) graphs->updated(exec_of(exec), word_of(graph));
    else graphs->left(exec_of(exec));
  }
  if (result == CUDA_SUCCESS && call->reach().wanted())
    call->reach().graph_made(word_of(exec), word_of(graph));
  return result;
}

// Ours does not follow, so it runs at home from now on.
void left_by(CUgraphExec exec) {
  const Call call;
  if (session::PartedGraphs* graphs = graphs_of(call)) graphs->left(exec_of(exec));
}

template <auto Slot, class Parameters>
CUresult kernel_changed(CUgraphExec exec, CUgraphNode node, const Parameters* given,
                        const CUDA_KERNEL_NODE_PARAMS* whole) {
  const Call call;
  const CUresult result = forward<Slot>(exec, node, given);
  session::PartedGraphs* graphs = graphs_of(call);
  if (!graphs || result != CUDA_SUCCESS) return result;
  const auto function = whole->kern ? reinterpret_cast<std::uintptr_t>(whole->kern)
                                    : reinterpret_cast<std::uintptr_t>(whole->func);
  graphs->changed(exec_of(exec), word_of(node),
                  {driver::Function{function}, whole->kernelParams, whole->extra, whole});
  return result;
}

}  // namespace

CUresult cuGraphInstantiate(CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char* log,
                            std::size_t bytes) {
  return instantiated<&driver::Api::cuGraphInstantiate>(exec, graph, 0, error, log, bytes);
}
CUresult cuGraphInstantiate_v2(CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char* log,
                               std::size_t bytes) {
  return instantiated<&driver::Api::cuGraphInstantiate_v2>(exec, graph, 0, error, log, bytes);
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
  return instantiated<&driver::Api::cuGraphInstantiateWithFlags>(exec, graph, flags, flags);
}
CUresult cuGraphInstantiateWithParams(CUgraphExec* exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  return instantiated<&driver::Api::cuGraphInstantiateWithParams>(
      exec, graph, parameters ? parameters->flags : 0, parameters);
}
CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec* exec, CUgraph graph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  return instantiated<&driver::Api::cuGraphInstantiateWithParams_ptsz>(
      exec, graph, parameters ? parameters->flags : 0, parameters);
}

CUresult cuGraphLaunch(CUgraphExec exec, CUstream stream) {
  return launched<&driver::Api::cuGraphLaunch>(stream_behind("cuGraphLaunch", stream), exec,
                                               stream);
}
CUresult cuGraphLaunch_ptsz(CUgraphExec exec, CUstream stream) {
  return launched<&driver::Api::cuGraphLaunch_ptsz>(stream_behind("cuGraphLaunch_ptsz", stream),
                                                    exec, stream);
}

CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode* error,
                           CUgraphExecUpdateResult* outcome) {
  return updated<&driver::Api::cuGraphExecUpdate>(exec, graph, error, outcome);
}
CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph,
                              CUgraphExecUpdateResultInfo* outcome) {
  return updated<&driver::Api::cuGraphExecUpdate_v2>(exec, graph, outcome);
}
CUresult cuGraphExecDestroy(CUgraphExec exec) {
  const Call call;
  if (call) call->reach().graph_gone(word_of(exec));
  if (session::PartedGraphs* graphs = graphs_of(call)) graphs->gone(exec_of(exec));
  return forward<&driver::Api::cuGraphExecDestroy>(exec);
}

CUresult cuGraphExecKernelNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_KERNEL_NODE_PARAMS_v1* given) {
  CUDA_KERNEL_NODE_PARAMS whole{};
  if (given)
    whole = {given->func,         given->gridDimX,  given->gridDimY,  given->gridDimZ,
             given->blockDimX,    given->blockDimY, given->blockDimZ, given->sharedMemBytes,
             given->kernelParams, given->extra,     nullptr,          nullptr};
  return kernel_changed<&driver::Api::cuGraphExecKernelNodeSetParams>(exec, node, given, &whole);
}
CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS* given) {
  return kernel_changed<&driver::Api::cuGraphExecKernelNodeSetParams_v2>(exec, node, given, given);
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMCPY3D* copy, CUcontext context) {
  left_by(exec);
  return submit<&driver::Api::cuGraphExecMemcpyNodeSetParams, Trait::PLAIN>(exec, node, copy,
                                                                            context);
}
CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMSET_NODE_PARAMS* fill, CUcontext context) {
  left_by(exec);
  return submit<&driver::Api::cuGraphExecMemsetNodeSetParams, Trait::PLAIN>(exec, node, fill,
                                                                            context);
}
CUresult cuGraphExecNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                  CUgraphNodeParams* parameters) {
  left_by(exec);
  return submit<&driver::Api::cuGraphExecNodeSetParams, Trait::PLAIN>(exec, node, parameters);
}
CUresult cuGraphNodeSetEnabled(CUgraphExec exec, CUgraphNode node, unsigned enabled) {
  left_by(exec);
  return forward<&driver::Api::cuGraphNodeSetEnabled>(exec, node, enabled);
}

}  // namespace barswap::interpose::handlers

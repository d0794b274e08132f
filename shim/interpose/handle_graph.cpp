// Graphs: what one names is read when it is made executable, and counted when it is launched.
#include "interpose/call.hpp"
#include "interpose/timed.hpp"

namespace barswap::interpose::handlers {
namespace {

std::uintptr_t word_of(CUgraphExec exec) { return reinterpret_cast<std::uintptr_t>(exec); }
driver::Graph word_of(CUgraph graph) {
  return driver::Graph{reinterpret_cast<std::uintptr_t>(graph)};
}

// A program that fits pays nothing: a graph made before anything has spilled stays uncounted.
template <auto Slot, class... A>
CUresult instantiated(CUgraphExec* exec, CUgraph graph, A... arguments) {
  const Call call;
  CUresult result = forward_mapped<Slot>(call, exec, graph, arguments...);
  if (result == CUDA_ERROR_OUT_OF_MEMORY && call && session::after_out_of_memory())
    result = forward_mapped<Slot>(call, exec, graph, arguments...);
  if (call && result == CUDA_SUCCESS && call->reach().wanted())
    call->reach().graph_made(word_of(*exec), word_of(graph));
  return result;
}

template <auto Slot>
CUresult launched(driver::Stream on, CUgraphExec exec, CUstream stream) {
  const session::AtHome home(session::door_depth == 0);
  session::Session* current = session::Session::current();
  if (session::door_depth == 0 && current && current->router() &&
      session::routing.load(std::memory_order_relaxed))
    current->router()->launches_at_home(on);
  const auto note = [&](session::Session& session) {
    return session.reach().graph_launched(word_of(exec), reinterpret_cast<std::uintptr_t>(stream));
  };
  return timed<Slot, Trait::PLAIN>(on, note, exec, stream);
}

template <auto Slot, class... A>
CUresult updated(CUgraphExec exec, CUgraph graph, A... arguments) {
  const Call call;
  const CUresult result = forward_mapped<Slot>(call, exec, graph, arguments...);
  if (call && result == CUDA_SUCCESS && call->reach().wanted())
    call->reach().graph_made(word_of(exec), word_of(graph));
  return result;
}

}  // namespace

CUresult cuGraphInstantiate(CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char* log,
                            std::size_t bytes) {
  return instantiated<&driver::Api::cuGraphInstantiate>(exec, graph, error, log, bytes);
}
CUresult cuGraphInstantiate_v2(CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char* log,
                               std::size_t bytes) {
  return instantiated<&driver::Api::cuGraphInstantiate_v2>(exec, graph, error, log, bytes);
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long flags) {
  return instantiated<&driver::Api::cuGraphInstantiateWithFlags>(exec, graph, flags);
}
CUresult cuGraphInstantiateWithParams(CUgraphExec* exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  return instantiated<&driver::Api::cuGraphInstantiateWithParams>(exec, graph, parameters);
}
CUresult cuGraphInstantiateWithParams_ptsz(CUgraphExec* exec, CUgraph graph,
                                           CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  return instantiated<&driver::Api::cuGraphInstantiateWithParams_ptsz>(exec, graph, parameters);
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
  return forward<&driver::Api::cuGraphExecDestroy>(exec);
}

}  // namespace barswap::interpose::handlers

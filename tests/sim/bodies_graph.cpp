// Graphs: nodes, instances and launches.
#include <algorithm>

#include "sim/graph_node.hpp"
#include "sim/graph_run.hpp"

namespace barswap::sim {
namespace {

CUresult find_graph(CUgraph handle, Graph*& graph) {
  graph = look_up(objects().graphs, handle);
  if (graph != nullptr) return CUDA_SUCCESS;
  // A graph under capture can be looked at before the capture ends.
  for (const auto& capture : objects().captures)
    if (capture->graph == reinterpret_cast<Graph*>(handle)) graph = capture->graph;
  return graph == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

Node* node_of(CUgraphNode handle) { return reinterpret_cast<Node*>(handle); }

CUgraphNode handle_of(const Node& node) {
  return reinterpret_cast<CUgraphNode>(const_cast<Node*>(&node));
}

template <class Fill>
CUresult add(CUgraphNode* result, CUgraph graph, const CUgraphNode* after, std::size_t count,
             Fill fill) {
  Node node;
  BARSWAP_SIM_TRY(fill(node));
  return add_node(result, graph, after, count, std::move(node));
}

// The driver's way to answer a list: the count alone, or as many as there is room for.
CUresult answer_list(const std::vector<CUgraphNode>& found, CUgraphNode* nodes,
                     std::size_t* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (nodes != nullptr) {
    for (std::size_t i = 0; i < *count; ++i) nodes[i] = i < found.size() ? found[i] : nullptr;
    *count = std::min(*count, found.size());
  } else {
    *count = found.size();
  }
  return CUDA_SUCCESS;
}

CUresult list(CUgraph handle, CUgraphNode* nodes, std::size_t* count, bool roots_only) {
  Graph* graph = nullptr;
  BARSWAP_SIM_TRY(find_graph(handle, graph));
  std::vector<CUgraphNode> found;
  for (const auto& node : graph->nodes)
    if (!node->removed && (!roots_only || node->after.empty())) found.push_back(handle_of(*node));
  return answer_list(found, nodes, count);
}

void describe(GraphExec& exec, const Graph& graph) {
  exec.types.clear();
  exec.sources.clear();
  for (const auto& node : graph.nodes) {
    if (node->removed) continue;
    exec.types.push_back(node->type);
    exec.sources.push_back(handle_of(*node));
  }
}

CUresult instantiate(CUgraphExec* result, CUgraph handle) {
  Graph* graph = nullptr;
  Context* context = nullptr;
  if (result == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(machine().need(context));
  BARSWAP_SIM_TRY(find_graph(handle, graph));
  auto exec = std::make_unique<GraphExec>();
  exec->run = make_run(*graph);
  if (exec->run == nullptr) return CUDA_ERROR_INVALID_VALUE;
  exec->context = context;
  describe(*exec, *graph);
  *result = reinterpret_cast<CUgraphExec>(adopt(objects().execs, std::move(exec)));
  return CUDA_SUCCESS;
}

CUresult find_exec(CUgraphExec handle, GraphExec*& exec) {
  exec = look_up(objects().execs, handle);
  return exec == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

// Gives the instance's twin of a node new work.
template <class Fill>
CUresult set_in_exec(CUgraphExec handle, CUgraphNode node, Fill fill) {
  GraphExec* exec = nullptr;
  BARSWAP_SIM_TRY(find_exec(handle, exec));
  const auto found = std::find(exec->sources.begin(), exec->sources.end(), node);
  if (found == exec->sources.end()) return CUDA_ERROR_INVALID_VALUE;
  Node filled;
  BARSWAP_SIM_TRY(fill(filled));
  auto& run = static_cast<GraphRun&>(*exec->run);
  run.parts[static_cast<std::size_t>(found - exec->sources.begin())].op = std::move(filled.op);
  return CUDA_SUCCESS;
}

// The same nodes with the same edges, or nothing changes.
CUresult update(CUgraphExec handle, CUgraph graph_handle, CUgraphExecUpdateResult& reason) {
  GraphExec* exec = nullptr;
  Graph* graph = nullptr;
  BARSWAP_SIM_TRY(find_exec(handle, exec));
  BARSWAP_SIM_TRY(find_graph(graph_handle, graph));
  auto fresh = make_run(*graph);
  GraphExec described;
  describe(described, *graph);
  const auto& old = static_cast<const GraphRun&>(*exec->run);
  bool same = fresh != nullptr && fresh->parts.size() == old.parts.size();
  for (std::size_t i = 0; same && i < old.parts.size(); ++i)
    same = fresh->parts[i].after == old.parts[i].after;
  reason = !same                            ? CU_GRAPH_EXEC_UPDATE_ERROR_TOPOLOGY_CHANGED
           : described.types != exec->types ? CU_GRAPH_EXEC_UPDATE_ERROR_NODE_TYPE_CHANGED
                                            : CU_GRAPH_EXEC_UPDATE_SUCCESS;
  if (reason != CU_GRAPH_EXEC_UPDATE_SUCCESS) return CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE;
  exec->run = std::move(fresh);
  exec->sources = described.sources;
  return CUDA_SUCCESS;
}

}  // namespace

namespace body {

CUresult cuGraphCreate(CUgraph* result, unsigned flags) {
  if (result == nullptr || flags != 0) return CUDA_ERROR_INVALID_VALUE;
  *result = reinterpret_cast<CUgraph>(adopt(objects().graphs, std::make_unique<Graph>()));
  return CUDA_SUCCESS;
}

CUresult cuGraphDestroy(CUgraph graph) {
  return objects().graphs.erase(graph) == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGraphClone(CUgraph* result, CUgraph original) {
  Graph* graph = nullptr;
  if (result == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(find_graph(original, graph));
  auto clone = std::make_unique<Graph>();
  clone->cloned_from = original;
  for (const auto& node : graph->nodes) {
    auto copy = std::make_unique<Node>();
    static_cast<NodeFacts&>(*copy) = *node;
    copy->op = node->op == nullptr ? nullptr : node->op->clone();
    copy->after = node->after;
    copy->removed = node->removed;
    copy->number = node->number;
    copy->graph = clone.get();
    clone->nodes.push_back(std::move(copy));
  }
  *result = reinterpret_cast<CUgraph>(adopt(objects().graphs, std::move(clone)));
  return CUDA_SUCCESS;
}

CUresult cuGraphNodeFindInClone(CUgraphNode* result, CUgraphNode original, CUgraph handle) {
  Graph* graph = nullptr;
  if (result == nullptr || original == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(find_graph(handle, graph));
  if (graph->cloned_from != reinterpret_cast<CUgraph>(node_of(original)->graph))
    return CUDA_ERROR_INVALID_VALUE;
  *result = handle_of(*graph->nodes[node_of(original)->number]);
  return CUDA_SUCCESS;
}

CUresult cuGraphAddKernelNode_v2(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                                 std::size_t count, const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return add(result, graph, after, count,
             [&](Node& n) { return fill_kernel_node(n, *parameters); });
}

CUresult cuGraphAddMemcpyNode(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                              std::size_t count, const CUDA_MEMCPY3D* copy, CUcontext) {
  return add(result, graph, after, count, [&](Node& n) { return fill_copy_node(n, *copy); });
}

CUresult cuGraphAddMemsetNode(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                              std::size_t count, const CUDA_MEMSET_NODE_PARAMS* parameters,
                              CUcontext) {
  return add(result, graph, after, count,
             [&](Node& n) { return fill_memset_node(n, *parameters); });
}

CUresult cuGraphAddHostNode(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                            std::size_t count, const CUDA_HOST_NODE_PARAMS* parameters) {
  return add(result, graph, after, count, [&](Node& n) { return fill_host_node(n, *parameters); });
}

CUresult cuGraphAddChildGraphNode(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                                  std::size_t count, CUgraph child) {
  return add(result, graph, after, count, [&](Node& n) { return fill_child_node(n, child); });
}

CUresult cuGraphAddEmptyNode(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                             std::size_t count) {
  return add(result, graph, after, count, [](Node&) { return CUDA_SUCCESS; });
}

CUresult cuGraphAddNode_v2(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                           const CUgraphEdgeData*, std::size_t count,
                           CUgraphNodeParams* parameters) {
  return add(result, graph, after, count, [&](Node& n) { return fill_node(n, *parameters); });
}

CUresult cuGraphAddNode(CUgraphNode* result, CUgraph graph, const CUgraphNode* after,
                        std::size_t count, CUgraphNodeParams* parameters) {
  return body::cuGraphAddNode_v2(result, graph, after, nullptr, count, parameters);
}

CUresult cuGraphAddDependencies(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                                std::size_t count) {
  Graph* graph = nullptr;
  BARSWAP_SIM_TRY(find_graph(handle, graph));
  for (std::size_t i = 0; i < count; ++i) node_of(to[i])->after.push_back(node_of(from[i])->number);
  return CUDA_SUCCESS;
}

CUresult cuGraphAddDependencies_v2(CUgraph handle, const CUgraphNode* from, const CUgraphNode* to,
                                   const CUgraphEdgeData*, std::size_t count) {
  return body::cuGraphAddDependencies(handle, from, to, count);
}

CUresult cuGraphDestroyNode(CUgraphNode node) {
  node_of(node)->removed = true;
  return CUDA_SUCCESS;
}

CUresult cuGraphGetNodes(CUgraph graph, CUgraphNode* nodes, std::size_t* count) {
  return list(graph, nodes, count, false);
}

CUresult cuGraphGetRootNodes(CUgraph graph, CUgraphNode* nodes, std::size_t* count) {
  return list(graph, nodes, count, true);
}

CUresult cuGraphNodeGetDependencies(CUgraphNode node, CUgraphNode* nodes, std::size_t* count) {
  std::vector<CUgraphNode> found;
  for (const std::size_t before : node_of(node)->after)
    found.push_back(handle_of(*node_of(node)->graph->nodes[before]));
  return answer_list(found, nodes, count);
}

// Without data: every edge waits for the whole of what is before.
CUresult cuGraphNodeGetDependencies_v2(CUgraphNode node, CUgraphNode* nodes, CUgraphEdgeData* edges,
                                       std::size_t* count) {
  const CUresult result = body::cuGraphNodeGetDependencies(node, nodes, count);
  for (std::size_t i = 0; edges != nullptr && i < *count; ++i) edges[i] = {};
  return result;
}

CUresult cuGraphKernelNodeGetAttribute(CUgraphNode node, CUkernelNodeAttrID attribute,
                                       CUkernelNodeAttrValue* value) {
  if (node_of(node)->type != CU_GRAPH_NODE_TYPE_KERNEL) return CUDA_ERROR_INVALID_VALUE;
  *value = {};
  if (attribute == CU_KERNEL_NODE_ATTRIBUTE_COOPERATIVE)
    value->cooperative = node_of(node)->cooperative;
  return CUDA_SUCCESS;
}

CUresult cuGraphNodeGetType(CUgraphNode node, CUgraphNodeType* type) {
  if (node == nullptr || type == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *type = node_of(node)->type;
  return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeGetParams_v2(CUgraphNode node, CUDA_KERNEL_NODE_PARAMS* parameters) {
  if (node_of(node)->type != CU_GRAPH_NODE_TYPE_KERNEL) return CUDA_ERROR_INVALID_VALUE;
  *parameters = node_of(node)->kernel;
  parameters->kernelParams = kernel_parameter_pointers(*node_of(node));
  return CUDA_SUCCESS;
}

CUresult cuGraphMemcpyNodeGetParams(CUgraphNode node, CUDA_MEMCPY3D* copy) {
  if (node_of(node)->type != CU_GRAPH_NODE_TYPE_MEMCPY) return CUDA_ERROR_INVALID_VALUE;
  *copy = node_of(node)->memcpy;
  return CUDA_SUCCESS;
}

CUresult cuGraphMemsetNodeGetParams(CUgraphNode node, CUDA_MEMSET_NODE_PARAMS* parameters) {
  if (node_of(node)->type != CU_GRAPH_NODE_TYPE_MEMSET) return CUDA_ERROR_INVALID_VALUE;
  *parameters = node_of(node)->memset;
  return CUDA_SUCCESS;
}

CUresult cuGraphHostNodeGetParams(CUgraphNode node, CUDA_HOST_NODE_PARAMS* parameters) {
  if (node_of(node)->type != CU_GRAPH_NODE_TYPE_HOST) return CUDA_ERROR_INVALID_VALUE;
  *parameters = node_of(node)->host;
  return CUDA_SUCCESS;
}

CUresult cuGraphChildGraphNodeGetGraph(CUgraphNode node, CUgraph* graph) {
  if (node_of(node)->type != CU_GRAPH_NODE_TYPE_GRAPH) return CUDA_ERROR_INVALID_VALUE;
  *graph = node_of(node)->child;
  return CUDA_SUCCESS;
}

CUresult cuGraphKernelNodeSetParams_v2(CUgraphNode node,
                                       const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return fill_kernel_node(*node_of(node), *parameters);
}

CUresult cuGraphInstantiateWithFlags(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  return instantiate(exec, graph);
}

CUresult cuGraphInstantiate(CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char*,
                            std::size_t) {
  if (error != nullptr) *error = nullptr;
  return instantiate(exec, graph);
}

CUresult cuGraphInstantiate_v2(CUgraphExec* exec, CUgraph graph, CUgraphNode* error, char* log,
                               std::size_t bytes) {
  return body::cuGraphInstantiate(exec, graph, error, log, bytes);
}

CUresult cuGraphInstantiateWithParams(CUgraphExec* exec, CUgraph graph,
                                      CUDA_GRAPH_INSTANTIATE_PARAMS* parameters) {
  const CUresult result = instantiate(exec, graph);
  parameters->hErrNode_out = nullptr;
  parameters->result_out =
      result == CUDA_SUCCESS ? CUDA_GRAPH_INSTANTIATE_SUCCESS : CUDA_GRAPH_INSTANTIATE_ERROR;
  return result;
}

CUresult cuGraphExecDestroy(CUgraphExec exec) {
  return objects().execs.erase(exec) == 0 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGraphExecUpdate_v2(CUgraphExec exec, CUgraph graph,
                              CUgraphExecUpdateResultInfo* information) {
  *information = {};
  return update(exec, graph, information->result);
}

CUresult cuGraphExecUpdate(CUgraphExec exec, CUgraph graph, CUgraphNode* error,
                           CUgraphExecUpdateResult* result) {
  if (error != nullptr) *error = nullptr;
  return update(exec, graph, *result);
}

CUresult cuGraphExecKernelNodeSetParams_v2(CUgraphExec exec, CUgraphNode node,
                                           const CUDA_KERNEL_NODE_PARAMS* parameters) {
  return set_in_exec(exec, node, [&](Node& n) { return fill_kernel_node(n, *parameters); });
}

CUresult cuGraphExecMemcpyNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMCPY3D* copy, CUcontext) {
  return set_in_exec(exec, node, [&](Node& n) { return fill_copy_node(n, *copy); });
}

CUresult cuGraphExecMemsetNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                        const CUDA_MEMSET_NODE_PARAMS* parameters, CUcontext) {
  return set_in_exec(exec, node, [&](Node& n) { return fill_memset_node(n, *parameters); });
}

CUresult cuGraphExecHostNodeSetParams(CUgraphExec exec, CUgraphNode node,
                                      const CUDA_HOST_NODE_PARAMS* parameters) {
  return set_in_exec(exec, node, [&](Node& n) { return fill_host_node(n, *parameters); });
}

CUresult cuGraphUpload(CUgraphExec handle, CUstream) {
  GraphExec* exec = nullptr;
  return find_exec(handle, exec);
}

CUresult cuGraphLaunch(CUgraphExec handle, CUstream stream_handle) {
  GraphExec* exec = nullptr;
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(find_exec(handle, exec));
  BARSWAP_SIM_TRY(machine().stream_of(stream_handle, stream));
  // An instance runs once at a time: its next launch waits for the last.
  auto op = exec->run->clone();
  op->context = stream->context;
  if (!exec->last.empty() && stream->capture == nullptr) op->after = exec->last;
  Node node;
  node.type = CU_GRAPH_NODE_TYPE_GRAPH;
  BARSWAP_SIM_TRY(submit(stream, std::move(op), &node));
  if (stream->capture == nullptr) exec->last = {{stream, stream->submitted}};
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

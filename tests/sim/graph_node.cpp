#include "sim/graph_node.hpp"

#include "sim/graph_run.hpp"
#include "sim/shaped_copy.hpp"

namespace barswap::sim {

CUresult fill_kernel_node(Node& node, const CUDA_KERNEL_NODE_PARAMS& given) {
  // The parameters may be the node's own, and are read before they are replaced.
  const CUDA_KERNEL_NODE_PARAMS parameters = given;
  const CUfunction function =
      parameters.func != nullptr ? parameters.func : reinterpret_cast<CUfunction>(parameters.kern);
  Context* context = parameters.ctx ? machine().context_of(parameters.ctx) : nullptr;
  if (parameters.ctx && !context) return CUDA_ERROR_INVALID_CONTEXT;
  if (!context) BARSWAP_SIM_TRY(machine().need(context));
  const Function* known = look_up(objects().functions, function);
  if (known && known->context && known->context != context) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(make_kernel(
      function, {parameters.gridDimX, parameters.gridDimY, parameters.gridDimZ},
      {parameters.blockDimX, parameters.blockDimY, parameters.blockDimZ}, parameters.sharedMemBytes,
      parameters.kernelParams, parameters.extra, node.op, node));
  node.kernel.ctx = context->handle();
  node.op->own = context;
  return CUDA_SUCCESS;
}

CUresult fill_copy_node(Node& node, const CUDA_MEMCPY3D& copy) {
  std::unique_ptr<CopyOp> op;
  BARSWAP_SIM_TRY(make_shaped_copy(shaped(copy), op));
  node.type = CU_GRAPH_NODE_TYPE_MEMCPY;
  node.memcpy = copy;
  node.op = std::move(op);
  return CUDA_SUCCESS;
}

CUresult fill_memset_node(Node& node, const CUDA_MEMSET_NODE_PARAMS& parameters) {
  if (parameters.elementSize != 1 && parameters.elementSize != 2 && parameters.elementSize != 4)
    return CUDA_ERROR_INVALID_VALUE;
  auto op = std::make_unique<MemsetOp>();
  op->address = parameters.dst;
  op->value = parameters.value;
  op->element_bytes = parameters.elementSize;
  op->width = parameters.width;
  op->height = parameters.height;
  op->pitch_bytes = parameters.pitch;
  node.type = CU_GRAPH_NODE_TYPE_MEMSET;
  node.memset = parameters;
  node.op = std::move(op);
  return CUDA_SUCCESS;
}

CUresult fill_host_node(Node& node, const CUDA_HOST_NODE_PARAMS& parameters) {
  if (parameters.fn == nullptr) return CUDA_ERROR_INVALID_VALUE;
  auto op = std::make_unique<HostOp>();
  op->function = parameters.fn;
  op->data = parameters.userData;
  node.type = CU_GRAPH_NODE_TYPE_HOST;
  node.host = parameters;
  node.op = std::move(op);
  return CUDA_SUCCESS;
}

CUresult fill_child_node(Node& node, CUgraph child) {
  const Graph* graph = look_up(objects().graphs, child);
  if (graph == nullptr) return CUDA_ERROR_INVALID_VALUE;
  node.op = make_run(*graph);
  if (node.op == nullptr) return CUDA_ERROR_INVALID_VALUE;
  node.type = CU_GRAPH_NODE_TYPE_GRAPH;
  node.child = child;
  return CUDA_SUCCESS;
}

CUresult fill_node(Node& node, const CUgraphNodeParams& parameters) {
  switch (parameters.type) {
    case CU_GRAPH_NODE_TYPE_EMPTY: node.type = CU_GRAPH_NODE_TYPE_EMPTY; return CUDA_SUCCESS;
    case CU_GRAPH_NODE_TYPE_KERNEL: {
      const auto& kernel = parameters.kernel;
      return fill_kernel_node(
          node, {kernel.func, kernel.gridDimX, kernel.gridDimY, kernel.gridDimZ, kernel.blockDimX,
                 kernel.blockDimY, kernel.blockDimZ, kernel.sharedMemBytes, kernel.kernelParams,
                 kernel.extra, kernel.kern, kernel.ctx});
    }
    case CU_GRAPH_NODE_TYPE_MEMCPY: return fill_copy_node(node, parameters.memcpy.copyParams);
    case CU_GRAPH_NODE_TYPE_MEMSET: {
      const auto& memset = parameters.memset;
      return fill_memset_node(node, {memset.dst, memset.pitch, memset.value, memset.elementSize,
                                     memset.width, memset.height});
    }
    case CU_GRAPH_NODE_TYPE_HOST:
      return fill_host_node(node, {parameters.host.fn, parameters.host.userData});
    case CU_GRAPH_NODE_TYPE_GRAPH: return fill_child_node(node, parameters.graph.graph);
    default: return CUDA_ERROR_NOT_SUPPORTED;
  }
}

void** kernel_parameter_pointers(Node& node) {
  const void* handle = node.kernel.func != nullptr ? static_cast<const void*>(node.kernel.func)
                                                   : static_cast<const void*>(node.kernel.kern);
  const Function* function = look_up(objects().functions, handle);
  if (function == nullptr) return nullptr;
  auto& bytes = static_cast<KernelOp&>(*node.op).launch.parameters;
  node.kernel_pointers.clear();
  for (const ParameterSlot& slot : function->parameters)
    node.kernel_pointers.push_back(bytes.data() + slot.offset);
  return node.kernel_pointers.data();
}

CUresult add_node(CUgraphNode* result, CUgraph handle, const CUgraphNode* after, std::size_t count,
                  Node filled) {
  Graph* graph = look_up(objects().graphs, handle);
  if (result == nullptr || graph == nullptr || (count > 0 && after == nullptr))
    return CUDA_ERROR_INVALID_VALUE;
  auto node = std::make_unique<Node>(std::move(filled));
  for (std::size_t i = 0; i < count; ++i)
    node->after.push_back(reinterpret_cast<Node*>(after[i])->number);
  node->graph = graph;
  node->number = graph->nodes.size();
  *result = reinterpret_cast<CUgraphNode>(node.get());
  graph->nodes.push_back(std::move(node));
  return CUDA_SUCCESS;
}

}  // namespace barswap::sim

// What is asked of graphs: their work, and clones whose kernels run elsewhere.
#include <array>
#include <cstring>
#include <unordered_map>

#include "driver/answers.hpp"

namespace barswap::driver {
namespace {

// The driver names a kernel of a library both ways.
Function function_of(const CUDA_KERNEL_NODE_PARAMS& kernel) {
  return Function{kernel.kern ? reinterpret_cast<std::uintptr_t>(kernel.kern)
                              : reinterpret_cast<std::uintptr_t>(kernel.func)};
}

GraphWork work_in(const CUDA_KERNEL_NODE_PARAMS& kernel) {
  GraphWork work;
  work.function = function_of(kernel);
  work.parameters = kernel.kernelParams;
  work.extra = kernel.extra;
  work.threads = std::uint64_t{kernel.blockDimX} * kernel.blockDimY * kernel.blockDimZ;
  work.blocks = std::uint64_t{kernel.gridDimX} * kernel.gridDimY * kernel.gridDimZ;
  return work;
}

// One end of a copy: what it goes over, from its pointer on.
struct End {
  CUmemorytype type;
  CUdeviceptr device;
  const void* host;
  std::uint64_t x_bytes, y, z, pitch_bytes, height;
  Address first() const {
    if (type == CU_MEMORYTYPE_ARRAY) return Address{0};
    return Address{type == CU_MEMORYTYPE_HOST ? reinterpret_cast<std::uintptr_t>(host) : device};
  }
  std::uint64_t bytes(const CUDA_MEMCPY3D& copy) const {
    const std::uint64_t pitch = pitch_bytes ? pitch_bytes : x_bytes + copy.WidthInBytes;
    const std::uint64_t rows = height ? height : y + copy.Height;
    return (z + copy.Depth) * rows * pitch;
  }
};

GraphWork work_in(const CUDA_MEMCPY3D& copy) {
  const End to{copy.dstMemoryType, copy.dstDevice, copy.dstHost,  copy.dstXInBytes,
               copy.dstY,          copy.dstZ,      copy.dstPitch, copy.dstHeight};
  const End from{copy.srcMemoryType, copy.srcDevice, copy.srcHost,  copy.srcXInBytes,
                 copy.srcY,          copy.srcZ,      copy.srcPitch, copy.srcHeight};
  GraphWork work;
  work.first = to.first();
  work.second = from.first();
  work.first_bytes = to.bytes(copy);
  work.second_bytes = from.bytes(copy);
  return work;
}

GraphWork work_in(const CUDA_MEMSET_NODE_PARAMS& fill) {
  GraphWork work;
  work.first = Address{fill.dst};
  const std::uint64_t row_bytes = std::uint64_t{fill.elementSize} * fill.width;
  work.first_bytes = fill.height > 1 ? fill.pitch * fill.height : row_bytes;
  return work;
}

// The driver functions that this asks are there.
Result<GraphWork> work_at(const Api& api, CUgraphNode node, CUgraphNodeType type) {
  if (type == CU_GRAPH_NODE_TYPE_KERNEL) {
    CUDA_KERNEL_NODE_PARAMS kernel{};
    BARSWAP_TRY_VOID(done(api.cuGraphKernelNodeGetParams_v2(node, &kernel)));
    return work_in(kernel);
  }
  if (type == CU_GRAPH_NODE_TYPE_MEMCPY) {
    CUDA_MEMCPY3D copy{};
    BARSWAP_TRY_VOID(done(api.cuGraphMemcpyNodeGetParams(node, &copy)));
    return work_in(copy);
  }
  if (type == CU_GRAPH_NODE_TYPE_MEMSET) {
    CUDA_MEMSET_NODE_PARAMS fill{};
    BARSWAP_TRY_VOID(done(api.cuGraphMemsetNodeGetParams(node, &fill)));
    return work_in(fill);
  }
  return GraphWork{};
}

bool has_work(const Api& api) {
  return api.cuGraphNodeGetType && api.cuGraphKernelNodeGetParams_v2 &&
         api.cuGraphMemcpyNodeGetParams && api.cuGraphMemsetNodeGetParams;
}

CUgraph native(Graph graph) {
  return reinterpret_cast<CUgraph>(static_cast<std::uintptr_t>(graph));
}
CUgraphNode native(Node node) {
  return reinterpret_cast<CUgraphNode>(static_cast<std::uintptr_t>(node));
}
CUgraphExec native(Exec exec) {
  return reinterpret_cast<CUgraphExec>(static_cast<std::uintptr_t>(exec));
}
Node word_of(CUgraphNode node) { return Node{reinterpret_cast<std::uintptr_t>(node)}; }

bool has_graphs(const Api& api) {
  return api.cuGraphClone && api.cuGraphDestroy && api.cuGraphDestroyNode && api.cuGraphLaunch &&
         api.cuGraphNodeFindInClone && api.cuGraphGetNodes && api.cuGraphNodeGetType &&
         api.cuGraphNodeGetDependencies_v2 && api.cuGraphKernelNodeGetParams_v2 &&
         api.cuGraphKernelNodeSetParams_v2 && api.cuGraphKernelNodeGetAttribute &&
         api.cuGraphKernelNodeSetAttribute && api.cuGraphExecKernelNodeSetParams_v2 &&
         api.cuGraphInstantiateWithFlags && api.cuGraphExecDestroy;
}

// All zeros where the driver knows of no such attribute.
CUkernelNodeAttrValue attribute_of(const Api& api, CUgraphNode node, CUkernelNodeAttrID which) {
  CUkernelNodeAttrValue value{};
  if (api.cuGraphKernelNodeGetAttribute(node, which, &value) != CUDA_SUCCESS) return {};
  return value;
}

// Its blocks meet on one die, its die's cache is told what to keep, or fences reach less.
bool tied(const Api& api, CUgraphNode node) {
  return attribute_of(api, node, CU_KERNEL_NODE_ATTRIBUTE_COOPERATIVE).cooperative != 0 ||
         attribute_of(api, node, CU_KERNEL_NODE_ATTRIBUTE_ACCESS_POLICY_WINDOW)
                 .accessPolicyWindow.num_bytes != 0 ||
         attribute_of(api, node, CU_LAUNCH_ATTRIBUTE_MEM_SYNC_DOMAIN).memSyncDomain !=
             CU_LAUNCH_MEM_SYNC_DOMAIN_DEFAULT;
}

// Kernels may give it new parameters, of which we would not hear.
bool updated_by_device(const Api& api, CUgraphNode node) {
  return attribute_of(api, node, CU_LAUNCH_ATTRIBUTE_DEVICE_UPDATABLE_KERNEL_NODE)
             .deviceUpdatableKernelNode.deviceUpdatable != 0;
}

// What the shape of a launch hangs on.
constexpr std::array kAttributes = {CU_KERNEL_NODE_ATTRIBUTE_CLUSTER_DIMENSION,
                                    CU_KERNEL_NODE_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE,
                                    CU_KERNEL_NODE_ATTRIBUTE_PRIORITY,
                                    CU_LAUNCH_ATTRIBUTE_PREFERRED_CLUSTER_DIMENSION,
                                    CU_LAUNCH_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT};
using Attributes = std::array<CUkernelNodeAttrValue, kAttributes.size()>;

Attributes attributes_of(const Api& api, CUgraphNode node) {
  Attributes values{};
  for (std::size_t i = 0; i < kAttributes.size(); ++i)
    values[i] = attribute_of(api, node, kAttributes[i]);
  return values;
}

bool has_data(const CUgraphEdgeData& edge) {
  return edge.type != 0 || edge.from_port != 0 || edge.to_port != 0;
}

}  // namespace

Result<std::vector<GraphNode>> Verbs::chain_of(Graph graph, Graph clone) const {
  if (!has_graphs(*api_)) return refused(kMissing);
  std::size_t count = 0;
  BARSWAP_TRY_VOID(done(api_->cuGraphGetNodes(native(graph), nullptr, &count)));
  std::vector<CUgraphNode> nodes(count);
  if (count > 0) BARSWAP_TRY_VOID(done(api_->cuGraphGetNodes(native(graph), nodes.data(), &count)));
  struct Link {
    CUgraphNode node = nullptr;
    bool follows = false;
  };
  std::unordered_map<CUgraphNode, Link> after;  // by the one before it; null before the first
  for (const CUgraphNode node : nodes) {
    std::size_t edges = 0;
    BARSWAP_TRY_VOID(done(api_->cuGraphNodeGetDependencies_v2(node, nullptr, nullptr, &edges)));
    if (edges > 1) return Error{Fault::not_supported};
    CUgraphNode before = nullptr;
    CUgraphEdgeData data{};
    if (edges == 1)
      BARSWAP_TRY_VOID(done(api_->cuGraphNodeGetDependencies_v2(node, &before, &data, &edges)));
    if (!after.emplace(before, Link{node, has_data(data)}).second)
      return Error{Fault::not_supported};
  }
  std::vector<GraphNode> chain;
  for (auto at = after.find(nullptr); at != after.end(); at = after.find(at->second.node)) {
    const CUgraphNode node = at->second.node;
    CUgraphNode twin = nullptr;
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    BARSWAP_TRY_VOID(done(api_->cuGraphNodeGetType(node, &type)));
    BARSWAP_TRY_VOID(done(api_->cuGraphNodeFindInClone(&twin, node, native(clone))));
    GraphNode one{word_of(node), word_of(twin), Function::none, false, at->second.follows};
    if (type == CU_GRAPH_NODE_TYPE_KERNEL) {
      CUDA_KERNEL_NODE_PARAMS kernel{};
      BARSWAP_TRY_VOID(done(api_->cuGraphKernelNodeGetParams_v2(twin, &kernel)));
      if (updated_by_device(*api_, node)) return Error{Fault::not_supported};
      one.function = function_of(kernel);
      one.tied = tied(*api_, node);
    } else if (type != CU_GRAPH_NODE_TYPE_MEMCPY && type != CU_GRAPH_NODE_TYPE_MEMSET &&
               type != CU_GRAPH_NODE_TYPE_EMPTY) {
      return Error{Fault::not_supported};
    }
    chain.push_back(one);
  }
  if (chain.size() != nodes.size()) return Error{Fault::not_supported};
  return chain;
}

Result<GraphWork> Verbs::work_of(Node node) const {
  if (!has_work(*api_)) return refused(kMissing);
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  BARSWAP_TRY_VOID(done(api_->cuGraphNodeGetType(native(node), &type)));
  return work_at(*api_, native(node), type);
}

Result<Graph> Verbs::clone(Graph graph) const {
  if (!has_graphs(*api_)) return refused(kMissing);
  CUgraph copy = nullptr;
  const CUresult code = api_->cuGraphClone(&copy, native(graph));
  return answer(code, Graph{reinterpret_cast<std::uintptr_t>(copy)});
}

// Edges go with their nodes.
Result<Verbs::Part> Verbs::part_of(Graph graph, std::span<const GraphNode> all, std::size_t first,
                                   std::size_t count) const {
  Part part;
  part.graph = BARSWAP_TRY(clone(graph));
  for (std::size_t i = 0; i < all.size(); ++i) {
    CUgraphNode twin = nullptr;
    CUresult code = api_->cuGraphNodeFindInClone(&twin, native(all[i].node), native(part.graph));
    const bool kept = i >= first && i - first < count;
    if (code == CUDA_SUCCESS && kept) part.nodes.push_back(word_of(twin));
    if (code == CUDA_SUCCESS && !kept) code = api_->cuGraphDestroyNode(twin);
    if (code == CUDA_SUCCESS) continue;
    destroy(part.graph);
    return refused(code);
  }
  return part;
}

void Verbs::destroy(Graph graph) const { (void)api_->cuGraphDestroy(native(graph)); }

Result<void> Verbs::place(Node node, Function kernel, Context context) const {
  CUDA_KERNEL_NODE_PARAMS now{};
  BARSWAP_TRY_VOID(done(api_->cuGraphKernelNodeGetParams_v2(native(node), &now)));
  const auto word = static_cast<std::uintptr_t>(kernel);
  const bool general = is_kernel(kernel);
  now.kern = general ? reinterpret_cast<CUkernel>(word) : nullptr;
  now.func = general ? nullptr : reinterpret_cast<CUfunction>(word);
  now.ctx = native(context);
  const Attributes before = attributes_of(*api_, native(node));
  BARSWAP_TRY_VOID(done(api_->cuGraphKernelNodeSetParams_v2(native(node), &now)));
  // Nothing says that they outlast another kernel.
  const Attributes after = attributes_of(*api_, native(node));
  for (std::size_t i = 0; i < kAttributes.size(); ++i)
    if (std::memcmp(&before[i], &after[i], sizeof before[i]) != 0)
      BARSWAP_TRY_VOID(
          done(api_->cuGraphKernelNodeSetAttribute(native(node), kAttributes[i], &before[i])));
  return {};
}

Result<void> Verbs::change(Node node, const KernelChange& change) const {
  CUDA_KERNEL_NODE_PARAMS now{};
  BARSWAP_TRY_VOID(done(api_->cuGraphKernelNodeGetParams_v2(native(node), &now)));
  auto next = *static_cast<const CUDA_KERNEL_NODE_PARAMS*>(change.whole);
  next.kern = now.kern;
  next.func = now.kern ? nullptr : now.func;
  next.ctx = now.ctx;
  return done(api_->cuGraphKernelNodeSetParams_v2(native(node), &next));
}

Result<void> Verbs::change(Exec exec, Node node) const {
  CUDA_KERNEL_NODE_PARAMS now{};
  BARSWAP_TRY_VOID(done(api_->cuGraphKernelNodeGetParams_v2(native(node), &now)));
  if (now.kern) now.func = nullptr;
  return done(api_->cuGraphExecKernelNodeSetParams_v2(native(exec), native(node), &now));
}

bool Verbs::plain_graph(std::uint64_t flags) const {
  // Without nodes of memory there is nothing to free.
  constexpr std::uint64_t kFine = CUDA_GRAPH_INSTANTIATE_FLAG_USE_NODE_PRIORITY |
                                  CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
  return (flags & ~kFine) == 0;
}

Result<Exec> Verbs::instantiate(Graph graph, std::uint64_t flags) const {
  CUgraphExec exec = nullptr;
  const CUresult code = api_->cuGraphInstantiateWithFlags(&exec, native(graph), flags);
  return answer(code, Exec{reinterpret_cast<std::uintptr_t>(exec)});
}

Result<void> Verbs::upload(Exec exec, Stream stream) const {
  if (!api_->cuGraphUpload) return {};
  return done(api_->cuGraphUpload(native(exec), native(stream)));
}

Result<void> Verbs::launch(Exec exec, Stream stream) const {
  return done(api_->cuGraphLaunch(native(exec), native(stream)));
}

void Verbs::destroy(Exec exec) const { (void)api_->cuGraphExecDestroy(native(exec)); }

Result<void> Verbs::add_work(Graph graph, int depth, std::vector<GraphWork>& work) const {
  constexpr int kDepthMax = 16;
  if (!api_->cuGraphGetNodes || !has_work(*api_) || !api_->cuGraphChildGraphNodeGetGraph ||
      depth > kDepthMax)
    return Error{Fault::not_supported};
  const auto native_graph = reinterpret_cast<CUgraph>(static_cast<std::uintptr_t>(graph));
  std::size_t count = 0;
  BARSWAP_TRY_VOID(done(api_->cuGraphGetNodes(native_graph, nullptr, &count)));
  std::vector<CUgraphNode> nodes(count);
  if (count > 0) BARSWAP_TRY_VOID(done(api_->cuGraphGetNodes(native_graph, nodes.data(), &count)));
  for (const CUgraphNode node : nodes) {
    CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
    BARSWAP_TRY_VOID(done(api_->cuGraphNodeGetType(node, &type)));
    if (type == CU_GRAPH_NODE_TYPE_GRAPH) {
      CUgraph child = nullptr;
      BARSWAP_TRY_VOID(done(api_->cuGraphChildGraphNodeGetGraph(node, &child)));
      BARSWAP_TRY_VOID(add_work(Graph{reinterpret_cast<std::uintptr_t>(child)}, depth + 1, work));
      continue;
    }
    const GraphWork one = BARSWAP_TRY(work_at(*api_, node, type));
    if (one.function == Function::none && one.first == Address{} && one.second == Address{})
      continue;
    work.push_back(one);
  }
  return {};
}

Result<std::vector<GraphWork>> Verbs::work_of(Graph graph) const {
  std::vector<GraphWork> work;
  BARSWAP_TRY_VOID(add_work(graph, 0, work));
  return work;
}

}  // namespace barswap::driver

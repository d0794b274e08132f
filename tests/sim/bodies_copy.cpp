// Linear copies. Blocking and asynchrony are those of the real driver: a pageable source is taken
// at the call, a pageable target is complete on return, and a copy between device addresses never
// blocks.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

bool on_device(std::uintptr_t address) {
  const Mapping* mapping = memory().find(address);
  return mapping != nullptr ? !(mapping->on_host && mapping->kind != Kind::Vmm)
                            : memory().reservation_at(address).second != 0;
}

bool pageable(std::uintptr_t address) {
  return memory().find(address) == nullptr && memory().reservation_at(address).second == 0;
}

// A range that names device memory must be mapped from end to end.
CUresult check_range(std::uintptr_t address, std::size_t bytes) {
  if (pageable(address)) return CUDA_SUCCESS;
  return memory().covering(address, bytes).empty() ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

struct Linear {
  std::uintptr_t to = 0;
  std::uintptr_t from = 0;
  std::size_t bytes = 0;
  int to_die = -1;
  int from_die = -1;
};

std::unique_ptr<CopyOp> make_copy(const Linear& linear) {
  auto op = std::make_unique<CopyOp>();
  op->to.address = linear.to;
  op->to.die = linear.to_die;
  op->from.address = linear.from;
  op->from.die = linear.from_die;
  op->width_bytes = linear.bytes;
  return op;
}

// The node that a capture of this copy gains.
Node node_of(const Linear& linear) {
  Node node;
  node.type = CU_GRAPH_NODE_TYPE_MEMCPY;
  node.memcpy.srcMemoryType = node.memcpy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
  node.memcpy.srcDevice = linear.from;
  node.memcpy.dstDevice = linear.to;
  node.memcpy.WidthInBytes = linear.bytes;
  node.memcpy.Height = node.memcpy.Depth = 1;
  return node;
}

CUresult copy_async(const Linear& linear, CUstream handle) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  if (linear.bytes == 0) return CUDA_SUCCESS;
  BARSWAP_SIM_TRY(check_range(linear.to, linear.bytes));
  BARSWAP_SIM_TRY(check_range(linear.from, linear.bytes));
  auto op = make_copy(linear);
  const bool captured = stream->capture != nullptr;
  if (!captured && pageable(linear.from) && !pageable(linear.to)) {
    const auto* source = reinterpret_cast<const std::byte*>(linear.from);
    op->staged = std::make_shared<std::vector<std::byte>>(source, source + linear.bytes);
    op->from.address = address_of(op->staged->data());
    op->from.raw = true;
  }
  const Node node = node_of(linear);
  BARSWAP_SIM_TRY(submit(stream, std::move(op), &node));
  if (captured || !pageable(linear.to)) return CUDA_SUCCESS;
  return machine().wait_for(*stream->context, {{stream, stream->submitted}});
}

CUresult copy_now(const Linear& linear) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  BARSWAP_SIM_TRY(refuse_beside_capture());
  if (linear.bytes == 0) return CUDA_SUCCESS;
  BARSWAP_SIM_TRY(check_range(linear.to, linear.bytes));
  BARSWAP_SIM_TRY(check_range(linear.from, linear.bytes));
  if (on_device(linear.to) && on_device(linear.from)) return submit(nullptr, make_copy(linear));
  return submit_and_wait(nullptr, make_copy(linear));
}

CUresult die_of(CUcontext handle, int& die) {
  const Context* context = machine().context_of(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  die = context->die;
  return CUDA_SUCCESS;
}

CUresult peer_linear(CUdeviceptr to, CUcontext to_context, CUdeviceptr from, CUcontext from_context,
                     std::size_t bytes, Linear& linear) {
  linear = {to, from, bytes};
  BARSWAP_SIM_TRY(die_of(to_context, linear.to_die));
  return die_of(from_context, linear.from_die);
}

}  // namespace

namespace body {

CUresult cuMemcpy(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  return copy_now({to, from, bytes});
}

CUresult cuMemcpyAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return copy_async({to, from, bytes}, stream);
}

CUresult cuMemcpyHtoD_v2(CUdeviceptr to, const void* from, std::size_t bytes) {
  return copy_now({to, address_of(from), bytes});
}

CUresult cuMemcpyDtoH_v2(void* to, CUdeviceptr from, std::size_t bytes) {
  return copy_now({address_of(to), from, bytes});
}

CUresult cuMemcpyDtoD_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
  return copy_now({to, from, bytes});
}

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void* from, std::size_t bytes,
                              CUstream stream) {
  return copy_async({to, address_of(from), bytes}, stream);
}

CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, std::size_t bytes, CUstream stream) {
  return copy_async({address_of(to), from, bytes}, stream);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, std::size_t bytes,
                              CUstream stream) {
  return copy_async({to, from, bytes}, stream);
}

CUresult cuMemcpyPeer(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                      CUcontext from_context, std::size_t bytes) {
  Linear linear;
  BARSWAP_SIM_TRY(peer_linear(to, to_context, from, from_context, bytes, linear));
  return copy_now(linear);
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                           CUcontext from_context, std::size_t bytes, CUstream stream) {
  Linear linear;
  BARSWAP_SIM_TRY(peer_linear(to, to_context, from, from_context, bytes, linear));
  return copy_async(linear, stream);
}

}  // namespace body
}  // namespace barswap::sim

#include "sim/shaped_copy.hpp"

#include <algorithm>

namespace barswap::sim {
namespace {

struct Description {
  CUmemorytype type;
  std::uintptr_t host;
  CUdeviceptr device;
  CUarray array;
  std::size_t x, y, z, pitch_bytes, height;
};

CUresult describe_side(const Description& from, const CUDA_MEMCPY3D& copy, Side& side) {
  if (from.type == CU_MEMORYTYPE_ARRAY) {
    Array* array = look_up(objects().arrays, from.array);
    if (array == nullptr) return CUDA_ERROR_INVALID_HANDLE;
    const std::size_t rows = std::max<std::size_t>(array->descriptor.Height, 1);
    side.raw = true;
    side.die = array->die;
    side.pitch_bytes = array->row_bytes;
    side.slice_bytes = array->row_bytes * rows;
    side.address = address_of(array->bytes.data());
    if (from.x + copy.WidthInBytes > array->row_bytes || from.y + copy.Height > rows ||
        (from.z + copy.Depth) * side.slice_bytes > array->bytes.size())
      return CUDA_ERROR_INVALID_VALUE;
  } else {
    if (from.type != CU_MEMORYTYPE_HOST && from.type != CU_MEMORYTYPE_DEVICE &&
        from.type != CU_MEMORYTYPE_UNIFIED)
      return CUDA_ERROR_INVALID_VALUE;
    side.address = from.type == CU_MEMORYTYPE_HOST ? from.host : from.device;
    side.pitch_bytes = from.pitch_bytes == 0 ? from.x + copy.WidthInBytes : from.pitch_bytes;
    if (side.pitch_bytes < copy.WidthInBytes) return CUDA_ERROR_INVALID_VALUE;
    side.slice_bytes = side.pitch_bytes * std::max(from.height, from.y + copy.Height);
  }
  side.address += from.z * side.slice_bytes + from.y * side.pitch_bytes + from.x;
  return CUDA_SUCCESS;
}

std::size_t reach_bytes(const Side& side, const CUDA_MEMCPY3D& copy) {
  return (copy.Depth - 1) * side.slice_bytes + (copy.Height - 1) * side.pitch_bytes +
         copy.WidthInBytes;
}

bool pageable(std::uintptr_t address) {
  return memory().find(address) == nullptr && memory().reservation_at(address).second == 0;
}

CUresult check_side(const Side& side, const CUDA_MEMCPY3D& copy) {
  if (side.raw || pageable(side.address)) return CUDA_SUCCESS;
  return memory().covering(side.address, reach_bytes(side, copy)).empty() ? CUDA_ERROR_INVALID_VALUE
                                                                         : CUDA_SUCCESS;
}

CUresult set_die(CUcontext handle, Side& side) {
  if (handle == nullptr || side.raw) return CUDA_SUCCESS;
  const Context* context = machine().context_of(handle);
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  side.die = context->die;
  return CUDA_SUCCESS;
}

bool on_device(const Side& side) {
  if (side.raw) return side.die >= 0;
  const Mapping* mapping = memory().find(side.address);
  return mapping != nullptr && (!mapping->on_host || mapping->kind == Kind::Vmm);
}

// A pageable source is taken at the call, row by row, so that the program may change it at once.
void stage(CopyOp& op) {
  op.staged = std::make_shared<std::vector<std::byte>>(op.width_bytes * op.height * op.depth);
  std::byte* into = op.staged->data();
  for (std::size_t z = 0; z < op.depth; ++z)
    for (std::size_t y = 0; y < op.height; ++y, into += op.width_bytes)
      std::copy_n(reinterpret_cast<const std::byte*>(op.from.address + z * op.from.slice_bytes +
                                                     y * op.from.pitch_bytes),
                  op.width_bytes, into);
  op.from = {address_of(op.staged->data()), op.width_bytes, op.width_bytes * op.height, true, -1};
}

}  // namespace

Shaped shaped(const CUDA_MEMCPY3D& copy) { return {copy, nullptr, nullptr}; }

Shaped shaped(const CUDA_MEMCPY2D& flat) {
  Shaped result;
  CUDA_MEMCPY3D& copy = result.copy;
  copy.srcXInBytes = flat.srcXInBytes;
  copy.srcY = flat.srcY;
  copy.srcMemoryType = flat.srcMemoryType;
  copy.srcHost = flat.srcHost;
  copy.srcDevice = flat.srcDevice;
  copy.srcArray = flat.srcArray;
  copy.srcPitch = flat.srcPitch;
  copy.dstXInBytes = flat.dstXInBytes;
  copy.dstY = flat.dstY;
  copy.dstMemoryType = flat.dstMemoryType;
  copy.dstHost = flat.dstHost;
  copy.dstDevice = flat.dstDevice;
  copy.dstArray = flat.dstArray;
  copy.dstPitch = flat.dstPitch;
  copy.WidthInBytes = flat.WidthInBytes;
  copy.Height = flat.Height;
  copy.Depth = 1;
  return result;
}

Shaped shaped(const CUDA_MEMCPY3D_PEER& peer) {
  Shaped result;
  CUDA_MEMCPY3D& copy = result.copy;
  copy.srcXInBytes = peer.srcXInBytes;
  copy.srcY = peer.srcY;
  copy.srcZ = peer.srcZ;
  copy.srcMemoryType = peer.srcMemoryType;
  copy.srcHost = peer.srcHost;
  copy.srcDevice = peer.srcDevice;
  copy.srcArray = peer.srcArray;
  copy.srcPitch = peer.srcPitch;
  copy.srcHeight = peer.srcHeight;
  copy.dstXInBytes = peer.dstXInBytes;
  copy.dstY = peer.dstY;
  copy.dstZ = peer.dstZ;
  copy.dstMemoryType = peer.dstMemoryType;
  copy.dstHost = peer.dstHost;
  copy.dstDevice = peer.dstDevice;
  copy.dstArray = peer.dstArray;
  copy.dstPitch = peer.dstPitch;
  copy.dstHeight = peer.dstHeight;
  copy.WidthInBytes = peer.WidthInBytes;
  copy.Height = peer.Height;
  copy.Depth = peer.Depth;
  result.from_context = peer.srcContext;
  result.to_context = peer.dstContext;
  return result;
}

CUresult make_shaped_copy(const Shaped& shape, std::unique_ptr<CopyOp>& result) {
  const CUDA_MEMCPY3D& copy = shape.copy;
  auto op = std::make_unique<CopyOp>();
  BARSWAP_SIM_TRY(
      describe_side({copy.srcMemoryType, address_of(copy.srcHost), copy.srcDevice, copy.srcArray,
                     copy.srcXInBytes, copy.srcY, copy.srcZ, copy.srcPitch, copy.srcHeight},
                    copy, op->from));
  BARSWAP_SIM_TRY(
      describe_side({copy.dstMemoryType, address_of(copy.dstHost), copy.dstDevice, copy.dstArray,
                     copy.dstXInBytes, copy.dstY, copy.dstZ, copy.dstPitch, copy.dstHeight},
                    copy, op->to));
  op->width_bytes = copy.WidthInBytes;
  op->height = copy.Height;
  op->depth = copy.Depth;
  BARSWAP_SIM_TRY(set_die(shape.from_context, op->from));
  BARSWAP_SIM_TRY(set_die(shape.to_context, op->to));
  if (copy.WidthInBytes > 0 && copy.Height > 0 && copy.Depth > 0) {
    BARSWAP_SIM_TRY(check_side(op->from, copy));
    BARSWAP_SIM_TRY(check_side(op->to, copy));
  }
  result = std::move(op);
  return CUDA_SUCCESS;
}

bool ends_in_pageable_memory(const CopyOp& op) { return !op.to.raw && pageable(op.to.address); }

CUresult shaped_copy_async(const Shaped& shape, CUstream handle) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  std::unique_ptr<CopyOp> op;
  BARSWAP_SIM_TRY(make_shaped_copy(shape, op));
  if (op->width_bytes == 0 || op->height == 0 || op->depth == 0) return CUDA_SUCCESS;
  const bool captured = stream->capture != nullptr;
  const bool waits = !captured && ends_in_pageable_memory(*op);
  if (!captured && !waits && !op->from.raw && pageable(op->from.address)) stage(*op);
  Node node;
  node.type = CU_GRAPH_NODE_TYPE_MEMCPY;
  node.memcpy = shape.copy;
  BARSWAP_SIM_TRY(submit(stream, std::move(op), &node));
  if (!waits) return CUDA_SUCCESS;
  return machine().wait_for(*stream->context, {{stream, stream->submitted}});
}

CUresult shaped_copy_now(const Shaped& shape) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  BARSWAP_SIM_TRY(refuse_beside_capture());
  std::unique_ptr<CopyOp> op;
  BARSWAP_SIM_TRY(make_shaped_copy(shape, op));
  if (op->width_bytes == 0 || op->height == 0 || op->depth == 0) return CUDA_SUCCESS;
  if (on_device(op->to) && on_device(op->from)) return submit(nullptr, std::move(op));
  return submit_and_wait(nullptr, std::move(op));
}

}  // namespace barswap::sim

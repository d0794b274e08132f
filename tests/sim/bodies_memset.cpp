// Memsets. The plain forms return at once on device memory, and block where a page lies in host
// memory.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

struct Fill {
  std::uintptr_t address = 0;
  std::size_t pitch_bytes = 0;
  std::uint32_t value = 0;
  std::size_t element_bytes = 1;
  std::size_t width = 0;
  std::size_t height = 1;
};

std::size_t reach_bytes(const Fill& fill) {
  return (fill.height - 1) * fill.pitch_bytes + fill.width * fill.element_bytes;
}

CUresult check(const Fill& fill) {
  if (fill.address % fill.element_bytes != 0) return CUDA_ERROR_INVALID_VALUE;
  if (fill.height > 1 && fill.pitch_bytes < fill.width * fill.element_bytes)
    return CUDA_ERROR_INVALID_VALUE;
  return memory().covering(fill.address, reach_bytes(fill)).empty() ? CUDA_ERROR_INVALID_VALUE
                                                                   : CUDA_SUCCESS;
}

std::unique_ptr<MemsetOp> make_op(const Fill& fill) {
  auto op = std::make_unique<MemsetOp>();
  op->address = fill.address;
  op->value = fill.value;
  op->element_bytes = fill.element_bytes;
  op->width = fill.width;
  op->height = fill.height;
  op->pitch_bytes = fill.pitch_bytes;
  return op;
}

CUresult set_async(const Fill& fill, CUstream stream) {
  std::shared_ptr<Stream> target;
  BARSWAP_SIM_TRY(machine().stream_of(stream, target));
  if (fill.width == 0 || fill.height == 0) return CUDA_SUCCESS;
  BARSWAP_SIM_TRY(check(fill));
  Node node;
  node.type = CU_GRAPH_NODE_TYPE_MEMSET;
  node.memset = {fill.address, fill.pitch_bytes,
                 fill.value,   static_cast<unsigned>(fill.element_bytes),
                 fill.width,   fill.height};
  return submit(target, make_op(fill), &node);
}

CUresult set_now(const Fill& fill) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  BARSWAP_SIM_TRY(refuse_beside_capture());
  if (fill.width == 0 || fill.height == 0) return CUDA_SUCCESS;
  BARSWAP_SIM_TRY(check(fill));
  const auto pages = memory().covering(fill.address, reach_bytes(fill));
  const bool on_host =
      std::any_of(pages.begin(), pages.end(), [](auto* page) { return page->on_host; });
  if (on_host) return submit_and_wait(nullptr, make_op(fill));
  return submit(nullptr, make_op(fill));
}

}  // namespace

namespace body {

CUresult cuMemsetD8_v2(CUdeviceptr at, unsigned char value, std::size_t n) {
  return set_now({at, 0, value, 1, n, 1});
}
CUresult cuMemsetD16_v2(CUdeviceptr at, unsigned short value, std::size_t n) {
  return set_now({at, 0, value, 2, n, 1});
}
CUresult cuMemsetD32_v2(CUdeviceptr at, unsigned value, std::size_t n) {
  return set_now({at, 0, value, 4, n, 1});
}
CUresult cuMemsetD2D8_v2(CUdeviceptr at, std::size_t pitch, unsigned char value, std::size_t width,
                         std::size_t height) {
  return set_now({at, pitch, value, 1, width, height});
}
CUresult cuMemsetD2D16_v2(CUdeviceptr at, std::size_t pitch, unsigned short value,
                          std::size_t width, std::size_t height) {
  return set_now({at, pitch, value, 2, width, height});
}
CUresult cuMemsetD2D32_v2(CUdeviceptr at, std::size_t pitch, unsigned value, std::size_t width,
                          std::size_t height) {
  return set_now({at, pitch, value, 4, width, height});
}
CUresult cuMemsetD8Async(CUdeviceptr at, unsigned char value, std::size_t n, CUstream stream) {
  return set_async({at, 0, value, 1, n, 1}, stream);
}
CUresult cuMemsetD16Async(CUdeviceptr at, unsigned short value, std::size_t n, CUstream stream) {
  return set_async({at, 0, value, 2, n, 1}, stream);
}
CUresult cuMemsetD32Async(CUdeviceptr at, unsigned value, std::size_t n, CUstream stream) {
  return set_async({at, 0, value, 4, n, 1}, stream);
}
CUresult cuMemsetD2D8Async(CUdeviceptr at, std::size_t pitch, unsigned char value,
                           std::size_t width, std::size_t height, CUstream stream) {
  return set_async({at, pitch, value, 1, width, height}, stream);
}
CUresult cuMemsetD2D16Async(CUdeviceptr at, std::size_t pitch, unsigned short value,
                            std::size_t width, std::size_t height, CUstream stream) {
  return set_async({at, pitch, value, 2, width, height}, stream);
}
CUresult cuMemsetD2D32Async(CUdeviceptr at, std::size_t pitch, unsigned value, std::size_t width,
                            std::size_t height, CUstream stream) {
  return set_async({at, pitch, value, 4, width, height}, stream);
}

}  // namespace body
}  // namespace barswap::sim

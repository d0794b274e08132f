// Advice about managed memory, which lies on the host here: advice changes nothing, but is checked.
#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

CUresult check_managed(CUdeviceptr address, std::size_t bytes) {
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  const auto pages = memory().covering(address, bytes);
  if (pages.empty()) return CUDA_ERROR_INVALID_VALUE;
  for (const Mapping* page : pages)
    if (page->kind != Kind::Managed) return CUDA_ERROR_INVALID_VALUE;
  return CUDA_SUCCESS;
}

}  // namespace

namespace body {

CUresult cuMemAdvise(CUdeviceptr address, std::size_t bytes, CUmem_advise, CUdevice) {
  return check_managed(address, bytes);
}
CUresult cuMemAdvise_v2(CUdeviceptr address, std::size_t bytes, CUmem_advise, CUmemLocation) {
  return check_managed(address, bytes);
}

CUresult cuMemPrefetchAsync(CUdeviceptr address, std::size_t bytes, CUdevice, CUstream handle) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  BARSWAP_SIM_TRY(check_managed(address, bytes));
  return submit(stream, std::make_unique<MarkOp>());
}
CUresult cuMemPrefetchAsync_v2(CUdeviceptr address, std::size_t bytes, CUmemLocation, unsigned,
                               CUstream stream) {
  return body::cuMemPrefetchAsync(address, bytes, 0, stream);
}

CUresult cuStreamAttachMemAsync(CUstream handle, CUdeviceptr address, std::size_t, unsigned) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  return check_managed(address, 1);
}

}  // namespace body
}  // namespace barswap::sim

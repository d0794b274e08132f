// What leaves the process: IPC handles, handles as descriptors, dma-buf. A simulated descriptor
// names a frame of its own process; another process cannot import it.
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

struct Token {
  char magic[8];
  long process;
  std::uint64_t value;
};

Token make_token(std::uint64_t value) {
  return {{'s', 'i', 'm', 't', 'o', 'k', 'e', 'n'}, static_cast<long>(getpid()), value};
}

bool valid(const Token& token) {
  return std::memcmp(token.magic, make_token(0).magic, sizeof token.magic) == 0 &&
         token.process == getpid();
}

// A descriptor whose content is the token.
int descriptor_of(std::uint64_t value) {
  const Token token = make_token(value);
  const int descriptor = memfd_create("sim", MFD_CLOEXEC);
  if (descriptor >= 0 && write(descriptor, &token, sizeof token) != sizeof token) {
    close(descriptor);
    return -1;
  }
  return descriptor;
}

}  // namespace

namespace body {

CUresult cuMemExportToShareableHandle(void* result, CUmemGenericAllocationHandle handle,
                                      CUmemAllocationHandleType type, unsigned long long flags) {
  const Frame* frame = memory().frame_of_handle(handle);
  if (result == nullptr || frame == nullptr || flags != 0 ||
      type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR ||
      (frame->properties.requestedHandleTypes & type) == 0)
    return CUDA_ERROR_INVALID_VALUE;
  const int descriptor = descriptor_of(handle);
  if (descriptor < 0) return CUDA_ERROR_OPERATING_SYSTEM;
  *static_cast<int*>(result) = descriptor;
  return CUDA_SUCCESS;
}

CUresult cuMemImportFromShareableHandle(CUmemGenericAllocationHandle* result, void* os_handle,
                                        CUmemAllocationHandleType type) {
  if (result == nullptr || type != CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR)
    return CUDA_ERROR_INVALID_VALUE;
  Token token{};
  const int descriptor = static_cast<int>(reinterpret_cast<std::intptr_t>(os_handle));
  if (pread(descriptor, &token, sizeof token, 0) != sizeof token || !valid(token))
    return CUDA_ERROR_INVALID_VALUE;
  Frame* frame = memory().frame_of_id(token.value);
  if (frame == nullptr) return CUDA_ERROR_INVALID_VALUE;
  ++frame->handle_references;
  *result = frame->id;
  return CUDA_SUCCESS;
}

CUresult cuMemGetHandleForAddressRange(void* result, CUdeviceptr address, std::size_t bytes,
                                       CUmemRangeHandleType type, unsigned long long flags) {
  if (result == nullptr || bytes == 0 || type != CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD || flags > 1 ||
      address % 4096 != 0 || bytes % 4096 != 0)
    return CUDA_ERROR_INVALID_VALUE;
  const auto pages = memory().covering(address, bytes);
  if (pages.empty()) return CUDA_ERROR_INVALID_VALUE;
  for (const Mapping* page : pages)
    if (page->on_host || page->die != pages.front()->die) return CUDA_ERROR_INVALID_VALUE;
  const int descriptor = descriptor_of(address);
  if (descriptor < 0) return CUDA_ERROR_OPERATING_SYSTEM;
  *static_cast<int*>(result) = descriptor;
  return CUDA_SUCCESS;
}

CUresult cuIpcGetMemHandle(CUipcMemHandle* handle, CUdeviceptr address) {
  const Mapping* mapping = memory().find(address);
  if (handle == nullptr || mapping == nullptr || mapping->kind != Kind::Plain ||
      memory().allocation_at(address) == nullptr)
    return CUDA_ERROR_INVALID_VALUE;
  const Token token = make_token(mapping->base);
  std::memset(handle, 0, sizeof *handle);
  std::memcpy(handle, &token, sizeof token);
  return CUDA_SUCCESS;
}

// The real driver refuses a handle of its own process; one of another process is out of reach here.
CUresult cuIpcOpenMemHandle_v2(CUdeviceptr* address, CUipcMemHandle handle, unsigned) {
  Token token{};
  std::memcpy(&token, &handle, sizeof token);
  if (address == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return valid(token) ? CUDA_ERROR_INVALID_CONTEXT : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuIpcOpenMemHandle(CUdeviceptr* address, CUipcMemHandle handle, unsigned flags) {
  return body::cuIpcOpenMemHandle_v2(address, handle, flags);
}

CUresult cuIpcCloseMemHandle(CUdeviceptr) { return CUDA_ERROR_INVALID_VALUE; }

}  // namespace body
}  // namespace barswap::sim

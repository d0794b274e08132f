// Memory that leaves the process: legacy IPC handles, handles of the program's own VMM memory as
// file descriptors, and dma-buf. Prints what each call answers, and the memory stays right whatever
// they say.
#include <unistd.h>

#include "program.hpp"

namespace {

using e2e::Buffer;

void show(const char* what, CUresult result) {
  std::printf("%s: %s\n", what, e2e::name_of(result));
}

void legacy(const char* what, CUdeviceptr address) {
  CUipcMemHandle handle{};
  const CUresult result = cuIpcGetMemHandle(&handle, address);
  std::printf("ipc handle of %s: %s\n", what, e2e::name_of(result));
  if (result != CUDA_SUCCESS) return;
  CUdeviceptr opened = 0;
  std::printf(
      "  opened in its own process: %s\n",
      e2e::name_of(cuIpcOpenMemHandle(&opened, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS)));
}

// The program's own VMM memory, exported as a descriptor, imported, and mapped a second time.
void own_handle(const e2e::Die& die, e2e::Hash& hash) {
  CUmemAllocationProp properties{};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location = {CU_MEM_LOCATION_TYPE_DEVICE, die.device};
  properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  std::size_t bytes = 0;
  NEED(cuMemGetAllocationGranularity(&bytes, &properties, CU_MEM_ALLOC_GRANULARITY_MINIMUM));
  CUmemGenericAllocationHandle handle = 0, imported = 0;
  NEED(cuMemCreate(&handle, bytes, &properties, 0));
  int descriptor = -1;
  NEED(cuMemExportToShareableHandle(&descriptor, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                                    0));
  CHECK(descriptor >= 0);
  NEED(cuMemImportFromShareableHandle(
      &imported, reinterpret_cast<void*>(static_cast<std::intptr_t>(descriptor)),
      CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR));
  CHECK(close(descriptor) == 0);
  CUdeviceptr window = 0;
  NEED(cuMemAddressReserve(&window, 2 * bytes, 0, 0, 0));
  NEED(cuMemMap(window, bytes, 0, handle, 0));
  NEED(cuMemMap(window + bytes, bytes, 0, imported, 0));
  CUmemAccessDesc access{properties.location, CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
  NEED(cuMemSetAccess(window, 2 * bytes, &access, 1));
  die.kernels.fill(window, bytes / 4, 4);
  e2e::hash_device(hash, window + bytes, bytes);
  CUmemGenericAllocationHandle retained = 0;
  show("its handle again", cuMemRetainAllocationHandle(&retained, reinterpret_cast<void*>(window)));
  NEED(cuMemRelease(retained));
  NEED(cuMemUnmap(window, bytes));
  NEED(cuMemUnmap(window + bytes, bytes));
  NEED(cuMemAddressFree(window, 2 * bytes));
  NEED(cuMemRelease(handle));
  NEED(cuMemRelease(imported));
}

void dma_buf(const e2e::Die& die, const Buffer& buffer) {
  int capable = 0;
  NEED(cuDeviceGetAttribute(&capable, CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED, die.device));
  int descriptor = -1;
  const CUresult result = cuMemGetHandleForAddressRange(&descriptor, buffer.address, buffer.bytes,
                                                        CU_MEM_RANGE_HANDLE_TYPE_DMA_BUF_FD, 0);
  std::printf("dma-buf: %s, answer fits the attribute: %s\n", e2e::name_of(result),
              (result == CUDA_SUCCESS) == (capable != 0) ? "yes" : "no");
  if (result == CUDA_SUCCESS) CHECK(close(descriptor) == 0);
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64);
  const e2e::Die die;
  e2e::Hash hash;
  std::vector<Buffer> buffers;
  for (std::uint32_t i = 0; i < 4; ++i) {
    buffers.push_back(Buffer::make(options.bytes() / 8 / (2 << 20) * (2 << 20)));
    die.kernels.fill(buffers.back().address, buffers.back().words(), i);
  }
  const Buffer small = Buffer::make(5000);
  die.kernels.fill(small.address, small.words(), 77);
  legacy("a large range", buffers[0].address);
  legacy("a small range", small.address);
  legacy("a host variable", reinterpret_cast<CUdeviceptr>(&hash));
  own_handle(die, hash);
  dma_buf(die, buffers[1]);
  unsigned on = 1;
  show("sync_memops",
       cuPointerSetAttribute(&on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, buffers[2].address));
  unsigned is = 0;
  show("sync_memops read",
       cuPointerGetAttribute(&is, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, buffers[2].address));
  std::printf("sync_memops is %u\n", is);
  // Exported or not, the ranges stay usable while others come and go.
  for (int turn = 0; turn < 4; ++turn) {
    Buffer passing = Buffer::make(options.bytes() / 4);
    die.kernels.fill(passing.address, passing.words(), 3);
    for (const Buffer& buffer : buffers)
      die.kernels.xorshift_update(buffer.address, buffer.words(), 2);
    passing.free();
  }
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  e2e::hash_device(hash, small);
  return e2e::finish(hash);
}

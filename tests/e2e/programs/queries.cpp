// What the driver says about linear memory: every pointer attribute, address ranges, free memory.
// Raw addresses are never printed, only how they relate, so that the lines can be compared.
#include "program.hpp"

namespace {

using e2e::Buffer;

const char* yes(bool is_so) { return is_so ? "yes" : "no"; }

template <class T>
bool attribute(const char* name, CUpointer_attribute which, CUdeviceptr at, T* value) {
  const CUresult result = cuPointerGetAttribute(value, which, at);
  if (result != CUDA_SUCCESS) std::printf("  %s: %s\n", name, e2e::name_of(result));
  return result == CUDA_SUCCESS;
}

void number(const char* name, CUpointer_attribute which, CUdeviceptr at) {
  unsigned value = 0;
  if (attribute(name, which, at, &value)) std::printf("  %s: %u\n", name, value);
}

// A flag or a set of bits, and how many bytes of the answer the driver writes: more of them would
// overrun the program's variable.
void bits(const char* name, CUpointer_attribute which, CUdeviceptr at) {
  constexpr unsigned char mark = 0xa5;
  unsigned char answer[16];
  std::memset(answer, mark, sizeof answer);
  if (!attribute(name, which, at, answer)) return;
  unsigned width = sizeof answer;
  while (width > 0 && answer[width - 1] == mark) --width;
  std::printf("  %s: %u, in bytes: %u\n", name, answer[0], width);
}

void describe(const char* what, const Buffer& buffer, std::uint64_t offset, CUcontext context) {
  const CUdeviceptr at = buffer.address + offset;
  std::printf("%s, %llu bytes, at %llu\n", what, static_cast<unsigned long long>(buffer.bytes),
              static_cast<unsigned long long>(offset));
  CUcontext owner = nullptr;
  if (attribute("context", CU_POINTER_ATTRIBUTE_CONTEXT, at, &owner))
    std::printf("  context is ours: %s\n", yes(owner == context));
  number("memory type", CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at);
  CUdeviceptr address = 0;
  if (attribute("device pointer", CU_POINTER_ATTRIBUTE_DEVICE_POINTER, at, &address))
    std::printf("  device pointer is the pointer: %s\n", yes(address == at));
  void* host = nullptr;
  attribute("host pointer", CU_POINTER_ATTRIBUTE_HOST_POINTER, at, &host);
  number("sync_memops", CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, at);
  bits("managed", CU_POINTER_ATTRIBUTE_IS_MANAGED, at);
  number("ordinal", CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, at);
  bits("legacy ipc", CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, at);
  if (attribute("range start", CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, at, &address))
    std::printf("  range starts at the allocation: %s\n", yes(address == buffer.address));
  std::size_t size = 0;
  if (attribute("range size", CU_POINTER_ATTRIBUTE_RANGE_SIZE, at, &size))
    std::printf("  range size is as asked: %s\n", yes(size == buffer.bytes));
  bits("mapped", CU_POINTER_ATTRIBUTE_MAPPED, at);
  bits("handle types", CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, at);
  bits("rdma", CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE, at);
  number("access", CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, at);
  CUmemoryPool pool = nullptr;
  if (attribute("pool", CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, at, &pool))
    std::printf("  in a pool: %s\n", yes(pool != nullptr));
  CUdeviceptr mapping = 0;
  if (attribute("mapping size", CU_POINTER_ATTRIBUTE_MAPPING_SIZE, at, &size) &&
      attribute("mapping base", CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR, at, &mapping))
    std::printf("  mapping in whole 2 MiB: %s, covers the pointer: %s\n",
                yes(size % (2 << 20) == 0), yes(mapping <= at && at < mapping + size));
  unsigned long long id = 0;
  if (attribute("block id", CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID, at, &id))
    std::printf("  block id is not 0: %s\n", yes(id != 0));
  bits("hardware decompress", CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE, at);

  CUdeviceptr base = 0;
  const CUresult result = cuMemGetAddressRange(&base, &size, at);
  std::printf("  address range: %s, base right: %s, size right: %s\n", e2e::name_of(result),
              yes(base == buffer.address), yes(size == buffer.bytes));
  std::printf("  base alone: %s, size alone: %s\n",
              e2e::name_of(cuMemGetAddressRange(&base, nullptr, at)),
              e2e::name_of(cuMemGetAddressRange(nullptr, &size, at)));
  CUmemGenericAllocationHandle handle = 0;
  std::printf("  as a handle: %s\n",
              e2e::name_of(cuMemRetainAllocationHandle(&handle, reinterpret_cast<void*>(at))));
  const CUmemLocation location{CU_MEM_LOCATION_TYPE_DEVICE, 0};
  std::printf("  advice: %s\n",
              e2e::name_of(cuMemAdvise(at, 4096, CU_MEM_ADVISE_SET_READ_MOSTLY, location)));
}

void several_at_once(const Buffer& buffer) {
  unsigned type = 0;
  CUdeviceptr start = 0;
  std::size_t size = 0;
  void* host = &type;
  CUpointer_attribute which[] = {
      CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_RANGE_START_ADDR,
      CU_POINTER_ATTRIBUTE_RANGE_SIZE, CU_POINTER_ATTRIBUTE_HOST_POINTER};
  void* into[] = {&type, &start, &size, &host};
  const CUresult result = cuPointerGetAttributes(4, which, into, buffer.address + 8);
  std::printf("four at once: %s, type %u, start right: %s, size right: %s, no host pointer: %s\n",
              e2e::name_of(result), type, yes(start == buffer.address), yes(size == buffer.bytes),
              yes(host == nullptr));
}

void buffer_ids(const std::vector<Buffer>& buffers) {
  std::vector<unsigned long long> seen;
  bool distinct = true, stable = true;
  for (const Buffer& buffer : buffers) {
    unsigned long long id = 0, again = 0;
    NEED(cuPointerGetAttribute(&id, CU_POINTER_ATTRIBUTE_BUFFER_ID, buffer.address));
    NEED(cuPointerGetAttribute(&again, CU_POINTER_ATTRIBUTE_BUFFER_ID,
                               buffer.address + buffer.bytes - 1));
    stable = stable && id == again && id != 0;
    for (const unsigned long long other : seen) distinct = distinct && id != other;
    seen.push_back(id);
  }
  std::printf("buffer ids: stable over a range: %s, distinct: %s\n", yes(stable), yes(distinct));
}

void strangers(const Buffer& freed) {
  unsigned type = 0;
  std::printf(
      "freed pointer, type: %s\n",
      e2e::name_of(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, freed.address)));
  CUdeviceptr base = 0;
  std::size_t size = 0;
  std::printf("freed pointer, range: %s\n",
              e2e::name_of(cuMemGetAddressRange(&base, &size, freed.address)));
  std::printf("null, type: %s\n",
              e2e::name_of(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, 0)));
  std::printf("null value: %s\n", e2e::name_of(cuPointerGetAttribute(
                                      nullptr, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, freed.address)));
  void* pinned = nullptr;
  NEED(cuMemHostAlloc(&pinned, 4096, 0));
  NEED(cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE,
                             reinterpret_cast<CUdeviceptr>(pinned)));
  std::printf("pinned memory, type: %u\n", type);
  NEED(cuMemFreeHost(pinned));
}

void free_memory() {
  std::size_t free_before = 0, free_with = 0, free_after = 0, total = 0, physical = 0;
  NEED(cuMemGetInfo(&free_before, &total));
  Buffer buffer = Buffer::make(8 << 20);
  NEED(cuMemGetInfo(&free_with, &total));
  buffer.free();
  NEED(cuMemGetInfo(&free_after, &total));
  NEED(cuDeviceTotalMem(&physical, 0));
  std::printf("free is at most total: %s, 8 MiB taken show: %s, and come back: %s\n",
              yes(free_before <= total), yes(free_before - free_with >= (8u << 20)),
              yes(free_after == free_before));
  std::printf("total is the device's: %s\n", yes(total == physical));
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64);
  const e2e::Die die;
  free_memory();
  // Most of the memory in ranges that may lie anywhere, then the ones that are looked at.
  std::vector<Buffer> ballast;
  for (std::uint64_t held = 0; held + (40 << 20) <= options.bytes(); held += 40 << 20) {
    ballast.push_back(Buffer::make(40 << 20));
    die.kernels.fill(ballast.back().address, ballast.back().words(), 3);
  }
  std::vector<Buffer> buffers;
  for (const std::uint64_t bytes :
       {4ull, 100ull, 512ull, 4096ull, 1ull << 20, (2ull << 20) + 4, 9ull << 20, 40ull << 20})
    buffers.push_back(Buffer::make(bytes));
  for (const Buffer& buffer : buffers) {
    describe("range", buffer, 0, die.context);
    describe("range", buffer, buffer.bytes / 2, die.context);
    describe("range", buffer, buffer.bytes - 1, die.context);
  }
  for (const Buffer& buffer : ballast) describe("early range", buffer, 12345, die.context);
  several_at_once(buffers[5]);
  buffer_ids(buffers);
  Buffer freed = buffers.back();
  buffers.pop_back();
  const Buffer was = freed;
  freed.free();
  strangers(was);
  e2e::Hash hash;
  for (const Buffer& buffer : ballast) e2e::hash_device(hash, buffer);
  return e2e::finish(hash);
}

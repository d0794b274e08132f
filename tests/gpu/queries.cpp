// Asks the driver everything that can be asked about plain cuMemAlloc memory, and prints the
// answers so that two runs can be compared line by line: addresses appear as relations to the
// allocation, ids as relations to each other. The answers must be the same bare and under Barswap,
// whichever tier the memory is in. Lines that begin with # are for the reader and are not compared.
//   queries [--filler-mib N]   after N MiB more were allocated, everything is asked again
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "driver_call.hpp"

namespace {

using gpu::name_of;

constexpr size_t kMiB = size_t{1} << 20;

struct Subject {
  size_t asked_bytes;
  CUdeviceptr base = 0;
};

struct Attribute {
  CUpointer_attribute id;
  const char* name;
  size_t bytes;
};

constexpr Attribute kPlain[] = {
    {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, "type", 4},
    {CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, "sync_memops", 4},
    {CU_POINTER_ATTRIBUTE_IS_MANAGED, "managed", 4},
    {CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, "ordinal", 4},
    {CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, "ipc_capable", 4},
    {CU_POINTER_ATTRIBUTE_RANGE_SIZE, "range_size", 8},
    {CU_POINTER_ATTRIBUTE_MAPPED, "mapped", 4},
    {CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, "handle_types", 8},
    {CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE, "rdma_capable", 4},
    {CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, "access", 4},
    {CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE, "pool", 8},
    {CU_POINTER_ATTRIBUTE_MAPPING_SIZE, "mapping_size", 8},
    {CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE, "hw_decompress", 4},
    {CU_POINTER_ATTRIBUTE_HOST_POINTER, "host_pointer", 8},
};

// The value as text, or the driver's refusal.
std::string ask(const Attribute& attribute, CUdeviceptr at) {
  uint64_t value = 0;
  const CUresult result = GPU_DRIVER(cuPointerGetAttribute)(&value, attribute.id, at);
  if (result != CUDA_SUCCESS) return name_of(result);
  return std::to_string(attribute.bytes == 4 ? value & 0xffffffff : value);
}

std::string relation(CUpointer_attribute id, CUdeviceptr at, CUdeviceptr origin) {
  CUdeviceptr value = 0;
  const CUresult result = GPU_DRIVER(cuPointerGetAttribute)(&value, id, at);
  if (result != CUDA_SUCCESS) return name_of(result);
  return "origin" + std::string(value >= origin ? "+" : "-") +
         std::to_string(value >= origin ? value - origin : origin - value);
}

std::string same_id(CUpointer_attribute id, CUdeviceptr at, CUdeviceptr base) {
  uint64_t here = 0;
  uint64_t there = 0;
  const CUresult result = GPU_DRIVER(cuPointerGetAttribute)(&here, id, at);
  if (result != CUDA_SUCCESS) return name_of(result);
  GPU_NEED(cuPointerGetAttribute, &there, id, base);
  return std::string(here == 0 ? "zero" : "some") + (here == there ? ",as-at-base" : ",another");
}

void print_point(const Subject& subject, const char* when, CUdeviceptr at, CUcontext context) {
  std::printf("%s %zu+%llu:", when, subject.asked_bytes,
              static_cast<unsigned long long>(at - subject.base));
  for (const Attribute& attribute : kPlain)
    std::printf(" %s=%s", attribute.name, ask(attribute, at).c_str());
  CUcontext owner = nullptr;
  const CUresult asked =
      GPU_DRIVER(cuPointerGetAttribute)(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, at);
  std::printf(" context=%s", asked != CUDA_SUCCESS ? name_of(asked)
                             : owner == context    ? "current"
                             : owner == nullptr    ? "null"
                                                   : "another");
  std::printf(" device_pointer=%s",
              relation(CU_POINTER_ATTRIBUTE_DEVICE_POINTER, at, at).c_str());
  std::printf(" range_start=%s",
              relation(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, at, subject.base).c_str());
  std::printf(" buffer_id=%s", same_id(CU_POINTER_ATTRIBUTE_BUFFER_ID, at, subject.base).c_str());
  std::printf(" block_id=%s",
              same_id(CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID, at, subject.base).c_str());
  CUdeviceptr mapping = 0;
  uint64_t mapping_bytes = 0;
  const CUresult mapped =
      GPU_DRIVER(cuPointerGetAttribute)(&mapping, CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR, at);
  GPU_DRIVER(cuPointerGetAttribute)(&mapping_bytes, CU_POINTER_ATTRIBUTE_MAPPING_SIZE, at);
  const bool holds = mapping <= at && at - mapping < mapping_bytes;
  std::printf(" mapping_base=%s%s",
              mapped != CUDA_SUCCESS ? name_of(mapped)
              : holds                ? "holds"
                                     : "misses",
              mapping % (2 * kMiB) == 0 ? ",aligned" : ",odd");
  CUdeviceptr base = 0;
  size_t bytes = 0;
  const CUresult range = GPU_DRIVER(cuMemGetAddressRange)(&base, &bytes, at);
  std::printf(" address_range=%s", name_of(range));
  if (range == CUDA_SUCCESS)
    std::printf(",base%+lld,%zu", static_cast<long long>(base - subject.base), bytes);
  std::printf("\n# mapping base at base%+lld\n", static_cast<long long>(mapping - subject.base));
}

void print_calls(const Subject& subject, const char* when) {
  const CUdeviceptr base = subject.base;
  std::printf("%s %zu calls:", when, subject.asked_bytes);
  size_t bytes = 0;
  CUdeviceptr start = 0;
  std::printf(" size_only=%s,%d", name_of(GPU_DRIVER(cuMemGetAddressRange)(nullptr, &bytes, base)),
              bytes == subject.asked_bytes);
  std::printf(" base_only=%s,%d", name_of(GPU_DRIVER(cuMemGetAddressRange)(&start, nullptr, base)),
              start == base);
  CUmemGenericAllocationHandle handle = 0;
  std::printf(" retain=%s", name_of(GPU_DRIVER(cuMemRetainAllocationHandle)(
                                &handle, reinterpret_cast<void*>(base))));
  CUmemLocation die{};
  die.type = CU_MEM_LOCATION_TYPE_DEVICE;
  std::printf(" advise=%s", name_of(GPU_DRIVER(cuMemAdvise)(
                                base, std::min<size_t>(subject.asked_bytes, 4096),
                                CU_MEM_ADVISE_SET_READ_MOSTLY, die)));
  unsigned long long flags = 0;
  std::printf(" get_access=%s", name_of(GPU_DRIVER(cuMemGetAccess)(&flags, &die, base)));
  unsigned host_flags = 0;
  std::printf(" host_flags=%s", name_of(GPU_DRIVER(cuMemHostGetFlags)(
                                    &host_flags, reinterpret_cast<void*>(base))));
  int preferred = 0;
  std::printf(" range_attribute=%s", name_of(GPU_DRIVER(cuMemRangeGetAttribute)(
                                         &preferred, sizeof preferred,
                                         CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION, base, 4096)));
  // Several at once: what is not known comes back as zero, without an error.
  CUpointer_attribute ids[] = {CU_POINTER_ATTRIBUTE_MEMORY_TYPE, CU_POINTER_ATTRIBUTE_HOST_POINTER,
                               CU_POINTER_ATTRIBUTE_RANGE_SIZE, CU_POINTER_ATTRIBUTE_IS_MANAGED};
  unsigned type = 9;
  void* host = reinterpret_cast<void*>(9);
  size_t size = 9;
  int managed = 9;
  void* values[] = {&type, &host, &size, &managed};
  std::printf(" several=%s", name_of(GPU_DRIVER(cuPointerGetAttributes)(4, ids, values, base)));
  std::printf(",%u,%d,%zu,%d\n", type, host != nullptr, size, managed);
}

void print_all(const std::vector<Subject>& subjects, const char* when, CUcontext context) {
  for (const Subject& subject : subjects) {
    // Never beyond the end: what lies there differs from run to run.
    for (size_t at : {size_t{0}, subject.asked_bytes / 2, subject.asked_bytes - 1})
      print_point(subject, when, subject.base + at, context);
    print_calls(subject, when);
  }
  for (const Subject& one : subjects)
    for (const Subject& other : subjects)
      if (&one < &other)
        std::printf("%s buffer ids of %zu and %zu: %s\n", when, one.asked_bytes, other.asked_bytes,
                    same_id(CU_POINTER_ATTRIBUTE_BUFFER_ID, one.base, other.base).c_str());
}

// Requests and frees that the driver refuses, and what remains afterwards.
void print_refusals(const Subject& subject) {
  CUdeviceptr p = 0;
  std::printf("refusals: size_0=%s", name_of(GPU_DRIVER(cuMemAlloc)(&p, 0)));
  std::printf(" size_max=%s", name_of(GPU_DRIVER(cuMemAlloc)(&p, SIZE_MAX)));
  std::printf(" size_2^60=%s", name_of(GPU_DRIVER(cuMemAlloc)(&p, size_t{1} << 60)));
  std::printf(" null_out=%s", name_of(GPU_DRIVER(cuMemAlloc)(nullptr, kMiB)));
  std::printf(" free_null=%s", name_of(GPU_DRIVER(cuMemFree)(0)));
  std::printf(" free_inside=%s", name_of(GPU_DRIVER(cuMemFree)(subject.base + 512)));
  std::printf(" free_foreign=%s", name_of(GPU_DRIVER(cuMemFree)(0x1000)));
  size_t pitch_bytes = 0;
  for (size_t width : {size_t{1}, size_t{1000}, size_t{4097}}) {
    std::printf(" pitch_%zu=%s", width,
                name_of(GPU_DRIVER(cuMemAllocPitch)(&p, &pitch_bytes, width, 100, 4)));
    std::printf(",%zu", pitch_bytes);
    CUdeviceptr base = 0;
    size_t bytes = 0;
    GPU_NEED(cuMemGetAddressRange, &base, &bytes, p);
    std::printf(",%zu", bytes);
    GPU_NEED(cuMemFree, p);
  }
  std::printf(" pitch_width_0=%s", name_of(GPU_DRIVER(cuMemAllocPitch)(&p, &pitch_bytes, 0, 1, 4)));
  std::printf(" pitch_element_3=%s\n",
              name_of(GPU_DRIVER(cuMemAllocPitch)(&p, &pitch_bytes, 64, 1, 3)));
}

void print_freed(const Subject& subject) {
  GPU_NEED(cuMemFree, subject.base);
  std::printf("freed %zu: again=%s", subject.asked_bytes,
              name_of(GPU_DRIVER(cuMemFree)(subject.base)));
  uint64_t value = 0;
  std::printf(" type=%s", name_of(GPU_DRIVER(cuPointerGetAttribute)(
                              &value, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, subject.base)));
  CUdeviceptr base = 0;
  std::printf(" address_range=%s\n",
              name_of(GPU_DRIVER(cuMemGetAddressRange)(&base, nullptr, subject.base)));
}

// Changes that pin memory come last, each on an allocation of its own.
void print_changes() {
  CUdeviceptr p = 0;
  GPU_NEED(cuMemAlloc, &p, 64 * kMiB);
  int on = 1;
  std::printf("changes: set_sync_memops=%s", name_of(GPU_DRIVER(cuPointerSetAttribute)(
                                                 &on, CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, p)));
  const Attribute sync{CU_POINTER_ATTRIBUTE_SYNC_MEMOPS, "sync_memops", 4};
  std::printf(" sync_memops=%s", ask(sync, p + 4096).c_str());
  CUipcMemHandle ipc;
  std::printf(" ipc_handle=%s", name_of(GPU_DRIVER(cuIpcGetMemHandle)(&ipc, p)));
  std::printf(" free=%s\n", name_of(GPU_DRIVER(cuMemFree)(p)));
}

}  // namespace

int main(int argc, char** argv) {
  size_t filler_mib = 0;
  for (int i = 1; i + 1 < argc; i += 2)
    if (!std::strcmp(argv[i], "--filler-mib")) filler_mib = std::strtoul(argv[i + 1], nullptr, 10);
  const CUcontext context = gpu::use_first_die();
  std::vector<Subject> subjects;
  for (size_t bytes : {size_t{1}, size_t{1000}, kMiB, 3 * kMiB, 5 * kMiB + 100, 64 * kMiB + 4,
                       300 * kMiB})
    subjects.push_back({bytes});
  for (Subject& subject : subjects) GPU_NEED(cuMemAlloc, &subject.base, subject.asked_bytes);
  print_all(subjects, "fresh", context);
  if (filler_mib != 0) {
    std::vector<CUdeviceptr> filler(filler_mib / 256 + 1);
    for (CUdeviceptr& block : filler) {
      GPU_NEED(cuMemAlloc, &block, 256 * kMiB);
      GPU_NEED(cuMemsetD8, block, 1, 256 * kMiB);
      GPU_NEED(cuCtxSynchronize);
    }
    print_all(subjects, "crowded", context);
    for (CUdeviceptr block : filler) GPU_NEED(cuMemFree, block);
  }
  print_refusals(subjects[3]);
  for (const Subject& subject : subjects) print_freed(subject);
  print_changes();
  return 0;
}

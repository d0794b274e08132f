// Queries: our pointers answer as plain cuMemAlloc memory does, whatever tier their pages are in.
#include <cstring>
#include <iterator>
#include <optional>

#include "driver/errors.hpp"
#include "interpose/call.hpp"

namespace barswap::interpose::handlers {
namespace {

constexpr std::uint64_t kBlockBytes = 2_MiB;

// What plain memory of this die answers where the answer depends on the die: asked once, of a plain
// allocation of the smallest size.
struct DieAnswers {
  std::atomic<bool> known{false};
  std::atomic<unsigned> rdma_capable{1}, decompress_capable{0}, access_flags{3};
};
DieAnswers die_answers[kDiesMax];

// How many bytes the driver writes for an attribute, by its number; 0: not known yet.
std::atomic<unsigned char> widths[32];

// Flags and sets of bits are documented without a width, and an answer that is wider than the
// driver's would overrun what the program keeps it in. The driver knows our pages, so it is asked.
std::size_t width_of(CUpointer_attribute attribute, CUdeviceptr pointer) {
  std::atomic<unsigned char>& known = widths[static_cast<unsigned>(attribute) % std::size(widths)];
  if (const auto width = known.load(std::memory_order_relaxed); width != 0) return width;
  constexpr unsigned char kMark = 0xa5;
  unsigned char answer[16];
  std::memset(answer, kMark, sizeof answer);
  // Not to be told: one byte overruns nothing, and is right wherever the rest is zero already.
  if (forward<&driver::Api::cuPointerGetAttribute>(answer, attribute, pointer) != CUDA_SUCCESS)
    return 1;
  unsigned char width = sizeof(std::uint64_t);
  while (width > 1 && answer[width - 1] == kMark) --width;
  known.store(width, std::memory_order_relaxed);
  return width;
}

const DieAnswers& answers_of(const Call& call, const memory::Range& range) {
  DieAnswers& answers = die_answers[index_of(range.home)];
  if (answers.known.load(std::memory_order_acquire)) return answers;
  const driver::RelaxedCapture relaxed(call->verbs());
  // Memory that the program mapped itself belongs to no context; any of that die will do.
  driver::Context context = range.context;
  if (const auto entry = call->pager().contexts().on(range.home);
      context == driver::Context::none && entry)
    context = entry->context;
  if (context == driver::Context::none) return answers;
  const driver::Entered entered(call->verbs(), context);
  CUdeviceptr plain = 0;
  if (!entered.ok() ||
      forward<&driver::Api::cuMemAlloc_v2>(&plain, std::size_t{512}) != CUDA_SUCCESS)
    return answers;
  const auto ask = [&](CUpointer_attribute attribute, std::atomic<unsigned>& answer) {
    std::uint64_t value = 0;
    if (forward<&driver::Api::cuPointerGetAttribute>(&value, attribute, plain) == CUDA_SUCCESS)
      answer.store(static_cast<unsigned>(value), std::memory_order_relaxed);
  };
  ask(CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE, answers.rdma_capable);
  ask(CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE, answers.decompress_capable);
  ask(CU_POINTER_ATTRIBUTE_ACCESS_FLAGS, answers.access_flags);
  // What is asked about may be mapped to nothing later.
  for (const CUpointer_attribute attribute :
       {CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, CU_POINTER_ATTRIBUTE_MAPPED,
        CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE,
        CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE})
    (void)width_of(attribute, plain);
  (void)forward<&driver::Api::cuMemFree_v2>(plain);
  answers.known.store(true, std::memory_order_release);
  return answers;
}

CUresult put_bits(void* data, std::uint64_t value, CUpointer_attribute attribute,
                  CUdeviceptr pointer) {
  std::memcpy(data, &value, width_of(attribute, pointer));
  return CUDA_SUCCESS;
}

template <class T>
CUresult put(void* data, T value) {
  std::memcpy(data, &value, sizeof value);
  return CUDA_SUCCESS;
}

// Memory that the program mapped itself answers as the driver's own does, where that differs.
// Nothing: as plain memory.
std::optional<CUresult> mapped_attribute_of(const Call& call, const memory::Range& range,
                                            CUdeviceptr pointer, void* data,
                                            CUpointer_attribute attribute) {
  CUmemAllocationProp properties{};
  if (const auto stored = call->maps().properties(range.handle))
    std::memcpy(&properties, stored->data(), sizeof properties);
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
      return put_bits(data, 0, attribute, pointer);
    // The reservation is the program's own, and the driver knows it.
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
      return forward<&driver::Api::cuPointerGetAttribute>(data, attribute, pointer);
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
      return put_bits(data, properties.requestedHandleTypes, attribute, pointer);
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
      return put_bits(data, properties.allocFlags.gpuDirectRDMACapable, attribute, pointer);
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS: {
      auto die = call->verbs().current_die();
      const auto bit = die ? 1u << index_of(*die) : 0u;
      return put<unsigned>(data, (range.writers & bit) != 0   ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE
                                 : (range.readers & bit) != 0 ? CU_MEM_ACCESS_FLAGS_PROT_READ
                                                              : CU_MEM_ACCESS_FLAGS_PROT_NONE);
    }
    default: return std::nullopt;
  }
}

CUresult access_of(const Call& call, const memory::Range& range, const CUmemLocation& location,
                   unsigned long long* flags) {
  *flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
  if (location.type != CU_MEM_LOCATION_TYPE_DEVICE) return CUDA_SUCCESS;
  if (location.id < 0 || static_cast<std::size_t>(location.id) >= call->dies().size())
    return CUDA_ERROR_INVALID_DEVICE;
  if ((range.writers >> location.id & 1u) != 0) *flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  else if ((range.readers >> location.id & 1u) != 0) *flags = CU_MEM_ACCESS_FLAGS_PROT_READ;
  return CUDA_SUCCESS;
}

CUresult attribute_of(const Call& call, const memory::Range& range, CUdeviceptr pointer, void* data,
                      CUpointer_attribute attribute) {
  if (pager::Flights::current()) (void)answers_of(call, range);
  if (range.handle != 0)
    if (const auto answer = mapped_attribute_of(call, range, pointer, data, attribute))
      return *answer;
  const std::uint64_t block =
      range.packed ? value_of(range.base) / kBlockBytes * kBlockBytes : value_of(range.base);
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT: return put(data, static_cast<std::uintptr_t>(range.context));
    case CU_POINTER_ATTRIBUTE_MEMORY_TYPE: return put<unsigned>(data, CU_MEMORYTYPE_DEVICE);
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER: return put(data, pointer);
    case CU_POINTER_ATTRIBUTE_HOST_POINTER: return CUDA_ERROR_INVALID_VALUE;
    // Tokens let a third party reach the memory for good, past every later move.
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS: return CUDA_ERROR_NOT_SUPPORTED;
    case CU_POINTER_ATTRIBUTE_SYNC_MEMOPS: return put<unsigned>(data, range.sync_memops ? 1 : 0);
    case CU_POINTER_ATTRIBUTE_BUFFER_ID: return put(data, range.buffer_id);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES: return put_bits(data, 0, attribute, pointer);
    case CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL: return put<int>(data, index_of(range.home));
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR: return put(data, value_of(range.base));
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE: return put(data, range.asked_bytes);
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED: return put_bits(data, 1, attribute, pointer);
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
      return put_bits(data, answers_of(call, range).rdma_capable.load(), attribute, pointer);
    case CU_POINTER_ATTRIBUTE_ACCESS_FLAGS:
      return put<unsigned>(data, answers_of(call, range).access_flags.load());
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE: return put<std::uintptr_t>(data, 0);
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
      return put(data, round_up(range.mapping_bytes, kBlockBytes));
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR: return put(data, block);
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: return put(data, block / kBlockBytes);
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE:
      return put_bits(data, answers_of(call, range).decompress_capable.load(), attribute, pointer);
    default: return CUDA_ERROR_INVALID_VALUE;
  }
}

std::size_t size_of(CUpointer_attribute attribute, CUdeviceptr pointer) {
  switch (attribute) {
    case CU_POINTER_ATTRIBUTE_CONTEXT:
    case CU_POINTER_ATTRIBUTE_DEVICE_POINTER:
    case CU_POINTER_ATTRIBUTE_HOST_POINTER:
    case CU_POINTER_ATTRIBUTE_BUFFER_ID:
    case CU_POINTER_ATTRIBUTE_RANGE_START_ADDR:
    case CU_POINTER_ATTRIBUTE_RANGE_SIZE:
    case CU_POINTER_ATTRIBUTE_MEMPOOL_HANDLE:
    case CU_POINTER_ATTRIBUTE_MAPPING_SIZE:
    case CU_POINTER_ATTRIBUTE_MAPPING_BASE_ADDR:
    case CU_POINTER_ATTRIBUTE_MEMORY_BLOCK_ID: return 8;
    case CU_POINTER_ATTRIBUTE_P2P_TOKENS: return sizeof(CUDA_POINTER_ATTRIBUTE_P2P_TOKENS);
    case CU_POINTER_ATTRIBUTE_IS_MANAGED:
    case CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE:
    case CU_POINTER_ATTRIBUTE_MAPPED:
    case CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES:
    case CU_POINTER_ATTRIBUTE_IS_GPU_DIRECT_RDMA_CAPABLE:
    case CU_POINTER_ATTRIBUTE_IS_HW_DECOMPRESS_CAPABLE: return width_of(attribute, pointer);
    default: return 4;
  }
}

}  // namespace

CUresult cuMemGetInfo_v2(std::size_t* free_bytes, std::size_t* total_bytes) {
  const Call call;
  const CUresult result = forward<&driver::Api::cuMemGetInfo_v2>(free_bytes, total_bytes);
  if (result != CUDA_SUCCESS || !call) return result;
  const session::Session::Caller caller = call->caller();
  if (!caller.managed) return result;
  const session::MemoryInfo info = call->info(caller.die);
  if (free_bytes) *free_bytes = info.free_bytes;
  if (total_bytes) *total_bytes = info.total_bytes;
  return result;
}

CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  const Call call;
  const CUresult result = forward<&driver::Api::cuDeviceTotalMem_v2>(bytes, device);
  if (result != CUDA_SUCCESS || !call) return result;
  if (const auto total = call->advertised_total(Die{device})) *bytes = *total;
  return result;
}

CUresult cuMemGetAddressRange_v2(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr pointer) {
  const Call call;
  if (!call.owns(pointer))
    return forward<&driver::Api::cuMemGetAddressRange_v2>(base, bytes, pointer);
  const auto range = call->memory().find(static_cast<Address>(pointer));
  if (!range) return CUDA_ERROR_NOT_FOUND;
  if (base) *base = value_of(range->base);
  if (bytes) *bytes = range->asked_bytes;
  return CUDA_SUCCESS;
}

CUresult cuPointerGetAttribute(void* data, CUpointer_attribute attribute, CUdeviceptr pointer) {
  const Call call;
  if (!call.owns(pointer) || !data)
    return forward<&driver::Api::cuPointerGetAttribute>(data, attribute, pointer);
  const auto range = call->memory().find(static_cast<Address>(pointer));
  if (!range) return CUDA_ERROR_INVALID_VALUE;
  return attribute_of(call, *range, pointer, data, attribute);
}

CUresult cuPointerGetAttributes(unsigned count, CUpointer_attribute* attributes, void** data,
                                CUdeviceptr pointer) {
  const Call call;
  if (!call.owns(pointer) || !attributes || !data)
    return forward<&driver::Api::cuPointerGetAttributes>(count, attributes, data, pointer);
  const auto range = call->memory().find(static_cast<Address>(pointer));
  for (unsigned i = 0; i < count; ++i) {
    // What is not known of a pointer is zero here, and no error.
    if (!range || attribute_of(call, *range, pointer, data[i], attributes[i]) != CUDA_SUCCESS)
      std::memset(data[i], 0, size_of(attributes[i], pointer));
  }
  return CUDA_SUCCESS;
}

CUresult cuPointerSetAttribute(const void* value, CUpointer_attribute attribute,
                               CUdeviceptr pointer) {
  const Call call;
  if (!call.owns(pointer) || !value)
    return forward<&driver::Api::cuPointerSetAttribute>(value, attribute, pointer);
  if (attribute != CU_POINTER_ATTRIBUTE_SYNC_MEMOPS) return CUDA_ERROR_INVALID_VALUE;
  unsigned on = 0;
  std::memcpy(&on, value, sizeof on);
  // Who asks for this is about to let another device reach the memory: it stays where it is from
  // now on.
  if (on != 0 && !call->memory().pin(static_cast<Address>(pointer)))
    return CUDA_ERROR_NOT_SUPPORTED;
  return call->memory().set_sync_memops(static_cast<Address>(pointer), on != 0)
             ? CUDA_SUCCESS
             : CUDA_ERROR_INVALID_VALUE;
}

CUresult cuMemGetAccess(unsigned long long* flags, const CUmemLocation* location,
                        CUdeviceptr pointer) {
  const Call call;
  if (!call.owns(pointer) || !flags || !location)
    return forward<&driver::Api::cuMemGetAccess>(flags, location, pointer);
  const auto range = call->memory().find(static_cast<Address>(pointer));
  if (!range) return CUDA_ERROR_INVALID_VALUE;
  if (range->handle != 0) return access_of(call, *range, *location, flags);
  const bool reaches = location->type == CU_MEM_LOCATION_TYPE_DEVICE && location->id >= 0 &&
                       location->id < kDiesMax &&
                       call->crossing().reaches(Die{location->id}, range->home);
  *flags = reaches ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  return CUDA_SUCCESS;
}

CUresult cuMemHostGetFlags(unsigned* flags, void* pointer) {
  const Call call;
  // A page of ours may lie on the host; for the program it is device memory.
  if (call.owns(reinterpret_cast<CUdeviceptr>(pointer))) return CUDA_ERROR_INVALID_VALUE;
  return forward<&driver::Api::cuMemHostGetFlags>(flags, pointer);
}

// Advice, prefetch and their queries are for managed memory: on plain device memory an invalid
// value.
CUresult cuMemAdvise(CUdeviceptr pointer, std::size_t bytes, CUmem_advise advice, CUdevice device) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward<&driver::Api::cuMemAdvise>(pointer, bytes, advice, device);
}

CUresult cuMemAdvise_v2(CUdeviceptr pointer, std::size_t bytes, CUmem_advise advice,
                        CUmemLocation location) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward<&driver::Api::cuMemAdvise_v2>(pointer, bytes, advice, location);
}

CUresult cuMemPrefetchAsync(CUdeviceptr pointer, std::size_t bytes, CUdevice device,
                            CUstream stream) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward_gated<&driver::Api::cuMemPrefetchAsync>(call, pointer, bytes, device, stream);
}

CUresult cuMemPrefetchAsync_ptsz(CUdeviceptr pointer, std::size_t bytes, CUdevice device,
                                 CUstream stream) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward_gated<&driver::Api::cuMemPrefetchAsync_ptsz>(call, pointer, bytes, device, stream);
}

CUresult cuMemPrefetchAsync_v2(CUdeviceptr pointer, std::size_t bytes, CUmemLocation location,
                               unsigned flags, CUstream stream) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward_gated<&driver::Api::cuMemPrefetchAsync_v2>(call, pointer, bytes, location, flags,
                                                            stream);
}

CUresult cuMemPrefetchAsync_v2_ptsz(CUdeviceptr pointer, std::size_t bytes, CUmemLocation location,
                                    unsigned flags, CUstream stream) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward_gated<&driver::Api::cuMemPrefetchAsync_v2_ptsz>(call, pointer, bytes, location,
                                                                 flags, stream);
}

CUresult cuMemRangeGetAttribute(void* data, std::size_t data_bytes, CUmem_range_attribute attribute,
                                CUdeviceptr pointer, std::size_t bytes) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward<&driver::Api::cuMemRangeGetAttribute>(data, data_bytes, attribute, pointer, bytes);
}

CUresult cuMemRangeGetAttributes(void** data, std::size_t* data_bytes,
                                 CUmem_range_attribute* attributes, std::size_t count,
                                 CUdeviceptr pointer, std::size_t bytes) {
  const Call call;
  if (call.owns(pointer)) return CUDA_ERROR_INVALID_VALUE;
  return forward<&driver::Api::cuMemRangeGetAttributes>(data, data_bytes, attributes, count,
                                                        pointer, bytes);
}

}  // namespace barswap::interpose::handlers

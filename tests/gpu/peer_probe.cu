// What the driver does with a page that lies in another die's HBM: without a context there, in
// copies and memsets beside pages of other tiers, under atomics, and when that die is reset. Needs
// no Barswap; the peer tier rests on its answers (docs/physics.md). Prints one line a question and
// ends with status 1 if one was answered in a way that the tier could not live with.
#include <cuda.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPage = 16u << 20;
constexpr std::size_t kPages = 4;
constexpr std::size_t kBytes = kPages * kPage;
bool failed = false;

void must(CUresult code, const char* what) {
  if (code == CUDA_SUCCESS) return;
  const char* name = "?";
  cuGetErrorName(code, &name);
  std::printf("%s: %s\n", what, name);
  std::exit(1);
}

void expect(bool good, const char* what) {
  std::printf("%s: %s\n", what, good ? "right" : "WRONG");
  failed = failed || !good;
}

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

enum class Where { hbm, peer, host };

CUmemGenericAllocationHandle frame_at(Where where, std::size_t bytes) {
  CUmemAllocationProp prop{};
  prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  prop.location.type =
      where == Where::host ? CU_MEM_LOCATION_TYPE_HOST_NUMA : CU_MEM_LOCATION_TYPE_DEVICE;
  prop.location.id = where == Where::peer ? 1 : 0;
  CUmemGenericAllocationHandle handle;
  must(cuMemCreate(&handle, bytes, &prop, 0), "create");
  return handle;
}

void grant(CUdeviceptr address, std::size_t bytes) {
  CUmemAccessDesc desc{};
  desc.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  desc.location.id = 0;
  desc.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  must(cuMemSetAccess(address, bytes, &desc, 1), "access of die 0");
}

CUdeviceptr range_of(std::initializer_list<Where> pages) {
  CUdeviceptr base;
  must(cuMemAddressReserve(&base, pages.size() * kPage, 0, 0, 0), "reserve");
  std::size_t offset = 0;
  for (const Where where : pages) {
    must(cuMemMap(base + offset, kPage, 0, frame_at(where, kPage), 0), "map");
    offset += kPage;
  }
  grant(base, offset);
  return base;
}

__global__ void read_all(const uint4* words, std::size_t count, unsigned* sink) {
  const std::size_t step = std::size_t(gridDim.x) * blockDim.x;
  unsigned sum = 0;
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
    const uint4 word = words[i];
    sum += word.x ^ word.y ^ word.z ^ word.w;
  }
  if (sum == 0x12345678) *sink = sum;
}

__global__ void write_all(uint4* words, std::size_t count, unsigned value) {
  const std::size_t step = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step)
    words[i] = make_uint4(value, value, value, value);
}

__global__ void spin(volatile unsigned* stop) {
  while (!*stop) {}
}

__global__ void count_up(unsigned* narrow, unsigned long long* wide, float* real,
                         unsigned* locked) {
  atomicAdd(narrow, 1u);
  atomicAdd_system(narrow + 1, 1u);
  atomicAdd(wide, 1ull);
  atomicAdd(real, 1.0f);
  unsigned seen = *static_cast<volatile unsigned*>(locked), before;
  do {
    before = seen;
    seen = atomicCAS(locked, before, before + 1);
  } while (seen != before);
}

void rates(CUdeviceptr peer_range) {
  unsigned* sink;
  must(cuMemAlloc(reinterpret_cast<CUdeviceptr*>(&sink), 4096), "sink");
  CUevent start, end;
  must(cuEventCreate(&start, 0), "event");
  must(cuEventCreate(&end, 0), "event");
  const auto timed = [&](const char* what, auto work) {
    for (int i = 0; i < 3; ++i) work();
    must(cuEventRecord(start, nullptr), "record");
    for (int i = 0; i < 50; ++i) work();
    must(cuEventRecord(end, nullptr), "record");
    must(cuEventSynchronize(end), "synchronize");
    float ms = 0;
    must(cuEventElapsedTime(&ms, start, end), "elapsed");
    std::printf("%s: %.1f GB/s\n", what, 50.0 * kBytes / ms / 1e6);
  };
  CUdeviceptr local;
  must(cuMemAlloc(&local, kBytes), "local");
  auto* words = reinterpret_cast<uint4*>(peer_range);
  timed("kernel reads the peer's page",
        [&] { read_all<<<1056, 256>>>(words, kBytes / 16, sink); });
  timed("kernel writes it", [&] { write_all<<<1056, 256>>>(words, kBytes / 16, 7); });
  timed("copy in from it",
        [&] { must(cuMemcpyDtoDAsync(local, peer_range, kBytes, nullptr), "copy"); });
  timed("copy out to it",
        [&] { must(cuMemcpyDtoDAsync(peer_range, local, kBytes, nullptr), "copy"); });
}

void atomics(CUdeviceptr page) {
  must(cuMemsetD8(page, 0, 4096), "zero");
  count_up<<<1024, 256>>>(
      reinterpret_cast<unsigned*>(page), reinterpret_cast<unsigned long long*>(page + 256),
      reinterpret_cast<float*>(page + 512), reinterpret_cast<unsigned*>(page + 768));
  must(cuCtxSynchronize(), "atomics");
  unsigned narrow[2], locked;
  unsigned long long wide;
  float real;
  must(cuMemcpyDtoH(narrow, page, sizeof narrow), "read");
  must(cuMemcpyDtoH(&wide, page + 256, sizeof wide), "read");
  must(cuMemcpyDtoH(&real, page + 512, sizeof real), "read");
  must(cuMemcpyDtoH(&locked, page + 768, sizeof locked), "read");
  const unsigned want = 1024 * 256;
  expect(narrow[0] == want && narrow[1] == want && wide == want && real == float(want) &&
             locked == want,
         "atomics of one die on the peer's page (add, system, 64 bit, float, CAS)");
}

void mixed(CUdeviceptr base) {
  std::vector<unsigned char> bytes(kBytes), got(kBytes);
  for (std::size_t i = 0; i < kBytes; ++i)
    bytes[i] = static_cast<unsigned char>(i * 2654435761u >> 13);
  must(cuMemcpyHtoD(base, bytes.data(), kBytes), "HtoD");
  must(cuMemcpyDtoH(got.data(), base, kBytes), "DtoH");
  expect(got == bytes, "copies over pages of all tiers, pageable");
  void* pinned;
  must(cuMemHostAlloc(&pinned, kBytes, 0), "pinned");
  CUstream stream;
  must(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "stream");
  unsigned* stop;
  must(cuMemHostAlloc(reinterpret_cast<void**>(&stop), 4096, 0), "flag");
  *stop = 0;
  spin<<<1, 1, 0, stream>>>(stop);
  const CUdeviceptr other = range_of({Where::peer, Where::hbm, Where::peer, Where::host});
  const auto start = Clock::now();
  must(cuMemcpyDtoDAsync(other, base, kBytes, stream), "DtoD");
  must(cuMemcpyDtoHAsync(pinned, other, kBytes, stream), "DtoH");
  must(cuMemsetD32Async(base + kPage - 4096, 0x01020304, 2048, stream), "memset");
  must(cuMemsetD2D8Async(base + 2 * kPage - 4096, 512, 0x5a, 256, 16, stream), "memset 2D");
  std::printf("four asynchronous calls behind a blocked stream: %.0f us\n", us_since(start));
  *stop = 1;
  must(cuStreamSynchronize(stream), "synchronize");
  expect(std::memcmp(pinned, bytes.data(), kBytes) == 0,
         "asynchronous copies between mixed ranges");
  for (std::size_t i = 0; i < 2048; ++i)
    for (int k = 0; k < 4; ++k)
      bytes[kPage - 4096 + 4 * i + k] = static_cast<unsigned char>(4 - k);
  for (std::size_t row = 0; row < 16; ++row)
    std::memset(&bytes[2 * kPage - 4096 + 512 * row], 0x5a, 256);
  must(cuMemcpyDtoH(got.data(), base, kBytes), "DtoH");
  expect(got == bytes, "memsets across a border of tiers");
}

void remaps() {
  for (const std::size_t bytes : {kPage, 4 * kPage}) {
    CUdeviceptr base;
    must(cuMemAddressReserve(&base, bytes, 0, 0, 0), "reserve");
    double create = 0, map = 0, unmap = 0, release = 0;
    constexpr int kRounds = 50;
    for (int i = 0; i < kRounds; ++i) {
      auto start = Clock::now();
      const auto handle = frame_at(Where::peer, bytes);
      create += us_since(start);
      start = Clock::now();
      must(cuMemMap(base, bytes, 0, handle, 0), "map");
      grant(base, bytes);
      map += us_since(start);
      start = Clock::now();
      must(cuMemUnmap(base, bytes), "unmap");
      unmap += us_since(start);
      start = Clock::now();
      must(cuMemRelease(handle), "release");
      release += us_since(start);
    }
    std::printf(
        "peer frame of %zu MiB: create %.0f, map and grant %.0f, unmap %.0f, release %.0f us\n",
        bytes >> 20, create / kRounds, map / kRounds, unmap / kRounds, release / kRounds);
  }
}

void context_there(const char* when) {
  CUcontext there;
  std::size_t free_bytes = 0, total_bytes = 0;
  auto start = Clock::now();
  must(cuCtxCreate(&there, nullptr, 0, 1), "context on die 1");
  const double made_us = us_since(start);
  must(cuMemGetInfo(&free_bytes, &total_bytes), "free");
  start = Clock::now();
  must(cuCtxDestroy(there), "destroy");
  std::printf("a context on die 1 %s: made in %.0f ms, ended in %.0f ms; %zu of %zu MiB free\n",
              when, made_us / 1e3, us_since(start) / 1e3, free_bytes >> 20, total_bytes >> 20);
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  must(cuInit(0), "init");
  int dies = 0;
  must(cuDeviceGetCount(&dies), "count");
  if (dies < 2) {
    std::printf("needs two dies\n");
    return 0;
  }
  CUcontext context;
  must(cuDevicePrimaryCtxRetain(&context, 0), "context");
  must(cuCtxSetCurrent(context), "current");
  int reaches = 0, rank = -1, atomic = -1;
  must(cuDeviceCanAccessPeer(&reaches, 0, 1), "can access");
  must(cuDeviceGetP2PAttribute(&rank, CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK, 0, 1), "rank");
  must(cuDeviceGetP2PAttribute(&atomic, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, 0, 1),
       "atomic");
  std::printf("die 0 reaches die 1: %d, performance rank %d, native atomics %d\n", reaches, rank,
              atomic);
  if (!reaches) return 0;
  auto start = Clock::now();
  const CUdeviceptr peers = range_of({Where::peer, Where::peer, Where::peer, Where::peer});
  std::printf("first four pages on die 1, without a context there: %.1f ms\n",
              us_since(start) / 1e3);
  unsigned flags = 0;
  int active = -1;
  must(cuDevicePrimaryCtxGetState(1, &flags, &active), "state");
  std::printf("primary context of die 1 active afterwards: %d\n", active);
  must(cuMemsetD32(peers, 0xabcd1234, kBytes / 4), "memset");
  context_there("while die 0 rests");
  context_there("again");
  unsigned* stop;
  must(cuMemHostAlloc(reinterpret_cast<void**>(&stop), 4096, 0), "flag");
  *stop = 0;
  spin<<<1, 1>>>(stop);
  // It may wait for the kernel: somebody else ends that after two seconds.
  std::thread there([] { context_there("beside a kernel of two seconds on die 0"); });
  std::this_thread::sleep_for(std::chrono::seconds(2));
  *stop = 1;
  there.join();
  must(cuCtxSynchronize(), "spin");
  *stop = 0;
  spin<<<1, 1>>>(stop);
  std::printf("beside a kernel: ");
  remaps();
  *stop = 1;
  must(cuCtxSynchronize(), "spin");
  remaps();
  // Another context lives and dies there.
  CUcontext other;
  CUdeviceptr theirs;
  must(cuDevicePrimaryCtxRetain(&other, 1), "primary of die 1");
  must(cuCtxPushCurrent(other), "push");
  must(cuMemAlloc(&theirs, kBytes), "their memory");
  must(cuCtxPopCurrent(&other), "pop");
  must(cuDevicePrimaryCtxReset(1), "reset");
  must(cuDevicePrimaryCtxRelease(1), "release");
  std::vector<unsigned> words(kBytes / 4);
  must(cuMemcpyDtoH(words.data(), peers, kBytes), "read");
  bool kept = true;
  for (const unsigned word : words) kept = kept && word == 0xabcd1234;
  expect(kept, "bytes on die 1 after contexts there were made, reset and ended");
  atomics(peers);
  mixed(range_of({Where::hbm, Where::peer, Where::host, Where::peer}));
  rates(peers);
  return failed ? 1 : 0;
}

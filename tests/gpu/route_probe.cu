// What the driver does with a kernel that one die's program launches on another die: in a context
// of its own there, with the program's context current. Needs no Barswap; die routing rests on its
// answers (docs/physics.md). Prints one line a question and ends with status 1 if one was answered
// in a way that routing could not live with.
#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPage = 32u << 20;
bool failed = false;

void must(CUresult code, const char* what) {
  if (code == CUDA_SUCCESS) return;
  const char* name = "?";
  cuGetErrorName(code, &name);
  std::printf("%s: %s\n", what, name);
  std::exit(1);
}

const char* name_of(CUresult code) {
  const char* name = "?";
  cuGetErrorName(code, &name);
  return name;
}

void expect(bool good, const char* what) {
  std::printf("%s: %s\n", what, good ? "right" : "WRONG");
  failed = failed || !good;
}

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

CUdeviceptr range_on(int die, std::size_t bytes) {
  CUmemAllocationProp prop{};
  prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  prop.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  prop.location.id = die;
  CUmemGenericAllocationHandle handle;
  must(cuMemCreate(&handle, bytes, &prop, 0), "create");
  CUdeviceptr base;
  must(cuMemAddressReserve(&base, bytes, 0, 0, 0), "reserve");
  must(cuMemMap(base, bytes, 0, handle, 0), "map");
  CUmemAccessDesc both[2] = {};
  for (int i = 0; i < 2; ++i) {
    both[i].location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    both[i].location.id = i;
    both[i].flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  }
  must(cuMemSetAccess(base, bytes, both, 2), "access of both dies");
  return base;
}

__device__ unsigned a_global = 7;

__global__ void where(unsigned* out) {
  unsigned sm;
  asm volatile("mov.u32 %0, %%nsmid;" : "=r"(sm));
  *out = sm;
}
__global__ void read_global(unsigned* out) { *out = atomicAdd(&a_global, 1u); }
__global__ void read_word(unsigned* out, const unsigned* from) { *out = *from; }
__global__ void never_launched_before(unsigned* out) { *out = 4711; }
__global__ void spin(volatile unsigned* stop) {
  while (!*stop) {}
}
__global__ void step(unsigned* words, std::size_t count) {
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count; i += stride)
    words[i] = words[i] * 3 + 1;
}
// Reads the whole range `times` over, each block the same words.
__global__ void read_again(const uint4* words, std::size_t count, int times, unsigned* sink) {
  unsigned sum = 0;
  for (int t = 0; t < times; ++t)
    for (std::size_t i = threadIdx.x; i < count; i += blockDim.x) {
      const uint4 word = words[(i + 997 * t) % count];
      sum += word.x ^ word.y ^ word.z ^ word.w;
    }
  if (sum == 0x12345678) *sink = sum;
}
__global__ void read_all(const uint4* words, std::size_t count, unsigned* sink) {
  const std::size_t stride = std::size_t(gridDim.x) * blockDim.x;
  unsigned sum = 0;
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count; i += stride) {
    const uint4 word = words[i];
    sum += word.x ^ word.y ^ word.z ^ word.w;
  }
  if (sum == 0x12345678) *sink = sum;
}
__global__ void count_up(unsigned* words, int rounds) {
  for (int i = 0; i < rounds; ++i) {
    atomicAdd(words, 1u);
    atomicMax(words + 1, blockIdx.x);
    unsigned seen = *static_cast<volatile unsigned*>(words + 2), before;
    do {
      before = seen;
      seen = atomicCAS(words + 2, before, before + 1);
    } while (seen != before);
  }
}
// Hands a word to the other die and back, by fences of the scope of one device only.
__global__ void hand_over(unsigned* data, unsigned* flag, unsigned first, unsigned rounds,
                          unsigned* wrong) {
  for (unsigned i = first; i < rounds; i += 2) {
    while (*static_cast<volatile unsigned*>(flag) != i) {}
    __threadfence();
    for (unsigned k = 0; k < 64; ++k)
      if (static_cast<volatile unsigned*>(data)[32 * k] != i) ++*wrong;
    for (unsigned k = 0; k < 64; ++k) data[32 * k] = i + 1;
    __threadfence();
    *static_cast<volatile unsigned*>(flag) = i + 1;
  }
}

template <class... A>
CUresult launch(const void* symbol, unsigned blocks, unsigned threads, CUstream stream,
                A... words) {
  cudaKernel_t kernel;
  if (cudaGetKernel(&kernel, symbol) != cudaSuccess) std::exit(2);
  void* parameters[] = {&words...};
  return cuLaunchKernel(reinterpret_cast<CUfunction>(kernel), blocks, 1, 1, threads, 1, 1, 0,
                        stream, parameters, nullptr);
}

double percentile(std::vector<double> values, double share) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(share * static_cast<double>(values.size() - 1))];
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
  cudaSetDevice(0);
  cudaFree(nullptr);
  CUcontext home, away;
  must(cuCtxGetCurrent(&home), "current");
  std::size_t after = 0, total = 0;
  auto start = Clock::now();
  must(cuCtxCreate(&away, nullptr, CU_CTX_SCHED_AUTO, 1), "a context of our own on die 1");
  const double made_us = us_since(start);
  must(cuMemGetInfo(&after, &total), "free");
  CUstream there;
  must(cuStreamCreate(&there, CU_STREAM_NON_BLOCKING), "stream there");
  CUevent back;
  must(cuEventCreate(&back, CU_EVENT_DISABLE_TIMING), "event there");
  must(cuCtxPopCurrent(&away), "pop");
  std::printf("a context of our own on die 1: %.0f ms, %zu of %zu MiB free with it\n",
              made_us / 1e3, after >> 20, total >> 20);
  CUevent out;
  must(cuEventCreate(&out, CU_EVENT_DISABLE_TIMING), "event");
  const CUdeviceptr near = range_on(0, kPage), far = range_on(1, kPage);
  const CUdeviceptr notes = range_on(0, kPage);
  auto* words = reinterpret_cast<unsigned*>(notes);
  unsigned got[8] = {};
  const auto fetch = [&] { must(cuMemcpyDtoH(got, notes, sizeof got), "read"); };

  must(launch(reinterpret_cast<void*>(where), 1, 1, there, words),
       "a kernel handle on a stream there");
  must(cuStreamSynchronize(there), "synchronize");
  fetch();
  expect(got[0] > 0,
         "a kernel handle runs on the stream's die, with the program's context current");

  // Per-context state.
  for (CUstream stream : {CUstream(nullptr), there, there, CUstream(nullptr)}) {
    must(launch(reinterpret_cast<void*>(read_global), 1, 1, stream, words), "global");
    must(stream ? cuStreamSynchronize(stream) : cuCtxSynchronize(), "synchronize");
    fetch();
    std::printf("a device global, counted up on %s: it was %u\n", stream ? "die 1" : "die 0",
                got[0]);
  }

  // A module's globals stay out of reach there, whatever is enabled; so routed programs must not
  // hand out their addresses. (Reading one ended the context: 580.159.04.)
  CUresult code = CUDA_SUCCESS;
  unsigned* pinned;
  must(cuMemHostAlloc(reinterpret_cast<void**>(&pinned), 4096, 0), "pinned");
  *pinned = 99;
  must(launch(reinterpret_cast<void*>(read_word), 1, 1, there, words, (const unsigned*)pinned),
       "pinned");
  code = cuStreamSynchronize(there);
  fetch();
  std::printf("pinned memory of the program read from die 1: %s, %u\n", name_of(code), got[0]);
  cudaMemPool_t pool;
  cudaDeviceGetDefaultMemPool(&pool, 0);
  cudaMemAccessDesc access{{cudaMemLocationTypeDevice, 1}, cudaMemAccessFlagsProtReadWrite};
  const cudaError_t opened = cudaMemPoolSetAccess(pool, &access, 1);
  std::printf("the default pool of die 0 opened to die 1: %s\n", cudaGetErrorName(opened));

  // A kernel that is new on die 1, while die 0 is busy for a second.
  *pinned = 0;
  must(launch(reinterpret_cast<void*>(spin), 1, 1, CUstream(nullptr), (volatile unsigned*)pinned),
       "spin");
  std::thread waker([&] {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    *static_cast<volatile unsigned*>(pinned) = 1;
  });
  start = Clock::now();
  must(launch(reinterpret_cast<void*>(never_launched_before), 1, 1, there, words + 4),
       "new kernel");
  const double submitted_us = us_since(start);
  must(cuStreamSynchronize(there), "synchronize");
  std::printf(
      "a kernel that is new on die 1, beside a busy die 0: submitted in %.0f us, done in %.0f us\n",
      submitted_us, us_since(start));
  waker.join();
  must(cuCtxSynchronize(), "synchronize");

  // Caches: what one die wrote is what the other reads next, and back.
  constexpr std::size_t kWords = 1 << 20;
  for (const CUdeviceptr range : {near, far}) {
    must(cuMemsetD32(range, 1, kWords), "memset");
    unsigned want = 1;
    for (int i = 0; i < 2000; ++i) {
      CUstream stream = i % 2 ? there : nullptr;
      must(launch(reinterpret_cast<void*>(step), 264, 256, stream, (unsigned*)range, kWords),
           "step");
      want = want * 3 + 1;
      if (stream) {
        must(cuEventRecord(back, there), "record");
        must(cuStreamWaitEvent(nullptr, back, 0), "wait");
      } else {
        must(cuEventRecord(out, nullptr), "record");
        must(cuStreamWaitEvent(there, out, 0), "wait");
      }
    }
    must(cuCtxSynchronize(), "synchronize");
    std::vector<unsigned> all(kWords);
    must(cuMemcpyDtoH(all.data(), range, kWords * 4), "read");
    expect(std::all_of(all.begin(), all.end(), [&](unsigned word) { return word == want; }),
           range == near ? "2,000 changes of die over a page of die 0"
                         : "2,000 changes of die over a page of die 1");
  }

  // Both at once, by atomics and fences that are of one device by their name.
  for (const CUdeviceptr range : {near, far}) {
    must(cuMemsetD32(range, 0, 1024), "memset");
    must(launch(reinterpret_cast<void*>(count_up), 64, 64, there, (unsigned*)range, 200), "count");
    must(
        launch(reinterpret_cast<void*>(count_up), 64, 64, CUstream(nullptr), (unsigned*)range, 200),
        "count");
    must(cuCtxSynchronize(), "synchronize");
    must(cuStreamSynchronize(there), "synchronize");
    unsigned three[3];
    must(cuMemcpyDtoH(three, range, sizeof three), "read");
    const unsigned counted = 2 * 64 * 64 * 200;
    expect(three[0] == counted && three[1] == 63 && three[2] == counted,
           range == near ? "device-scope atomics of both dies at once on die 0"
                         : "device-scope atomics of both dies at once on die 1");
    must(cuMemsetD32(range, 0, 1 << 16), "memset");
    must(cuMemsetD32(notes, 0, 64), "memset");
    must(cuMemsetD32(near, 0, 64), "memset");
    auto* data = reinterpret_cast<unsigned*>(range) + 1024;
    auto* flag = reinterpret_cast<unsigned*>(near);
    must(launch(reinterpret_cast<void*>(hand_over), 1, 1, there, data, flag, 1u, 20000u, words),
         "hand over");
    must(launch(reinterpret_cast<void*>(hand_over), 1, 1, CUstream(nullptr), data, flag, 0u, 20000u,
                words + 1),
         "hand over");
    must(cuCtxSynchronize(), "synchronize");
    must(cuStreamSynchronize(there), "synchronize");
    fetch();
    std::printf(
        "20,000 hand-overs between the dies, data on die %d, by device-scope fences: %u wrong\n",
        range == near ? 0 : 1, got[0] + got[1]);
  }

  // The cost of a change.
  std::vector<double> hop_us, pair_us;
  for (int i = 0; i < 1000; ++i) {
    start = Clock::now();
    must(cuEventRecord(out, nullptr), "record");
    must(cuStreamWaitEvent(there, out, 0), "wait");
    must(launch(reinterpret_cast<void*>(where), 1, 1, there, words), "launch");
    hop_us.push_back(us_since(start));
    must(cuEventRecord(back, there), "record");
    must(cuStreamWaitEvent(nullptr, back, 0), "wait");
    must(launch(reinterpret_cast<void*>(where), 1, 1, CUstream(nullptr), words), "launch");
    must(cuStreamSynchronize(nullptr), "synchronize");
    pair_us.push_back(us_since(start));
  }
  std::printf(
      "submit a change and a launch: p50 %.1f, p99 %.1f us; there, back and waited for: p50 %.1f, "
      "p99 %.1f us\n",
      percentile(hop_us, 0.5), percentile(hop_us, 0.99), percentile(pair_us, 0.5),
      percentile(pair_us, 0.99));
  for (CUstream stream : {CUstream(nullptr), there}) {
    start = Clock::now();
    for (int i = 0; i < 2000; ++i)
      must(launch(reinterpret_cast<void*>(where), 1, 1, stream, words), "launch");
    const double us = us_since(start) / 2000;
    must(stream ? cuStreamSynchronize(stream) : cuCtxSynchronize(), "synchronize");
    std::printf("a launch on die %d: %.2f us submitted, %.2f us done\n", stream ? 1 : 0, us,
                us_since(start) / 2000);
  }

  // Reading again what lies on the other die.
  CUevent first, last;
  must(cuEventCreate(&first, 0), "event");
  must(cuEventCreate(&last, 0), "event");
  for (const CUdeviceptr range : {near, far})
    for (const std::size_t bytes : {std::size_t(16) << 10, std::size_t(4) << 20}) {
      float ms = 0;
      for (int warm = 0; warm < 2; ++warm) {
        must(cuEventRecord(first, nullptr), "record");
        must(launch(reinterpret_cast<void*>(read_again), 132, 512, CUstream(nullptr),
                    (const uint4*)range, bytes / 16, 4, words),
             "again");
        must(cuEventRecord(last, nullptr), "record");
        must(cuEventSynchronize(last), "synchronize");
        must(cuEventElapsedTime(&ms, first, last), "elapsed");
      }
      std::printf("132 blocks each read %zu KiB of die %d four times over: %.1f GB/s together\n",
                  bytes >> 10, range == near ? 0 : 1,
                  132.0 * 4 * static_cast<double>(bytes) / ms / 1e6);
    }
  for (const CUdeviceptr range : {near, far}) {
    float ms = 0;
    must(cuEventRecord(first, nullptr), "record");
    for (int i = 0; i < 20; ++i)
      must(launch(reinterpret_cast<void*>(read_all), 1056, 256, CUstream(nullptr),
                  (const uint4*)range, kPage / 16, words),
           "all");
    must(cuEventRecord(last, nullptr), "record");
    must(cuEventSynchronize(last), "synchronize");
    must(cuEventElapsedTime(&ms, first, last), "elapsed");
    std::printf("a kernel of die 0 reads 32 MiB of die %d: %.1f GB/s\n", range == near ? 0 : 1,
                20.0 * kPage / ms / 1e6);
  }
  return failed ? 1 : 0;
}

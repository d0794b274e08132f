// Measures how long the calls that submit work keep the caller, with a kernel that does nothing.
// Run it bare and preloaded in turn: the difference of the medians is what Barswap adds to a
// launch. Lines are `NAME p50 NS p99 NS mean NS`. The queue is emptied every few hundred calls,
// outside the timed calls, so that none of them waits for room.
//   gate_probe [--launches N]
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <vector>

#include "driver_call.hpp"

namespace {

__global__ void tiny(int* p, int value) {
  if (value < 0) *p = value;
}

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

template <class Call>
void measure(const char* name, int calls, Call call) {
  constexpr int kBurst = 256;
  std::vector<int32_t> spent_ns;
  spent_ns.reserve(calls);
  for (int i = 0; i < kBurst; ++i) call();
  GPU_NEED(cuCtxSynchronize);
  int64_t sum_ns = 0;
  for (int i = 0; i < calls; ++i) {
    const int64_t start_ns = now_ns();
    const bool good = call();
    const int64_t took_ns = now_ns() - start_ns;
    if (!good) {
      std::fprintf(stderr, "%s failed\n", name);
      std::exit(3);
    }
    sum_ns += took_ns;
    spent_ns.push_back(static_cast<int32_t>(std::min<int64_t>(took_ns, INT32_MAX)));
    if (i % kBurst == kBurst - 1) GPU_NEED(cuCtxSynchronize);
  }
  GPU_NEED(cuCtxSynchronize);
  std::sort(spent_ns.begin(), spent_ns.end());
  std::printf("%s p50 %d p99 %d mean %lld\n", name, spent_ns[calls / 2], spent_ns[calls / 100 * 99],
              static_cast<long long>(sum_ns / calls));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  int launches = 200000;
  for (int i = 1; i + 1 < argc; i += 2)
    if (!std::strcmp(argv[i], "--launches")) launches = std::max(100, std::atoi(argv[i + 1]));
  gpu::use_first_die();
  int* p = nullptr;
  if (cudaMalloc(&p, 1 << 20) != cudaSuccess) return 3;
  cudaFunction_t symbol = nullptr;
  if (cudaGetFuncBySymbol(&symbol, reinterpret_cast<const void*>(&tiny)) != cudaSuccess) return 3;
  const auto function = reinterpret_cast<CUfunction>(symbol);
  CUstream stream = nullptr;
  GPU_NEED(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
  int value = 1;
  void* parameters[] = {&p, &value};
  const auto launch = GPU_DRIVER(cuLaunchKernel);
  const auto set = GPU_DRIVER(cuMemsetD8Async);
  const auto address = reinterpret_cast<CUdeviceptr>(p);

  measure("driver_launch", launches, [&] {
    return launch(function, 1, 1, 1, 32, 1, 1, 0, stream, parameters, nullptr) == CUDA_SUCCESS;
  });
  measure("runtime_launch", launches, [&] {
    tiny<<<1, 32, 0, stream>>>(p, value);
    return cudaPeekAtLastError() == cudaSuccess;
  });
  measure("memset", launches / 10, [&] { return set(address, 1, 64, stream) == CUDA_SUCCESS; });
  measure("malloc_free", launches / 100, [&] {
    void* q = nullptr;
    return cudaMalloc(&q, 4096) == cudaSuccess && cudaFree(q) == cudaSuccess;
  });
  return 0;
}

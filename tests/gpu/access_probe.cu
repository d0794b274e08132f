// What the driver does to a live page when another die is given access to it, and to a copy from
// pageable memory beside the proof of idleness. Needs no Barswap; the design rests on its answers
// (docs/physics.md). Prints one line a question; ends with status 1 if a kernel faulted or
// something did not end.
#include <cuda.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kBytes = 32u << 20;
constexpr int kRounds = 400;

void must(CUresult code, const char* what) {
  if (code == CUDA_SUCCESS) return;
  const char* name = "?";
  cuGetErrorName(code, &name);
  std::printf("%s: %s\n", what, name);
  std::exit(1);
}

__global__ void hammer(unsigned* words, std::size_t count, volatile unsigned* stop) {
  const std::size_t step = std::size_t(gridDim.x) * blockDim.x;
  while (!*stop)
    for (std::size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) words[i] += 1;
}

CUdeviceptr page_of(int location_type, int id) {
  CUmemAllocationProp prop{};
  prop.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  prop.location.type = static_cast<CUmemLocationType>(location_type);
  prop.location.id = id;
  CUmemGenericAllocationHandle handle;
  CUdeviceptr address;
  must(cuMemCreate(&handle, kBytes, &prop, 0), "create");
  must(cuMemAddressReserve(&address, kBytes, 0, 0, 0), "reserve");
  must(cuMemMap(address, kBytes, 0, handle, 0), "map");
  return address;
}

CUresult access(CUdeviceptr address, int die, bool on) {
  CUmemAccessDesc desc{};
  desc.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  desc.location.id = die;
  desc.flags = on ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE;
  return cuMemSetAccess(address, kBytes, &desc, 1);
}

// Die 1 gains and loses access to a page that a kernel of die 0 writes all the while.
void another_die(const char* what, int location_type, int id) {
  const CUdeviceptr page = page_of(location_type, id);
  must(access(page, 0, true), "access of die 0");
  unsigned* stop;
  must(cuMemHostAlloc(reinterpret_cast<void**>(&stop), 4096, CU_MEMHOSTALLOC_DEVICEMAP), "flag");
  *stop = 0;
  CUstream stream;
  must(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "stream");
  hammer<<<264, 256, 0, stream>>>(reinterpret_cast<unsigned*>(page), kBytes / 4, stop);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  CUresult changed = CUDA_SUCCESS;
  int rounds = 0;
  double add_us = 0;
  for (; rounds < kRounds && changed == CUDA_SUCCESS; ++rounds) {
    const auto start = Clock::now();
    changed = access(page, 1, true);
    add_us += std::chrono::duration<double, std::micro>(Clock::now() - start).count();
    if (changed == CUDA_SUCCESS) changed = access(page, 1, false);
  }
  *stop = 1;
  const CUresult ended = cuStreamSynchronize(stream);
  std::printf("%s: die 1 gained access %d times, %.0f us each, code %d; the kernel ended with %d\n",
              what, rounds, add_us / rounds, changed, ended);
  if (ended != CUDA_SUCCESS) std::exit(1);
}

// Copies from pageable memory on one thread, the proof of idleness on another.
void proof_beside_copies(CUcontext context) {
  const CUdeviceptr page = page_of(CU_MEM_LOCATION_TYPE_DEVICE, 0);
  must(access(page, 0, true), "access");
  std::atomic<bool> stop{false};
  std::atomic<long> copies{0}, proofs{0};
  std::thread prover([&] {
    must(cuCtxSetCurrent(context), "current");
    CUevent event;
    must(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "event");
    while (!stop) {
      must(cuCtxRecordEvent(context, event), "record");
      for (int i = 0; i < 50 && cuEventQuery(event) == CUDA_ERROR_NOT_READY; ++i) {
      }
      ++proofs;
    }
  });
  std::thread copier([&] {
    must(cuCtxSetCurrent(context), "current");
    std::vector<char> bytes(kBytes);
    while (!stop) {
      must(cuMemcpyHtoD(page, bytes.data(), kBytes), "copy");
      ++copies;
    }
  });
  long before = -1;
  for (int second = 0; second < 10; ++second) {
    std::this_thread::sleep_for(std::chrono::seconds(1));
    const long now = copies + proofs;
    if (now == before) {
      std::printf("proof beside copies: STUCK after %ld copies and %ld proofs\n", copies.load(),
                  proofs.load());
      std::fflush(stdout);
      std::_Exit(1);
    }
    before = now;
  }
  stop = true;
  prover.join();
  copier.join();
  std::printf("proof beside copies: %ld copies and %ld proofs in 10 s\n", copies.load(),
              proofs.load());
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  must(cuInit(0), "init");
  int dies = 0;
  must(cuDeviceGetCount(&dies), "count");
  CUcontext context, other;
  must(cuDevicePrimaryCtxRetain(&context, 0), "context");
  must(cuCtxSetCurrent(context), "current");
  proof_beside_copies(context);
  if (dies < 2) {
    std::printf("access of another die: needs two dies\n");
    return 0;
  }
  must(cuDevicePrimaryCtxRetain(&other, 1), "second context");
  another_die("device page", CU_MEM_LOCATION_TYPE_DEVICE, 0);
  another_die("host page", CU_MEM_LOCATION_TYPE_HOST_NUMA, 0);
  return 0;
}

// Measures the links that all figures of a visit are divided by, in pieces of 32 MiB between device
// pages and HOST_NUMA pages of the VMM: h copy in, d copy out, both at once, z a kernel that reads
// in place, w a kernel that writes in place. Lines are `NAME BYTES_PER_SECOND`. Each figure is the
// best of five passes, because a bound must not be slower than what the link can do.
//   links [--pieces N]
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <vector>

#include "driver_call.hpp"

namespace {

constexpr size_t kPieceBytes = size_t{32} << 20;
constexpr int kPasses = 5;

__global__ void read_all(const uint4* p, size_t count, unsigned* out) {
  uint4 sum = make_uint4(0, 0, 0, 0);
  const size_t step = size_t{gridDim.x} * blockDim.x;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count; i += step) {
    const uint4 v = p[i];
    sum.x ^= v.x;
    sum.y ^= v.y;
    sum.z ^= v.z;
    sum.w ^= v.w;
  }
  // Always false for the fill used, and unknown to the compiler: the loads must stay.
  if ((sum.x ^ sum.y ^ sum.z ^ sum.w) == 0xdeadbeefu) *out = 1;
}

__global__ void write_all(uint4* p, size_t count, unsigned value) {
  const size_t step = size_t{gridDim.x} * blockDim.x;
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count; i += step)
    p[i] = make_uint4(value, value, value, static_cast<unsigned>(i));
}

double now_s() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) + now.tv_nsec / 1e9;
}

// Pieces of one location side by side in one reservation.
CUdeviceptr map_pieces(CUmemLocationType where, int pieces) {
  CUmemAllocationProp property{};
  property.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  property.location.type = where;
  property.location.id = 0;
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  CUdeviceptr base = 0;
  GPU_NEED(cuMemAddressReserve, &base, kPieceBytes * pieces, kPieceBytes, 0, 0);
  for (int i = 0; i < pieces; ++i) {
    CUmemGenericAllocationHandle handle = 0;
    GPU_NEED(cuMemCreate, &handle, kPieceBytes, &property, 0);
    GPU_NEED(cuMemMap, base + i * kPieceBytes, kPieceBytes, 0, handle, 0);
  }
  GPU_NEED(cuMemSetAccess, base, kPieceBytes * pieces, &access, 1);
  return base;
}

template <class Work>
void measure(const char* name, double bytes, Work work) {
  work();
  GPU_NEED(cuCtxSynchronize);
  double best_s = 1e9;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double start_s = now_s();
    work();
    GPU_NEED(cuCtxSynchronize);
    best_s = std::min(best_s, now_s() - start_s);
  }
  std::printf("%s %.4g\n", name, bytes / best_s);
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  int pieces = 32;
  for (int i = 1; i + 1 < argc; i += 2)
    if (!std::strcmp(argv[i], "--pieces")) pieces = std::max(1, std::atoi(argv[i + 1]));
  gpu::use_first_die();
  const CUdeviceptr near = map_pieces(CU_MEM_LOCATION_TYPE_DEVICE, pieces);
  const CUdeviceptr far = map_pieces(CU_MEM_LOCATION_TYPE_HOST_NUMA, pieces);
  const size_t bytes = kPieceBytes * pieces;
  const size_t count = bytes / sizeof(uint4);
  CUstream in = nullptr;
  CUstream out = nullptr;
  GPU_NEED(cuStreamCreate, &in, CU_STREAM_NON_BLOCKING);
  GPU_NEED(cuStreamCreate, &out, CU_STREAM_NON_BLOCKING);
  unsigned* flag = nullptr;
  if (cudaMalloc(&flag, 4) != cudaSuccess) return 3;
  const auto copy = GPU_DRIVER(cuMemcpyDtoDAsync);
  const auto copy_in = [&](int first, int last) {
    for (int i = first; i < last; ++i)
      copy(near + i * kPieceBytes, far + i * kPieceBytes, kPieceBytes, in);
  };
  const auto copy_out = [&](int first, int last) {
    for (int i = first; i < last; ++i)
      copy(far + i * kPieceBytes, near + i * kPieceBytes, kPieceBytes, out);
  };
  const int blocks = 132 * 4;
  write_all<<<blocks, 512>>>(reinterpret_cast<uint4*>(near), count, 7);
  measure("d", bytes, [&] { copy_out(0, pieces); });
  measure("h", bytes, [&] { copy_in(0, pieces); });
  measure("both", bytes, [&] {
    copy_in(0, pieces / 2);
    copy_out(pieces / 2, pieces);
  });
  measure("z", bytes,
          [&] { read_all<<<blocks, 512>>>(reinterpret_cast<const uint4*>(far), count, flag); });
  measure("w", bytes, [&] { write_all<<<blocks, 512>>>(reinterpret_cast<uint4*>(far), count, 9); });
  measure("hbm", bytes,
          [&] { read_all<<<blocks, 512>>>(reinterpret_cast<const uint4*>(near), count, flag); });
  return cudaDeviceSynchronize() == cudaSuccess ? 0 : 3;
}

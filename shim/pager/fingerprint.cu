// The kernel that tells whether anybody wrote to a page: a fingerprint of its bytes.
// fingerprint_words.hpp has the arithmetic, and tests/sim a twin that gives the same bytes.
// fingerprint.ptx is made from this file by tools/dev/make_ptx.py.
#include "pager/fingerprint_words.hpp"

using barswap::pager::FingerprintKey;
using barswap::pager::FingerprintSums;

namespace {

constexpr unsigned kWarp = 32;
constexpr unsigned kWarps = barswap::pager::kFingerprintThreads / kWarp;

__device__ __forceinline__ void add_pair(FingerprintSums& sums, ulonglong2 pair,
                                         unsigned long long at, FingerprintKey key) {
  sums.add_word(pair.x, 2 * at, key);
  sums.add_word(pair.y, 2 * at + 1, key);
}

__device__ __forceinline__ FingerprintSums sum_of_warp(FingerprintSums sums) {
  for (unsigned distance = kWarp / 2; distance > 0; distance /= 2)
    sums.add({__shfl_down_sync(~0u, sums.a, distance), __shfl_down_sync(~0u, sums.b, distance)});
  return sums;
}

}  // namespace

// Block i writes its two sums to partial[2 * i] and [2 * i + 1], in one store: the answers lie in
// host memory, where nothing is added up. Both pointers are aligned to 16 bytes and `words` is
// even; blocks have kFingerprintThreads threads.
extern "C" __global__ void __launch_bounds__(barswap::pager::kFingerprintThreads)
    barswap_fingerprint(const unsigned long long* data, unsigned long long words,
                        unsigned long long key_a, unsigned long long key_b,
                        unsigned long long* partial) {
  // Nobody reads the same bytes again soon: they need not displace others in the caches.
  const auto* pairs = reinterpret_cast<const ulonglong2*>(data);
  const unsigned long long count = words / 2;
  const unsigned long long stride = static_cast<unsigned long long>(gridDim.x) * blockDim.x;
  const FingerprintKey key{key_a, key_b};
  FingerprintSums sums;
  unsigned long long at = static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  // Several reads on their way at a time hide how long one takes.
  constexpr int kReads = 4;
  for (; at + (kReads - 1) * stride < count; at += kReads * stride) {
    ulonglong2 read[kReads];
#pragma unroll
    for (int i = 0; i < kReads; ++i) read[i] = __ldcs(pairs + at + i * stride);
#pragma unroll
    for (int i = 0; i < kReads; ++i) add_pair(sums, read[i], at + i * stride, key);
  }
  for (; at < count; at += stride) add_pair(sums, __ldcs(pairs + at), at, key);

  __shared__ FingerprintSums of_warps[kWarps];
  sums = sum_of_warp(sums);
  if (threadIdx.x % kWarp == 0) of_warps[threadIdx.x / kWarp] = sums;
  __syncthreads();
  if (threadIdx.x >= kWarp) return;
  sums = sum_of_warp(threadIdx.x < kWarps ? of_warps[threadIdx.x] : FingerprintSums{});
  if (threadIdx.x != 0) return;
  reinterpret_cast<ulonglong2*>(partial)[blockIdx.x] = make_ulonglong2(sums.a, sums.b);
}

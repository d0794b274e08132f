// The kernels of `barswap bench`. words.hpp has the arithmetic, and tests/sim a twin of each that
// gives the same bytes. kernels.ptx is made from this file by tools/dev/make_ptx.py.
//
// All loops are grid-stride in one dimension; blocks are whole warps.
#include "words.hpp"

using barswap::bench::kRowPieces;
using barswap::bench::Piece;

namespace {

constexpr unsigned kWarp = 32;

__device__ __forceinline__ unsigned long long first_index() {
  return static_cast<unsigned long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ unsigned long long stride() {
  return static_cast<unsigned long long>(gridDim.x) * blockDim.x;
}

// One addition to memory for a warp.
__device__ __forceinline__ void add_up(unsigned long long sum, unsigned long long* out) {
  for (unsigned distance = kWarp / 2; distance > 0; distance /= 2)
    sum += __shfl_down_sync(~0u, sum, distance);
  if (threadIdx.x % kWarp == 0) atomicAdd(out, sum);
}

}  // namespace

// p[i] = piece_at(i, seed)
extern "C" __global__ void barswap_bench_fill(Piece* p, unsigned long long count, unsigned seed) {
  for (unsigned long long i = first_index(); i < count; i += stride())
    p[i] = barswap::bench::piece_at(static_cast<unsigned>(i), seed);
}

// Reads all of p `times` times, from front to back each time, and adds each piece to *out.
extern "C" __global__ void barswap_bench_read(const Piece* p, unsigned long long count,
                                              unsigned times, unsigned long long* out) {
  // Several reads on their way at a time hide how long one takes.
  constexpr int kReads = 4;
  const unsigned long long step = stride();
  unsigned long long sum = 0;
  for (unsigned pass = 0; pass < times; ++pass) {
    unsigned long long i = first_index();
    for (; i + (kReads - 1) * step < count; i += kReads * step) {
      Piece read[kReads];
#pragma unroll
      for (int k = 0; k < kReads; ++k) read[k] = p[i + k * step];
#pragma unroll
      for (int k = 0; k < kReads; ++k)
        sum += barswap::bench::fold(read[k], static_cast<unsigned>(i + k * step) + pass);
    }
    for (; i < count; i += step)
      sum += barswap::bench::fold(p[i], static_cast<unsigned>(i) + pass);
  }
  add_up(sum, out);
}

// One step of a wave equation: io holds the grid before the last one and gets the next. Each word
// of `in` is read once but for those at the ends of a warp; both ends of the grid wrap around.
// `count` is a multiple of 32, so that warps are whole.
extern "C" __global__ void barswap_bench_step(const Piece* in, Piece* io,
                                              unsigned long long count) {
  using barswap::bench::stepped;
  const unsigned lane = threadIdx.x % kWarp;
  for (unsigned long long i = first_index(); i < count; i += stride()) {
    const Piece v = in[i];
    const Piece old = io[i];
    unsigned left = __shfl_up_sync(~0u, v.w, 1);
    unsigned right = __shfl_down_sync(~0u, v.x, 1);
    if (lane == 0) left = in[i == 0 ? count - 1 : i - 1].w;
    if (lane == kWarp - 1) right = in[i + 1 == count ? 0 : i + 1].x;
    io[i] = {stepped(left, v.x, v.y, old.x), stepped(v.x, v.y, v.z, old.y),
             stepped(v.y, v.z, v.w, old.z), stepped(v.z, v.w, right, old.w)};
  }
}

// Adds `draws` rows, drawn at random from a table of `rows`, to *out.
extern "C" __global__ void barswap_bench_gather(const Piece* table, unsigned rows,
                                                unsigned long long draws, unsigned seed,
                                                unsigned long long* out) {
  unsigned long long sum = 0;
  for (unsigned long long i = first_index(); i < draws * kRowPieces; i += stride()) {
    const unsigned row =
        barswap::bench::row_of(static_cast<unsigned>(i / kRowPieces), seed, rows);
    sum += barswap::bench::fold(
        table[static_cast<unsigned long long>(row) * kRowPieces + i % kRowPieces],
        static_cast<unsigned>(i));
  }
  add_up(sum, out);
}

// Every device kernel of the end-to-end programs. tests/sim has a twin of each that gives the same
// bytes.
//
// Results depend on the inputs alone, never on the launch shape or on the order of threads:
// integers wrap, and floats use __fmul_rn and __fadd_rn, which the compiler never contracts. Inputs
// hold no NaN, since its payload is not the same on every machine. All loops are grid-stride in one
// dimension. kernels.ptx is made from this file by make_ptx.py.
#include <cstdint>

#include "kernel_types.hpp"

namespace {

// A bijection of 32-bit words without structure that a moved or stale page could reproduce.
__device__ __forceinline__ std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

// The value of word `index` under `seed`; both halves of the index count.
__device__ __forceinline__ std::uint32_t word_at(std::uint64_t index, std::uint32_t seed) {
  return mix(static_cast<std::uint32_t>(index) ^
             mix(static_cast<std::uint32_t>(index >> 32) + seed * 0x9e3779b9u));
}

__device__ __forceinline__ std::uint64_t first_index() {
  return static_cast<std::uint64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ std::uint64_t stride() {
  return static_cast<std::uint64_t>(gridDim.x) * blockDim.x;
}

}  // namespace

// p[i] = word_at(i, seed)
extern "C" __global__ void barswap_fill(std::uint32_t* p, std::uint64_t n, std::uint32_t seed) {
  for (std::uint64_t i = first_index(); i < n; i += stride()) p[i] = word_at(i, seed);
}

// p[i] = a multiple of 2^-16 in [0, 1), so that sums and products stay far from overflow.
extern "C" __global__ void barswap_fill_float(float* p, std::uint64_t n, std::uint32_t seed) {
  for (std::uint64_t i = first_index(); i < n; i += stride())
    p[i] = __fmul_rn(static_cast<float>(word_at(i, seed) >> 16), 1.0f / 65536.0f);
}

// y[i] = a * x[i] + y[i], rounded twice.
extern "C" __global__ void barswap_saxpy(float a, const float* x, float* y, std::uint64_t n) {
  for (std::uint64_t i = first_index(); i < n; i += stride())
    y[i] = __fadd_rn(__fmul_rn(a, x[i]), y[i]);
}

// c = a * b, square and row-major; each element is summed in order of k, from 0.
extern "C" __global__ void barswap_matmul(const float* a, const float* b, float* c,
                                          std::uint32_t n) {
  const std::uint64_t elements = static_cast<std::uint64_t>(n) * n;
  for (std::uint64_t i = first_index(); i < elements; i += stride()) {
    const std::uint64_t row = i / n;
    const std::uint64_t column = i % n;
    float sum = 0.0f;
    for (std::uint32_t k = 0; k < n; ++k)
      sum =
          __fadd_rn(sum, __fmul_rn(a[row * n + k], b[static_cast<std::uint64_t>(k) * n + column]));
    c[i] = sum;
  }
}

// out[i] from in[i - 1], in[i] and in[i + 1], which wrap around.
extern "C" __global__ void barswap_stencil(const std::uint32_t* in, std::uint32_t* out,
                                           std::uint64_t n) {
  for (std::uint64_t i = first_index(); i < n; i += stride()) {
    const std::uint32_t left = in[i == 0 ? n - 1 : i - 1];
    const std::uint32_t right = in[i + 1 == n ? 0 : i + 1];
    out[i] = left * 3u + mix(in[i]) + right * 5u;
  }
}

// out[i] = out[i] * 31 + table[index[i] mod table_n]
extern "C" __global__ void barswap_gather(const std::uint32_t* table, const std::uint32_t* index,
                                          std::uint32_t* out, std::uint64_t n,
                                          std::uint64_t table_n) {
  for (std::uint64_t i = first_index(); i < n; i += stride())
    out[i] = out[i] * 31u + table[index[i] % table_n];
}

// One thread follows `next` for at most `steps` nodes, until null, and counts each visit. *out
// becomes *out * 31 + the fold of the values in order.
extern "C" __global__ void barswap_chase(BarswapNode* head, std::uint64_t steps,
                                         std::uint64_t* out) {
  if (first_index() != 0) return;
  std::uint64_t fold = 0;
  BarswapNode* node = head;
  for (std::uint64_t i = 0; i < steps && node != nullptr; ++i) {
    fold = fold * 31u + node->value;
    node->visits += 1u;
    node = node->next;
  }
  *out = *out * 31u + fold;
}

// Adds to every word of every buffer of a table of pointers: what no parameter list shows.
extern "C" __global__ void barswap_table(std::uint32_t** table, std::uint64_t count,
                                         std::uint64_t words, std::uint32_t add) {
  const std::uint64_t n = count * words;
  for (std::uint64_t i = first_index(); i < n; i += stride()) table[i / words][i % words] += add;
}

// p[i] = one step of xorshift32 on p[i], then plus salt.
extern "C" __global__ void barswap_xorshift_update(std::uint32_t* p, std::uint64_t n,
                                                   std::uint32_t salt) {
  for (std::uint64_t i = first_index(); i < n; i += stride()) {
    std::uint32_t x = p[i];
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    p[i] = x + salt;
  }
}

// Adds to *out the sum over i of word_at(i, p[i]) * 2^32 + mix(p[i] + i), wrapping; any order of
// addition gives the same sum.
extern "C" __global__ void barswap_checksum(const std::uint32_t* p, std::uint64_t n,
                                            std::uint64_t* out) {
  std::uint64_t sum = 0;
  for (std::uint64_t i = first_index(); i < n; i += stride())
    sum += (static_cast<std::uint64_t>(word_at(i, p[i])) << 32) +
           mix(p[i] + static_cast<std::uint32_t>(i));
  if (sum != 0) atomicAdd(reinterpret_cast<unsigned long long*>(out), sum);
}

// Runs until *stop is not zero; then the first thread writes *stop to *out.
extern "C" __global__ void barswap_persistent(volatile std::uint32_t* stop, std::uint32_t* out) {
  std::uint32_t seen;
  do seen = *stop;
  while (seen == 0);
  if (first_index() == 0) *out = seen;
}

// Holds its stream until *flag is not zero; writes nothing.
extern "C" __global__ void barswap_spin(volatile std::uint32_t* flag) {
  while (*flag == 0) {}
}

// n increments, spread over 256 counters.
extern "C" __global__ void barswap_atomic(std::uint32_t* counters, std::uint64_t n) {
  for (std::uint64_t i = first_index(); i < n; i += stride())
    atomicAdd(counters + (word_at(i, 0) & 255u), 1u);
}

// first[i] = word_at(i, seed) and second[i] = word_at(i, ~seed); either may be null.
extern "C" __global__ void barswap_writer(BarswapWriterJob job) {
  for (std::uint64_t i = first_index(); i < job.words; i += stride()) {
    if (job.first != nullptr) job.first[i] = word_at(i, job.seed);
    if (job.second != nullptr) job.second[i] = word_at(i, ~job.seed);
  }
}

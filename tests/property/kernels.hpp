// What the kernels of tests/e2e/kernels.cu do, on plain host memory.
#pragma once
#include <cstdint>
#include <cstring>

#include "tests/e2e/kernel_types.hpp"

namespace barswap::property {

constexpr std::uint64_t kSliceBytes = 32 << 10;

inline std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}

inline std::uint32_t word_at(std::uint64_t index, std::uint32_t seed) {
  return mix(static_cast<std::uint32_t>(index) ^
             mix(static_cast<std::uint32_t>(index >> 32) + seed * 0x9e3779b9u));
}

inline void fill(std::uint32_t* p, std::uint64_t n, std::uint32_t seed) {
  for (std::uint64_t i = 0; i < n; ++i) p[i] = word_at(i, seed);
}

inline void fill_float(std::uint32_t* p, std::uint64_t n, std::uint32_t seed) {
  for (std::uint64_t i = 0; i < n; ++i) {
    const float value = static_cast<float>(word_at(i, seed) >> 16) * (1.0f / 65536.0f);
    std::memcpy(p + i, &value, sizeof value);
  }
}

// Rounded twice, as on the device.
inline void saxpy(float a, const std::uint32_t* x, std::uint32_t* y, std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i) {
    float left, right;
    std::memcpy(&left, x + i, sizeof left);
    std::memcpy(&right, y + i, sizeof right);
    const volatile float product = a * left;
    right = product + right;
    std::memcpy(y + i, &right, sizeof right);
  }
}

inline void xorshift_update(std::uint32_t* p, std::uint64_t n, std::uint32_t salt) {
  for (std::uint64_t i = 0; i < n; ++i) {
    std::uint32_t x = p[i];
    x ^= x << 13;
    x ^= x >> 17;
    x ^= x << 5;
    p[i] = x + salt;
  }
}

inline void stencil(const std::uint32_t* in, std::uint32_t* out, std::uint64_t n) {
  for (std::uint64_t i = 0; i < n; ++i)
    out[i] = in[i == 0 ? n - 1 : i - 1] * 3u + mix(in[i]) + in[i + 1 == n ? 0 : i + 1] * 5u;
}

inline void gather(const std::uint32_t* table, const std::uint32_t* index, std::uint32_t* out,
                   std::uint64_t n, std::uint64_t table_n) {
  for (std::uint64_t i = 0; i < n; ++i) out[i] = out[i] * 31u + table[index[i] % table_n];
}

inline void checksum(const std::uint32_t* p, std::uint64_t n, void* out) {
  std::uint64_t sum;
  std::memcpy(&sum, out, sizeof sum);
  for (std::uint64_t i = 0; i < n; ++i)
    sum += (static_cast<std::uint64_t>(word_at(i, p[i])) << 32) +
           mix(p[i] + static_cast<std::uint32_t>(i));
  std::memcpy(out, &sum, sizeof sum);
}

}  // namespace barswap::property

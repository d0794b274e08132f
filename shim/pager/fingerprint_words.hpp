// The arithmetic of fingerprints: one text for the kernel, for its twin on the simulated machine
// and for tests. It owns nothing, knows no CUDA and is C++17, as nvcc compiles it.
//
// A lane of a fingerprint is the sum over all 64-bit words, modulo 2^64, of a mixed word. What is
// mixed is the word with a tweak of its index and of a secret key. Mixing is a bijection, so that a
// change of one word alone is always seen, and the sum has no order, so that any thread may add any
// word. Two lanes with different bijections: other changes are missed once in about 2^128.
#pragma once
#include <cstdint>

namespace barswap::pager {

struct FingerprintKey {
  std::uint64_t a = 0, b = 0;
};

// The finalizer of murmur3.
constexpr std::uint64_t mix_a(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdull;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ull;
  return x ^ x >> 33;
}

// Stafford's mix 13, the finalizer of splitmix64.
constexpr std::uint64_t mix_b(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ull;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebull;
  return x ^ x >> 31;
}

struct FingerprintSums {
  std::uint64_t a = 0, b = 0;

  // Odd factors: no two words of a piece have the same tweak.
  constexpr void add_word(std::uint64_t word, std::uint64_t index, FingerprintKey key) {
    a += mix_a(word ^ (key.a + index * 0x9e3779b97f4a7c15ull));
    b += mix_b(word ^ (key.b + index * 0xd1b54a32d192ed03ull));
  }
  constexpr void add(FingerprintSums other) {
    a += other.a;
    b += other.b;
  }
};

// How the kernel is launched, whatever the piece: two blocks for each multiprocessor of the larger
// dies, which is enough to hide the latency of memory. A thread reads two words at a time.
constexpr unsigned kFingerprintThreads = 256;
constexpr unsigned kFingerprintBlocks = 256;
constexpr std::uint64_t kFingerprintReadBytes = 16;

}  // namespace barswap::pager

// The arithmetic of the measuring kernels: one text for the kernels, for their twins on the
// simulated machine and for tests. It owns nothing, knows no CUDA and is C++17, as nvcc compiles
// it.
//
// Results depend on bytes and positions alone: sums wrap and have no order, so that any thread may
// add any piece, and the same bytes give the same sum wherever they lie.
#pragma once
#include <cstdint>

namespace barswap::bench {

// What a thread reads at once: the widest load there is.
struct alignas(16) Piece {
  std::uint32_t x, y, z, w;
};

// A row of a table, 128 bytes: what eight threads read together.
constexpr std::uint32_t kRowPieces = 8;

constexpr std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ x >> 16;
}

constexpr Piece piece_at(std::uint32_t index, std::uint32_t seed) {
  const std::uint32_t first = mix(index ^ seed * 0x9e3779b9u);
  return {first, first ^ 0x243f6a88u, first + index, first * 0x85a308d3u};
}

// Odd factors: a change of one word alone always shows, and equal pieces at other places differ.
// Cheap, because HBM gives a piece to a thread every few cycles.
constexpr std::uint64_t fold(Piece piece, std::uint32_t index) {
  const std::uint32_t a = (piece.x ^ index) * 0x9e3779b1u + piece.y;
  const std::uint32_t b = (piece.z + index) * 0x85ebca77u ^ piece.w;
  return static_cast<std::uint64_t>(a) << 32 | b;
}

// One word of a grid from its neighbours in the other grid and its own last value, as a wave
// equation in two grids has it.
constexpr std::uint32_t stepped(std::uint32_t left, std::uint32_t middle, std::uint32_t right,
                                std::uint32_t old) {
  return left * 3u + mix(middle) + right * 5u - old;
}

constexpr std::uint32_t row_of(std::uint32_t draw, std::uint32_t seed, std::uint32_t rows) {
  return mix(draw + seed * 0x9e3779b9u) % rows;
}

}  // namespace barswap::bench

// The structs that kernels, programs and the simulated kernels share. Layout only; no functions.
#pragma once
#include <cstdint>

// One link of a chain of device pointers. A chase adds one to `visits` of every node it passes.
struct BarswapNode {
  BarswapNode* next;
  std::uint32_t value;
  std::uint32_t visits;
};
static_assert(sizeof(BarswapNode) == 16);

// Passed by value, so that device pointers lie inside a parameter instead of being one.
struct BarswapWriterJob {
  std::uint32_t* first;
  std::uint32_t* second;
  std::uint64_t words;  // of each
  std::uint32_t seed;
  std::uint32_t padding;
};
static_assert(sizeof(BarswapWriterJob) == 32);

// The twins: for each kernel of tests/e2e/kernels.cu, for the shim's own and for those of
// tools/bench, an ordinary function that gives the same bytes.
//
// A twin declares nothing about what it touches; it simply touches memory, through the view. It
// works on items [begin, end) of its launch and may be asked for a launch's items in several steps.
#pragma once

#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "sim/view.hpp"

namespace barswap::sim {

struct Launch {
  std::vector<std::byte> parameters;  // laid out as the device sees them
  std::uint64_t blocks = 1;
  std::uint64_t threads = 1;  // of a block
  std::array<std::uint64_t, 4> scratch{};  // what a twin keeps from step to step

  // The parameters one after another, each aligned to its size as the compiler lays them out.
  template <class... Types>
  void read(Types&... values) const {
    std::size_t offset = 0;
    (read_one(values, offset), ...);
  }

 private:
  template <class Type>
  void read_one(Type& value, std::size_t& offset) const {
    offset = (offset + alignof(Type) - 1) / alignof(Type) * alignof(Type);
    if (offset + sizeof(Type) <= parameters.size())
      std::memcpy(static_cast<void*>(&value), parameters.data() + offset, sizeof(Type));
    offset += sizeof(Type);
  }
};

struct KernelTwin {
  std::string_view name;
  std::uint64_t (*items)(const Launch& launch);
  // False if nothing can be done until somebody else writes what the kernel waits for.
  bool (*run)(View& view, Launch& launch, std::uint64_t begin, std::uint64_t end);
  std::uint64_t slice_items_max = 1u << 17;
  // What it touches is known; by default it may touch anything.
  bool (*may_touch)(const Launch& launch, std::uintptr_t base, std::size_t bytes) = nullptr;
};

// Null if no twin has the name.
const KernelTwin* find_twin(std::string_view name);
// For tests that bring their own; it lives until the process ends.
void add_twin(KernelTwin twin);

}  // namespace barswap::sim

// Names that compilers give, in PTX and cubins alike.
#pragma once
#include <string_view>

#include "image/state.hpp"

namespace barswap::image {

// What a compiler made of literals and of the tables of its own mathematics. They are never
// written, and no program can ask for their address.
inline bool is_literal(std::string_view name) {
  for (const std::string_view start : {"$str", "__unnamed_", "__cudart_"})
    if (name.starts_with(start)) return true;
  return false;
}

// What an image uses and does not hold. Names that start with ".nv." are places of the linker's in
// shared memory; other functions are parts of the driver that we do not know.
inline States states_of_undefined(std::string_view name) {
  if (name.empty() || name.starts_with(".nv.")) return 0;
  if (name == "vprintf") return kPrintf;
  if (name == "malloc" || name == "free") return kHeap;
  return name == "__assertfail" ? kAssertion : kUnknown;
}

}  // namespace barswap::image

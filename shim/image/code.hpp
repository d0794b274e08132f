// Which banks of constants a stretch of machine code reads, and how it calls. Relocations do not
// tell: the numbers of banks are in the instructions, and a variable's address comes from a table
// in bank 4, by its place there. Nothing else of the code is understood.
//
// Bytes in, values out. Seen for architectures 7.0 to 12.1, with toolkits 12.4 and 13.0.
#pragma once
#include <cstdint>
#include <vector>

#include "image/bytes.hpp"

namespace barswap::image {

struct Uses {
  bool constants = false;  // reads bank 3, or asks where it lies
  // Reads bank 4 at a place that it computes: where the address of a function stands, if there are
  // as many calls; else perhaps any.
  bool all_functions = false, all_addresses = false;
  bool pointer_calls = false;       // calls through an address that it did not find in bank 4
  std::vector<unsigned> addresses;  // the places in bank 4 that it reads: multiples of 8, each once
};

// All of it, if code for this architecture is not understood.
Uses uses_of(Bytes code, unsigned architecture);

}  // namespace barswap::image

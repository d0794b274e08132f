// The entries of a fatbin: cubins and PTX, each for an architecture. It owns nothing and knows
// nothing of what an entry holds.
//
// NVIDIA documents no layout. This one was seen in files of toolkits 12.4 and 13.0.
#pragma once
#include <cstdint>
#include <vector>

#include "image/bytes.hpp"
#include "image/unpack.hpp"

namespace barswap::image {

enum class Code : std::uint8_t { ptx, cubin, unknown };

struct Entry {
  Code code = Code::unknown;
  unsigned architecture = 0;  // ten times the major number, and the minor one
  bool only_there = false;    // not on every die of a later minor number
  Packing packing = Packing::none;
  Bytes bytes;
  std::uint64_t unpacked_bytes = 0;
};

struct Entries {
  std::vector<Entry> entries;
  bool whole = true;  // false: what follows the last one was not understood
};

constexpr std::uint32_t kFatbinMagic = 0xba55ed50;

bool is_fatbin(Bytes image);
// Where the fatbin at `image` ends by its own header; 0, if it is none.
std::uint64_t fatbin_size(const void* image);
// Of one fatbin, or of several that lie one behind the other.
Entries entries_of(Bytes image);
// What the driver may load on a die of that capability; everything, if that is 0.
std::vector<Entry> chosen(const std::vector<Entry>& entries, unsigned capability);

}  // namespace barswap::image

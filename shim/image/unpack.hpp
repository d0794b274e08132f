// Takes compressed entries of a fatbin apart. It keeps nothing. All memory comes from operator new:
// in the shim that is its own heap, since the program's may be what called us.
#pragma once
#include <cstdint>
#include <memory>

#include "image/bytes.hpp"

namespace barswap::image {

enum class Packing : std::uint8_t { none, lz4, zstd, unknown };

struct Unpacked {
  std::unique_ptr<std::byte[]> memory;
  Bytes bytes;
};

// No bytes, if `packed` does not become `size` bytes or fewer, or this build cannot do it.
Unpacked unpack(Packing packing, Bytes packed, std::uint64_t size);

}  // namespace barswap::image

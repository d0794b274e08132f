// What a kernel's image says of it: which state, kept once for each context, a kernel uses. A
// launch of a kernel without any gives the same bytes in every context that has loaded the same
// image.
//
// Bytes in, facts out. It owns nothing, takes no lock, calls no driver, and keeps no answer: that
// is for the caller. An image is read in its own bounds alone; one that is not understood makes its
// kernels `kUnknown`. What comes in by parameters or memory, such as a texture object or the
// address of a variable that another kernel has stored, no image shows.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace barswap::image {

// A set of what follows. Every doubt adds to it.
using States = std::uint16_t;

constexpr States kGlobal = 1 << 0;  // a __device__ or __managed__ variable that starts as zeros
constexpr States kInitialised = 1 << 1;  // one with values in the image, constant ones too
constexpr States kConstant = 1 << 2;     // a __constant__ variable, which the host may write
constexpr States kTexture = 1 << 3;      // a texture or surface by reference: bound in one context
constexpr States kPrintf = 1 << 4;       // the buffer of printf
constexpr States kHeap = 1 << 5;         // malloc or free
constexpr States kAssertion = 1 << 6;    // assert: it may end its context
constexpr States kPointer = 1 << 7;      // calls through an address, which is of one context
constexpr States kUnknown = 1 << 8;      // not understood, or not in the image at all

struct Kernel {
  std::string name;
  States states = 0;
};

struct Facts {
  States of(std::string_view kernel) const;

  std::vector<Kernel> kernels;  // by name, each once
  States whole = 0;             // of every kernel, named or not
};

// `image`: as cuModuleLoadData and cuLibraryLoadData take it. A fatbin, or what wraps it; a cubin;
// PTX, which ends with a zero. `capability`: ten times the major number of the die's compute
// capability, and the minor one: of a fatbin only what the driver may choose for that die is read.
// 0: all of it, as for a driver that was told to translate the PTX anyway.
Facts read(const void* image, unsigned capability);
// An image whose size is known. It may be several fatbins, one behind the other; no wrapper, which
// is made of addresses.
Facts read(std::span<const std::byte> image, unsigned capability);

// All bytes of such an image, with the zero that ends PTX; of what wraps a fatbin, the fatbin's.
// Empty: nobody can say, or the image is made of parts.
std::span<const std::byte> bytes_of(const void* image);

// Of one kernel. It costs less than all of them, but for what is compressed.
States states_of(const void* image, std::string_view kernel, unsigned capability);
States states_of(std::span<const std::byte> image, std::string_view kernel, unsigned capability);

}  // namespace barswap::image

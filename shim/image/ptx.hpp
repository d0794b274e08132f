// What PTX declares and names. The states of its kernels are not told apart: one that uses a
// variable makes all of them use it. It owns nothing; the text is only read.
#pragma once
#include <string_view>

#include "image/state.hpp"

namespace barswap::image {

// Adds what the text says, of the kernel `only` or, if that is empty, of all. False: it is no PTX.
bool read_ptx(std::string_view text, std::string_view only, Facts& facts);

}  // namespace barswap::image

// What the kernels of a cubin reach: the variables, functions of the driver and banks that their
// code names, and the code that it calls. It owns tables of one cubin, which must stay where it is,
// and reads a kernel's code when it is first asked for it.
#pragma once
#include <string_view>

#include "image/bytes.hpp"
#include "image/state.hpp"

namespace barswap::image {

// Adds what the cubin says: of the kernel `only`, or of all, if that is empty. False: it was not
// understood.
bool read_cubin(Bytes file, std::string_view only, Facts& facts);

}  // namespace barswap::image

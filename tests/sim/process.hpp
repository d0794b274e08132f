// How a process comes by its machine: a test makes one, libcuda.so.1 builds one at the first call.
#pragma once

#include "sim/machine.hpp"

namespace barswap::sim {

// Null if there is none.
Machine* machine_for_call();

}  // namespace barswap::sim

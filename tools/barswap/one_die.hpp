// dies.present = "one" for a program that is about to be started: libraries that count dies before
// the driver starts (PyTorch, by NVML) then see one from the beginning.
#pragma once
#include "policy/options.hpp"

namespace barswap::tools {

// To be called by the process that becomes the program, because its claim goes by its number. Sets
// CUDA_VISIBLE_DEVICES to one die among those that the user gave, and leaves a note of it for the
// shim (shim/dies/launched.hpp). Where none is to be chosen, or none can be, what the user gave
// stands there, and the shim in the program says why. Prints nothing.
void choose_one_die(const policy::Options& options);

}  // namespace barswap::tools

// How the runtime finds the driver: owns the table of functions that requests.txt lists.
//
// The requests are those of the real runtime 13.0 and of a PyTorch program: name, version and flags
// of each. Filled once, in the order in which the real runtime goes about it; read only afterwards.
#pragma once

#include <cuda.h>

namespace simrt {

// RT_SUCCESS, or why there is no driver to work with. Safe to call from any thread.
int start();
// The address that the driver gave for this request; null if it gave none.
void* resolved(const char* name, int version, int flags);
void count(int& found, int& asked);

}  // namespace simrt

// What the device does to memory is no business of the thread sanitizer.
//
// A program may write what a kernel or a copy reads, as it may beside real ones, and whether the
// bytes came out right is what tests compare. Only the state of ours is to be looked at, which also
// spares the sanitizer the gigabytes that tests move.
#pragma once

#include "base/sanitizer.hpp"

// For a function that accesses the bytes itself.
#define BARSWAP_SIM_DEVICE_ACCESS __attribute__((no_sanitize("thread")))

#ifdef BARSWAP_TSAN
// The runtime of GCC and that of clang ignore reads as well meanwhile.
extern "C" void AnnotateIgnoreWritesBegin(const char* file, int line);
extern "C" void AnnotateIgnoreWritesEnd(const char* file, int line);
#endif

namespace barswap::sim {

// While it lives, what this thread reads and writes is the device's: for calls of memcpy and the
// like, which the sanitizer sees whoever makes them.
struct DeviceAccess {
#ifdef BARSWAP_TSAN
  DeviceAccess() { AnnotateIgnoreWritesBegin(__FILE__, __LINE__); }
  ~DeviceAccess() { AnnotateIgnoreWritesEnd(__FILE__, __LINE__); }
#else
  DeviceAccess() {}
  ~DeviceAccess() {}
#endif
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace barswap::sim

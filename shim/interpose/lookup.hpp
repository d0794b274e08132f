// What dlsym's hook and the resolver share: which copy of libcuda is adopted. Lock-free, allocates
// nothing; never instrumented by a sanitizer, whose runtime calls dlsym before it is ready.
#pragma once
#include <atomic>

#include "interpose/loader.hpp"

namespace barswap::interpose {

constexpr const char* kDriverName = "libcuda.so";

extern std::atomic<const void*> adopted_base;
extern std::atomic<bool> second_copy_seen;

// Whether this object is, or now becomes, the adopted copy.
bool adopt_base(const Object& object);

}  // namespace barswap::interpose

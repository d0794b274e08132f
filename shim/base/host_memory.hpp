// What the machine and the control group leave of host memory, read anew a few hundred
// times a second at most. Allocates nothing.
#pragma once
#include <cstdint>

namespace barswap {

// The least of MemAvailable and the room under memory.max of this process's control group (version
// 2, or the limit of version 1); all bits set where nothing is known.
std::uint64_t host_available_bytes();
// Some was given back just now: the next answer is a fresh one.
void host_available_grew();
std::uint64_t host_total_bytes();

}  // namespace barswap

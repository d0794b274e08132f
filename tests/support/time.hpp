// A clock that only moves when it is read: with it in the program, the same calls take the same
// time on every machine, and a deadline passes at the same call. It replaces the C library's
// functions, so it is linked only into programs that have one thread.
#pragma once
#include <cstdint>

namespace barswap::support {

// Starts anew. Each reading moves the clock by `tick_ns`, each sleep by its length.
void start_clock(std::uint64_t tick_ns);

}  // namespace barswap::support

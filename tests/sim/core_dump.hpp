// The core dump that a driver writes at a fault, as far as it is read: one lane with an exception,
// and the address in a pair of its registers. Written only where the environment variables of
// CUDA-GDB's manual ask for it.
#pragma once
#include <cstdint>

namespace barswap::sim {

void write_core_dump(std::uint64_t address);

}  // namespace barswap::sim

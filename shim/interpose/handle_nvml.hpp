// NVML's memory queries tell what cuMemGetInfo tells: monitoring libraries read both.
#pragma once
#include "interpose/nvml.hpp"

namespace barswap::interpose {

// `symbol` names the real function. Its refusals travel back unchanged.
int memory_info(const char* symbol, NvmlDevice device, NvmlMemory* answer) noexcept;
int memory_info(const char* symbol, NvmlDevice device, NvmlMemory2* answer) noexcept;

}  // namespace barswap::interpose

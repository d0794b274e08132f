// The functions of NVML that we export in its place, by expansion of nvml_api.def.
#pragma once
#include "dies/nvml.hpp"

extern "C" {
#define BARSWAP_NVML(symbol, memory) \
  int symbol(barswap::dies::NvmlDevice device, barswap::dies::memory* answer);
#include "interpose/nvml_api.def"
}

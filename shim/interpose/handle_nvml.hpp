// NVML's memory queries tell what cuMemGetInfo tells: monitoring libraries read both.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "dies/sights.hpp"
#include "interpose/nvml.hpp"

namespace barswap::interpose {

// `symbol` names the real function. Its refusals travel back unchanged.
int memory_info(const char* symbol, dies::NvmlDevice device, dies::NvmlMemory* answer) noexcept;
int memory_info(const char* symbol, dies::NvmlDevice device, dies::NvmlMemory2* answer) noexcept;

// By the program's NVML, behind our exports.
std::optional<std::uint64_t> free_by_nvml(const std::string& uuid);
std::vector<dies::Sight> sights_by_nvml();

}  // namespace barswap::interpose

// NVML's memory queries tell what cuMemGetInfo tells: monitoring libraries read both.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "interpose/nvml.hpp"
#include "session/session.hpp"

namespace barswap::interpose {

// `symbol` names the real function. Its refusals travel back unchanged.
int memory_info(const char* symbol, NvmlDevice device, NvmlMemory* answer) noexcept;
int memory_info(const char* symbol, NvmlDevice device, NvmlMemory2* answer) noexcept;

// What is free on a die, whatever the program is told. No answer: there is no NVML, or it does not
// know the die.
std::optional<std::uint64_t> free_by_nvml(const std::string& uuid);
// All dies that this process may use, before the driver says which it has (session/one_die.hpp).
std::vector<session::Sight> sights_by_nvml();

}  // namespace barswap::interpose

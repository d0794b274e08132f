// What the bench found, as text for people and as JSON for programs.
#pragma once
#include <nlohmann/json.hpp>
#include <string>

#include "suite.hpp"

namespace barswap::bench {

std::string text_of_machine(const nlohmann::ordered_json& machine);
std::string text_of(const Row& row);
nlohmann::ordered_json json_of(const Row& row);

}  // namespace barswap::bench

// What this machine gives: rates of the link, costs of a remap, the price of reading again. Bounds
// and plans stand on these figures, taken in the same run.
#pragma once
#include <nlohmann/json.hpp>

#include "die.hpp"

namespace barswap::bench {

// `quick` is for machines whose times mean nothing.
struct Effort {
  bool quick = false;
  std::uint64_t hbm_bytes_max = 0;  // of HBM that may be taken
};

// Each measures anew and gives back what it took.
nlohmann::ordered_json measure_links(const Die& die, Effort effort);   // {"links", "reread"}
nlohmann::ordered_json measure_remaps(const Die& die, Effort effort);  // {"remap", "page_in"}

}  // namespace barswap::bench

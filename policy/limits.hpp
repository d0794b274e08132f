// Amounts of the policy turned into bytes for one die or for the host, from facts that the caller
// measured. Values in, values out; owns nothing, asks no driver.
#pragma once
#include <cstdint>
#include <string_view>

#include "policy/options.hpp"

namespace barswap::policy {

struct DieFacts {
  int index = 0;          // after CUDA_VISIBLE_DEVICES
  std::string_view uuid;  // "GPU-...", lower case; empty: not known
  std::uint64_t total_bytes = 0;
  std::uint64_t free_bytes = 0;  // at start, before the program allocated
};

// Whether dies.use names the die.
bool uses_die(const Options& options, const DieFacts& die);

// The cap as configured: dies.limit for this die, else vram.limit.
Amount limit_of(const Options& options, const DieFacts& die);

// The HBM that we may hold: the limit, but never more than what is free less the reserve,
// of which at most an eighth of the die is kept back.
std::uint64_t budget_bytes(const Options& options, const DieFacts& die);

// The most that a die lends to others of what it may hold; 0 if the peer tier is off.
std::uint64_t lent_bytes(const Options& options, std::uint64_t budget_bytes);

// The host memory that pages may take; 0 if the host tier is off.
std::uint64_t host_limit_bytes(const Options& options, std::uint64_t available_bytes);

// The memory that queries answer. `tiers_bytes` is what the die's budget and the tiers behind it
// hold together.
std::uint64_t advertised_bytes(const Options& options, const DieFacts& die,
                               std::uint64_t budget_bytes, std::uint64_t tiers_bytes);

// Whether vram.max_alloc refuses an allocation of this size.
bool refuses(const Options& options, std::uint64_t size_bytes);

}  // namespace barswap::policy

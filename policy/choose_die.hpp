// Which die a process gets that sees one alone (dies.present = "one"). A pure function: what is
// known of the dies in, the place of one out.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "policy/options.hpp"

namespace barswap::policy {

struct DieLoad {
  std::uint64_t free_bytes = 0;
  unsigned busy_percent = 0;    // of the last moments, how much some kernel ran
  std::uint64_t processes = 0;  // that compute on it
  std::uint64_t newcomers = 0;  // that have chosen it, and hold and run nothing there yet
};

// The place in `dies`, which are not none, of the die to take. `last` is the place of the die that
// was chosen before this one, if it is among them. Of equals the first.
std::size_t choose_die(Processes way, std::span<const DieLoad> dies,
                       std::optional<std::size_t> last);

}  // namespace barswap::policy

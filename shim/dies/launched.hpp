// The note that `barswap run` leaves to the process that it becomes (BARSWAP_ONE_DIE): it has
// chosen the die and named it in CUDA_VISIBLE_DEVICES, and what stood there before. Pure: texts in,
// texts out.
#pragma once
#include <optional>
#include <string>

#include "dies/choice.hpp"

namespace barswap::dies {

struct Launched {
  Choice choice;
  std::optional<std::string> given;  // CUDA_VISIBLE_DEVICES of the user's; none: it was not set
};

// "number name", and " given" if there was one.
std::string write_launched(const Launched& launched);
// What `note` says, as long as CUDA_VISIBLE_DEVICES is what it speaks of: once somebody has set
// that anew, the note is void. Both may be null.
std::optional<Launched> read_launched(const char* note, const char* visible);

}  // namespace barswap::dies

// Which dies CUDA_VISIBLE_DEVICES leaves to a program, as the driver reads it. Pure: texts in,
// places out.
#pragma once
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace barswap::dies {

struct Visible {
  std::size_t place = 0;  // in the list that was given
  std::string name;       // how the variable may name it
  bool operator==(const Visible&) const = default;
};

// `uuids` are those of all dies, in the order of their numbers. An entry is a number or the
// beginning of a UUID; the first that is neither ends the list. `value` null: all dies. No answer:
// it is not ours to read, because it names slices of a die ("MIG-"), or leaves no die.
std::optional<std::vector<Visible>> visible_of(const char* value,
                                               std::span<const std::string> uuids);

}  // namespace barswap::dies

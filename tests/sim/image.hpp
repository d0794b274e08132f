// What a module image declares, read from its PTX text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "sim/objects.hpp"

namespace barswap::sim {

struct ImageContent {
  std::vector<Function> functions;
  std::vector<Global> globals;
};

// The text of an image: PTX itself, or the PTX inside a fat binary that is not compressed. Empty if
// the image is neither.
std::string image_text(const void* image);
ImageContent parse_image(std::string_view text);

}  // namespace barswap::sim

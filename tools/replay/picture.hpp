// Bars as a PNG file, without a library: stored blocks of zlib, and a font of 3 by 5 dots.
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace barswap::replay {

using Color = std::array<std::uint8_t, 3>;

struct Bar {
  std::string name;
  std::vector<double> parts;  // stacked, from the axis on
};

struct Panel {
  std::string title;
  std::vector<std::string> legend;  // of the parts
  std::vector<Color> colors;
  std::vector<Bar> bars;
  double mark = 0;  // a line across all bars; 0: none
  std::string unit;
};

std::vector<std::uint8_t> picture_of(const std::vector<Panel>& panels);

}  // namespace barswap::replay

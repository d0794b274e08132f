// Writes the stored traces into a folder: make_traces FOLDER.
#include <cstdio>
#include <fstream>
#include <string>
#include <utility>

#include "synthetic.hpp"

int main(int argc, char** argv) {
  using namespace barswap::synthetic;
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_traces FOLDER\n");
    return 2;
  }
  Shape train;
  train.ratio = 1.5;
  const std::pair<const char*, std::vector<std::uint8_t>> all[] = {{"cycle", cycle({})},
                                                                   {"training", training(train)},
                                                                   {"decode", decode({})},
                                                                   {"gather", gather({})}};
  for (const auto& [name, bytes] : all) {
    std::ofstream out(std::string(argv[1]) + "/" + name + ".trace", std::ios::binary);
    out.write(reinterpret_cast<const char*>(bytes.data()),
              static_cast<std::streamsize>(bytes.size()));
    if (!out) return 1;
  }
  return 0;
}

// CUDA_VISIBLE_DEVICES as the driver reads it.
#include "dies/visible.hpp"

#include <doctest/doctest.h>

namespace barswap::dies {
namespace {

const std::vector<std::string> kDies = {"GPU-aa00-1", "GPU-ab00-2", "GPU-ab10-3"};

using List = std::vector<Visible>;

TEST_CASE("without the variable all dies are seen, by their UUIDs") {
  CHECK(visible_of(nullptr, kDies) == List{{0, kDies[0]}, {1, kDies[1]}, {2, kDies[2]}});
}

TEST_CASE("numbers and beginnings of UUIDs, in the order in which they stand") {
  CHECK(visible_of("2,0", kDies) == List{{2, "2"}, {0, "0"}});
  CHECK(visible_of("GPU-ab1,GPU-aa00-1", kDies) == List{{2, "GPU-ab1"}, {0, "GPU-aa00-1"}});
  CHECK(visible_of(" 1 , 2", kDies) == List{{1, "1"}, {2, "2"}});
  CHECK(visible_of("1", kDies) == List{{1, "1"}});
}

TEST_CASE("the first entry that names no die ends the list") {
  CHECK(visible_of("1,3,0", kDies) == List{{1, "1"}});
  CHECK(visible_of("1,-1,0", kDies) == List{{1, "1"}});
  CHECK(visible_of("1,,0", kDies) == List{{1, "1"}});
  CHECK(visible_of("0,GPU-ab", kDies) == List{{0, "0"}});
  CHECK(visible_of("0,GPU-ff,1", kDies) == List{{0, "0"}});
  CHECK(visible_of("2,1x", kDies) == List{{2, "2"}});
}

TEST_CASE("what leaves no die, or names slices, is not ours to read") {
  for (const char* value : {"", " ", "-1", "NoDevFiles", "9", "GPU-", "GPU-ab",
                            "99999999999999999999", "MIG-GPU-aa00-1/1/0", "0,MIG-1", ","}) {
    CAPTURE(value);
    CHECK_FALSE(visible_of(value, kDies));
  }
  CHECK_FALSE(visible_of("0", {}));
}

}  // namespace
}  // namespace barswap::dies

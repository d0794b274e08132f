// The note from `barswap run` to the program that it becomes.
#include "dies/launched.hpp"

#include <doctest/doctest.h>

namespace barswap::dies {
namespace {

constexpr const char* kUuid = "GPU-51515151-5151-5151-5151-515151515102";

TEST_CASE("what is written is read, whatever the user gave") {
  using Given = std::optional<std::string>;
  for (const Given& given :
       {Given(), Given(""), Given("2"), Given(" 1 , 2 ,x "), Given("GPU-1,0")}) {
    const std::string note = write_launched({{kUuid, 2}, given});
    CAPTURE(note);
    const auto read = read_launched(note.c_str(), kUuid);
    REQUIRE(read);
    CHECK(read->choice.name == kUuid);
    CHECK(read->choice.number == 2);
    CHECK(read->given == given);
  }
  CHECK(read_launched("11 3 1,3", "3")->choice.number == 11);
}

TEST_CASE("a note is void once the variable says something else") {
  CHECK_FALSE(read_launched("0 GPU-1 0,1", nullptr));
  for (const char* visible : {"", "0", "1", "GPU-12", "GPU-1 ", "GPU-1,0", "0,1"}) {
    CAPTURE(visible);
    CHECK_FALSE(read_launched("0 GPU-1 0,1", visible));
  }
  CHECK(read_launched("0 GPU-1 0,1", "GPU-1"));
}

TEST_CASE("what is no note is none") {
  CHECK_FALSE(read_launched(nullptr, "0"));
  for (const char* note : {"", " ", "0", "0 ", "x 0", "-1 0", "0x 0", " 0 0", "0  0", "0\t0",
                           "99999999999 0", "1.5 0", "GPU-1"}) {
    CAPTURE(note);
    CHECK_FALSE(read_launched(note, "0"));
    CHECK_FALSE(read_launched(note, ""));
  }
}

}  // namespace
}  // namespace barswap::dies

// Images that are cut off or changed at random. Nothing may be read outside of them, for which
// sanitizers look, and what was cut off must not hide a kernel's state.
#include <doctest/doctest.h>

#include <random>
#include <string>
#include <utility>

#include "builder.hpp"
#include "image/state.hpp"

namespace barswap::image {
namespace {

Blob cubin() {
  CubinMaker maker;
  const std::uint32_t table = maker.section(".nv.constant4", SHT_PROGBITS, Blob(16), SHF_ALLOC);
  maker.relocate(table, 0, maker.variable(".nv.global", "counter"));
  maker.relocate(table, 8, maker.symbol("vprintf", SHN_UNDEF, STT_FUNC));
  maker.function("callee", CodeMaker().load(4, 0));
  const std::uint32_t callee = maker.last_symbol();
  maker.relocate(maker.kernel("k", CodeMaker().other()), 0, callee);
  maker.kernel("prints", CodeMaker().load_computed(4).call_register());
  return maker.blob();
}

Blob ptx() {
  return text_blob(
      ".version 8.0\n.target sm_75\n.address_size 64\n.global .u32 counter;\n"
      ".global .b8 list[3] = {1, 2, 3};\n.entry k(.param .u64 p)\n"
      "{\n\tst.global.u32 [counter], 1; // \"\n\tret;\n}\n");
}

Blob fatbin() {
  return FatbinMaker().entry(kCubinKind, 90, {cubin()}).entry(kPtxKind, 75, {ptx()}).blob();
}

const Blob kImages[] = {cubin(), ptx(), fatbin()};

// A copy in memory of just that size, so that a sanitizer sees each byte too many.
States states_of_first(const Blob& blob, std::size_t size) {
  const Blob part(blob.begin(), blob.begin() + static_cast<std::ptrdiff_t>(size));
  CHECK(read(part, 90).of("k") == states_of(part, "k", 90));
  return states_of(part, "k", 90);
}

TEST_CASE("an image that is cut off never looks free of state") {
  for (const Blob& blob : kImages) {
    REQUIRE(states_of_first(blob, blob.size()) == kGlobal);
    for (std::size_t size = 0; size < blob.size(); ++size)
      REQUIRE(states_of_first(blob, size) != 0);
  }
}

TEST_CASE("changed bytes are read within bounds") {
  std::mt19937 random(20261130);
  for (const Blob& blob : kImages)
    for (int round = 0; round < 20000; ++round) {
      Blob changed = blob;
      for (std::uint32_t count = random() % 8 + 1; count > 0; --count)
        changed[random() % changed.size()] = static_cast<std::byte>(random());
      static_cast<void>(read(changed, round % 2 == 0 ? 0 : 90));
    }
}

TEST_CASE("changed headers are read within bounds") {
  std::mt19937 random(7);
  const std::uint32_t words[] = {0, 1, 0x7fffffff, 0x80000000, 0xffffffff, 0xfffffff0, 64, 0xffff};
  for (const Blob& blob : kImages)
    for (std::size_t at = 0; at + sizeof(words[0]) <= blob.size(); at += 2) {
      Blob changed = blob;
      std::memcpy(changed.data() + at, &words[random() % std::size(words)], sizeof(words[0]));
      static_cast<void>(read(changed, 0));
    }
}

}  // namespace
}  // namespace barswap::image

// Which entries of a fatbin are read, and all ways to hand one over.
#include <doctest/doctest.h>

#include <string>

#include "builder.hpp"
#include "image/state.hpp"

#if BARSWAP_UNPACK
#include <lz4.h>
#include <zstd.h>
#endif

namespace barswap::image {
namespace {

// Its kernel "k" reads a bank of its own: the states tell which entries were read.
Payload cubin(unsigned architecture, States states) {
  CubinMaker maker(architecture);
  const std::uint32_t home = maker.kernel("k");
  if (states & kGlobal) maker.relocate(home, 0, maker.variable(".nv.global", "a"));
  if (states & kInitialised) maker.relocate(home, 0, maker.variable(".nv.global.init", "b"));
  if (states & kConstant) maker.relocate(home, 0, maker.variable(".nv.constant3", "c"));
  return {maker.blob()};
}

Payload ptx() {
  return {
      text_blob(".version 8.0\n.target sm_75\n.address_size 64\n.global .texref t;\n.entry k() "
                "{ suq.width.b32 %r1, [t]; }\n")};
}

Payload flagged(Payload payload, std::uint64_t flags) {
  payload.flags |= flags;
  return payload;
}

TEST_CASE("of a fatbin those entries count that the driver may choose") {
  const Blob blob = FatbinMaker()
                        .entry(kCubinKind, 80, cubin(80, kGlobal))
                        .entry(kCubinKind, 86, cubin(86, kInitialised))
                        .entry(kCubinKind, 90, cubin(90, kConstant))
                        .entry(kPtxKind, 75, ptx())
                        .blob();
  CHECK(states_of(blob, "k", 80) == kGlobal);
  CHECK(states_of(blob, "k", 89) == (kGlobal | kInitialised));
  CHECK(states_of(blob, "k", 90) == kConstant);
  CHECK(states_of(blob, "k", 75) == kTexture);
  CHECK(states_of(blob, "k", 120) == kTexture);
  CHECK(states_of(blob, "k", 70) == kUnknown);
  CHECK(states_of(blob, "k", 0) == (kGlobal | kInitialised | kConstant | kTexture));
}

TEST_CASE("an entry for one architecture alone leaves the choice to PTX elsewhere") {
  const Blob blob = FatbinMaker()
                        .entry(kCubinKind, 100, flagged(cubin(100, kGlobal), kOnlyThere))
                        .entry(kPtxKind, 75, ptx())
                        .blob();
  CHECK(states_of(blob, "k", 100) == kGlobal);
  CHECK(states_of(blob, "k", 103) == (kGlobal | kTexture));
}

TEST_CASE("an entry of another kind is not understood, if it may be chosen") {
  const Blob blob =
      FatbinMaker().entry(8, 75, {Blob(16)}).entry(kCubinKind, 90, cubin(90, kGlobal)).blob();
  CHECK(states_of(blob, "k", 90) == kGlobal);
  CHECK(states_of(blob, "k", 120) == kUnknown);
}

TEST_CASE("facts of several entries are merged by name") {
  CubinMaker two;
  two.kernel("other");
  two.kernel("k");
  const Blob blob = FatbinMaker()
                        .entry(kCubinKind, 90, {two.blob()})
                        .entry(kCubinKind, 90, cubin(90, kGlobal))
                        .blob();
  const Facts facts = read(blob, 90);
  REQUIRE(facts.kernels.size() == 2);
  CHECK(facts.of("k") == kGlobal);
  CHECK(facts.of("other") == 0);
}

TEST_CASE("one behind the other") {
  Blob blob = FatbinMaker().entry(kCubinKind, 90, cubin(90, kGlobal)).blob();
  const Blob second = FatbinMaker().entry(kCubinKind, 90, cubin(90, kConstant)).blob();
  append(blob, second.data(), second.size());
  CHECK(states_of(blob, "k", 90) == (kGlobal | kConstant));
  // By its address, an image is the first alone: nobody says how many there are.
  CHECK(states_of(blob.data(), "k", 90) == kGlobal);
}

struct Wrapper {
  std::uint32_t magic = 0x466243b1, version = 1;
  const void* fatbin = nullptr;
  const void* const* parts = nullptr;
};

TEST_CASE("by its address, wrapped or bare") {
  const Blob blob = FatbinMaker().entry(kCubinKind, 90, cubin(90, kGlobal)).blob();
  const Blob bare = cubin(90, kConstant).bytes;
  const Wrapper wrapper{.fatbin = blob.data()};
  CHECK(states_of(&wrapper, "k", 90) == kGlobal);
  CHECK(states_of(blob.data(), "k", 90) == kGlobal);
  CHECK(states_of(bare.data(), "k", 90) == kConstant);
  CHECK(states_of(static_cast<const void*>(nullptr), "k", 90) == kUnknown);
  const Wrapper empty, wrong{.fatbin = bare.data()};
  CHECK(states_of(&empty, "k", 90) == kUnknown);
  CHECK(states_of(&wrong, "k", 90) == kUnknown);
}

TEST_CASE("the parts of a linked fatbin count where that does not run") {
  const Blob linked = FatbinMaker().entry(kCubinKind, 80, cubin(80, kGlobal)).blob();
  const Blob part = FatbinMaker().entry(kPtxKind, 75, ptx()).blob();
  const void* parts[] = {part.data(), nullptr};
  const Wrapper wrapper{.version = 2, .fatbin = linked.data(), .parts = parts};
  CHECK(states_of(&wrapper, "k", 80) == kGlobal);
  CHECK(states_of(&wrapper, "k", 90) == kTexture);
  const Wrapper alone{.version = 2, .fatbin = linked.data()};
  CHECK(states_of(&alone, "k", 90) == kUnknown);
}

#if BARSWAP_UNPACK

Payload lz4(const Blob& blob) {
  Payload packed{Blob(static_cast<std::size_t>(LZ4_compressBound(static_cast<int>(blob.size())))),
                 kPlain | kLz4Flag, blob.size()};
  const int size = LZ4_compress_default(
      reinterpret_cast<const char*>(blob.data()), reinterpret_cast<char*>(packed.bytes.data()),
      static_cast<int>(blob.size()), static_cast<int>(packed.bytes.size()));
  packed.bytes.resize(static_cast<std::size_t>(size));
  return packed;
}

Payload zstd(const Blob& blob) {
  Payload packed{Blob(ZSTD_compressBound(blob.size())), kPlain | kZstdFlag, blob.size()};
  packed.bytes.resize(
      ZSTD_compress(packed.bytes.data(), packed.bytes.size(), blob.data(), blob.size(), 3));
  return packed;
}

TEST_CASE("compressed both ways") {
  const Blob plain = cubin(90, kGlobal).bytes;
  for (const Payload& packed : {lz4(plain), zstd(plain)}) {
    const Blob blob = FatbinMaker().entry(kCubinKind, 90, packed).blob();
    CHECK(states_of(blob, "k", 90) == kGlobal);
    CHECK(read(blob, 90).whole == 0);
  }
  const Blob text = FatbinMaker().entry(kPtxKind, 75, zstd(ptx().bytes)).blob();
  CHECK(states_of(text, "k", 90) == kTexture);
}

TEST_CASE("what does not become the size that was said is not understood") {
  for (Payload packed : {lz4(cubin(90, kGlobal).bytes), zstd(cubin(90, kGlobal).bytes)}) {
    packed.unpacked_bytes -= 1;
    CHECK(read(FatbinMaker().entry(kCubinKind, 90, packed).blob(), 90).whole == kUnknown);
    packed.unpacked_bytes = std::uint64_t{1} << 62;
    CHECK(read(FatbinMaker().entry(kCubinKind, 90, packed).blob(), 90).whole == kUnknown);
  }
}

#endif

TEST_CASE("an unknown compression is not understood") {
  Payload packed = flagged(cubin(90, 0), 0x1000);
  packed.unpacked_bytes = packed.bytes.size();
  CHECK(read(FatbinMaker().entry(kCubinKind, 90, packed).blob(), 90).of("k") == kUnknown);
}

}  // namespace
}  // namespace barswap::image

// What kernels of cubins use, as compilers say it: by relocations of their code, by the banks that
// their instructions read, and through the functions that they call.
#include <doctest/doctest.h>

#include <string>

#include "builder.hpp"
#include "image/state.hpp"

namespace barswap::image {
namespace {

struct Machine {
  unsigned architecture;
  bool toolkit_13;
};
constexpr Machine kMachines[] = {{70, false}, {75, true},  {89, false}, {90, false},
                                 {90, true},  {100, true}, {121, true}};

Facts facts_of(const CubinMaker& maker) { return read(maker.blob(), 0); }

// A cubin whose table of addresses in bank 4 names, eight bytes each: a variable of zeros, one with
// values, a literal, and two functions of the driver.
struct WithAddresses {
  explicit WithAddresses(Machine machine = {90, true})
      : maker(machine.architecture, machine.toolkit_13) {
    const std::uint32_t table = maker.section(".nv.constant4", SHT_PROGBITS, Blob(40), SHF_ALLOC);
    const std::uint32_t symbols[] = {
        maker.variable(".nv.global", "counter"), maker.variable(".nv.global.init", "table"),
        maker.variable(".nv.global.init", "$str$1"), maker.symbol("vprintf", SHN_UNDEF, STT_FUNC),
        maker.symbol("malloc", SHN_UNDEF, STT_FUNC)};
    for (std::uint64_t i = 0; i < 5; ++i)
      maker.relocate(table, i * 8, symbols[i], machine.toolkit_13);
  }
  CubinMaker maker;
};

TEST_CASE("a kernel that reads parameters alone has no state") {
  for (const Machine machine : kMachines) {
    WithAddresses with(machine);
    with.maker.kernel("pure", CodeMaker().load(0, 0x210).other());
    const Facts facts = facts_of(with.maker);
    CHECK(facts.whole == 0);
    REQUIRE(facts.kernels.size() == 1);
    CHECK(facts.kernels[0].name == "pure");
    CHECK(facts.of("pure") == 0);
    CHECK(facts.of("absent") == kUnknown);
  }
}

TEST_CASE("variables are told apart by their place in the table of addresses") {
  for (const Machine machine : kMachines) {
    CAPTURE(machine.architecture);
    WithAddresses with(machine);
    with.maker.kernel("counts", CodeMaker().load(4, 0));
    with.maker.kernel("counts_half", CodeMaker().load(4, 4));
    with.maker.kernel("looks_up", CodeMaker().load(4, 8));
    with.maker.kernel("says", CodeMaker().load(4, 16));
    with.maker.kernel("nowhere", CodeMaker().load(4, 64));
    const Facts facts = facts_of(with.maker);
    CHECK(facts.of("counts") == kGlobal);
    CHECK(facts.of("counts_half") == kGlobal);
    CHECK(facts.of("looks_up") == kInitialised);
    CHECK(facts.of("says") == 0);
    CHECK(facts.of("nowhere") == kUnknown);
  }
}

TEST_CASE("a computed place in the table is a function's, if it is called") {
  WithAddresses with;
  with.maker.kernel("prints", CodeMaker().load_computed(4).call_register());
  with.maker.kernel("takes", CodeMaker().load_computed(4));
  with.maker.kernel("jumps", CodeMaker().call_register());
  with.maker.kernel("overrides", CodeMaker().call_virtual());
  with.maker.kernel("calls", CodeMaker().call_immediate());
  const Facts facts = facts_of(with.maker);
  CHECK(facts.of("prints") == (kPrintf | kHeap));
  CHECK(facts.of("takes") == (kPrintf | kHeap | kGlobal | kInitialised));
  CHECK(facts.of("jumps") == kPointer);
  CHECK(facts.of("overrides") == kPointer);
  CHECK(facts.of("calls") == 0);
}

TEST_CASE("constants belong to the kernels that read their bank or ask for its address") {
  constexpr std::uint64_t kAddressOfBank[] = {0x50, 0x50, 0x50, 0xd0, 0xd0, 0x120, 0x120};
  for (std::size_t i = 0; i < std::size(kMachines); ++i) {
    CubinMaker maker(kMachines[i].architecture, kMachines[i].toolkit_13);
    maker.variable(".nv.constant3", "coefficients");
    maker.kernel("reads", CodeMaker().load(3, 16));
    maker.kernel("computes", CodeMaker().load_computed(3));
    maker.kernel("points", CodeMaker().load(0, kAddressOfBank[i]));
    maker.kernel("neither", CodeMaker().load(0, 0x28).load(2, 0));
    const Facts facts = facts_of(maker);
    CHECK(facts.of("reads") == kConstant);
    CHECK(facts.of("computes") == kConstant);
    CHECK(facts.of("points") == kConstant);
    CHECK(facts.of("neither") == 0);
  }
}

// As cuDNN's attention has it, for 9.0: number 3 and 288 threads.
TEST_CASE("a barrier's number is no bank") {
  WithAddresses with;
  with.maker.section(".nv.constant3", SHT_PROGBITS, Blob(16), SHF_ALLOC);
  with.maker.kernel("meets", CodeMaker().barrier(3, 288).barrier(4, 256));
  CHECK(facts_of(with.maker).of("meets") == 0);
}

TEST_CASE("code of an unknown generation may use all that the cubin has") {
  WithAddresses with({60, false});
  with.maker.variable(".nv.constant3", "coefficients");
  with.maker.kernel("pure");
  const States all = kGlobal | kInitialised | kConstant | kPrintf | kHeap | kPointer;
  CHECK(facts_of(with.maker).of("pure") == all);
}

TEST_CASE("relocations of code name what it uses") {
  for (const bool addend : {false, true}) {
    CubinMaker maker;
    const std::pair<const char*, States> cases[] = {
        {"counts", kGlobal},     {"looks_up", kInitialised},
        {"reads", kConstant},    {"prints", kPrintf},
        {"allocates", kHeap},    {"frees", kHeap},
        {"asserts", kAssertion}, {"launches", kUnknown},
        {"samples", kTexture},   {"shares", 0}};
    const std::uint32_t symbols[] = {maker.variable(".nv.global", "counter"),
                                     maker.variable(".nv.global.init", "table"),
                                     maker.variable(".nv.constant3", "coefficients"),
                                     maker.symbol("vprintf", SHN_UNDEF, STT_FUNC),
                                     maker.symbol("malloc", SHN_UNDEF, STT_FUNC),
                                     maker.symbol("free", SHN_UNDEF, STT_FUNC),
                                     maker.symbol("__assertfail", SHN_UNDEF, STT_FUNC),
                                     maker.symbol("cudaLaunchDeviceV2", SHN_UNDEF, STT_FUNC),
                                     maker.symbol("sampler", SHN_UNDEF, 10),
                                     maker.variable(".nv.shared.shares", "tile")};
    for (std::size_t i = 0; i < std::size(cases); ++i)
      maker.relocate(maker.kernel(cases[i].first), 0, symbols[i], addend);
    const Facts facts = facts_of(maker);
    for (const auto& one : cases) {
      CAPTURE(one.first);
      CHECK(facts.of(one.first) == one.second);
      CHECK(states_of(maker.blob(), one.first, 0) == one.second);
    }
  }
}

TEST_CASE("what is called counts, through cycles and to any depth") {
  CubinMaker maker;
  const std::uint32_t counter = maker.variable(".nv.global", "counter");
  const std::uint32_t deep = maker.function("deep");
  const std::uint32_t deep_symbol = maker.last_symbol();
  const std::uint32_t middle = maker.function("middle");
  const std::uint32_t middle_symbol = maker.last_symbol();
  maker.relocate(deep, 0, counter);
  maker.relocate(middle, 0, deep_symbol);
  maker.relocate(deep, 16, middle_symbol);
  maker.relocate(maker.kernel("calls"), 0, middle_symbol);
  maker.kernel("calls_nothing");
  const Facts facts = facts_of(maker);
  CHECK(facts.kernels.size() == 2);
  CHECK(facts.of("calls") == kGlobal);
  CHECK(facts.of("calls_nothing") == 0);
}

TEST_CASE("a kernel's own constants count for it, nobody's for everyone") {
  CubinMaker maker;
  const std::uint32_t texture = maker.symbol("texture", SHN_UNDEF, 10);
  maker.kernel("samples");
  maker.kernel("computes");
  const std::uint32_t own =
      maker.section(".nv.constant0.samples", SHT_PROGBITS, Blob(8), SHF_ALLOC);
  maker.relocate(own, 0, texture);
  CHECK(facts_of(maker).of("samples") == kTexture);
  CHECK(facts_of(maker).of("computes") == 0);
  const std::uint32_t other = maker.section(".nv.other", SHT_PROGBITS, Blob(8), SHF_ALLOC);
  maker.relocate(other, 0, maker.variable(".nv.global", "counter"));
  CHECK(facts_of(maker).of("samples") == (kTexture | kGlobal));
  CHECK(facts_of(maker).of("computes") == kGlobal);
}

TEST_CASE("what is not part of a launch is of no account") {
  CubinMaker maker;
  const std::uint32_t counter = maker.variable(".nv.global", "counter");
  maker.relocate(maker.section(".debug_info", SHT_PROGBITS, Blob(8)), 0, counter);
  const std::uint32_t pointers =
      maker.section(".nv.global.init", SHT_PROGBITS, Blob(8), SHF_ALLOC | SHF_WRITE);
  maker.relocate(pointers, 0, counter);
  maker.kernel("pure");
  CHECK(facts_of(maker).of("pure") == 0);
}

TEST_CASE("a kernel whose code is not there is not understood") {
  CubinMaker maker;
  maker.kernel("empty", CodeMaker());
  maker.symbol("elsewhere", SHN_UNDEF, STT_FUNC, 0x10);
  CHECK(facts_of(maker).of("empty") == kUnknown);
  CHECK(facts_of(maker).of("elsewhere") == kUnknown);
}

TEST_CASE("more sections than the header counts") {
  WithAddresses with;
  with.maker.many().kernel("counts", CodeMaker().load(4, 0));
  with.maker.kernel("pure");
  const Blob blob = with.maker.blob();
  CHECK(states_of(blob, "counts", 0) == kGlobal);
  CHECK(states_of(blob, "pure", 0) == 0);
  CHECK(states_of(blob.data(), "counts", 0) == kGlobal);
}

TEST_CASE("a relocation without a symbol is not understood") {
  CubinMaker maker;
  maker.relocate(maker.kernel("strange"), 0, 1000);
  CHECK(facts_of(maker).of("strange") == kUnknown);
}

}  // namespace
}  // namespace barswap::image

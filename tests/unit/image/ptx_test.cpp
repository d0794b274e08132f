// What PTX declares and uses.
#include <doctest/doctest.h>

#include <string>

#include "builder.hpp"
#include "image/state.hpp"

namespace barswap::image {
namespace {

const std::string kStart =
    "//\n// made by hand\n.version 8.0\n.target sm_90, debug\n.address_size 64\n";

// A kernel in whose parameters the word .global stands, as compilers write it.
std::string kernel(const std::string& name, const std::string& body) {
  return ".visible .entry " + name + "(\n\t.param .u64 .ptr .global .align 1 " + name +
         "_param_0\n)\n.maxntid 256, 1, 1\n{\n\t.reg .b64 \t%rd<4>;\n\t{ // a block\n\t" + body +
         "\n\t}\n\tret;\n}\n";
}

States of(const std::string& text) { return read(text_blob(kStart + text), 0).of("k"); }

TEST_CASE("PTX without variables has no state") {
  CHECK(of(kernel("k", "ld.global.u32 %r1, [%rd1];")) == 0);
  CHECK(of(".extern .shared .align 16 .b8 tile[];\n" + kernel("k", "mov.u32 %r1, tile;")) == 0);
  CHECK(of("// .global .u32 counter; ld.global [counter]\n/* .const */" + kernel("k", "")) == 0);
}

TEST_CASE("a variable that is used counts, one that is not does not") {
  const std::string use = kernel("k", "ld.global.u32 %r1, [counter+4];");
  CHECK(of(".global .align 4 .u32 counter;\n" + use) == kGlobal);
  CHECK(of(".visible .global .attribute(.managed) .align 4 .u32 counter;\n" + use) == kGlobal);
  CHECK(of(".extern .global .u32 counter;\n" + use) == kGlobal);
  CHECK(of(".global .align 4 .b8 counter[16] = {1, 0, 2};\n" + use) == kInitialised);
  CHECK(of(".global .u32 other = 1, counter;\n" + use) == kGlobal);
  CHECK(of(".global .u32 other, more;\n" + use) == 0);
  CHECK(of(".common .global .align 8 .u64 _ZN08NumbaEnv;\n" + use) == 0);
  CHECK(of(".global .align 1 .b8 $str[4] = {37, 100, 10};\n" +
           kernel("k", "mov.u64 %rd1, $str;")) == 0);
  CHECK(of(".const .align 4 .b8 c[64];\n" + kernel("k", "ld.const.f32 %f1, [c];")) == kConstant);
}

TEST_CASE("a variable counts through another one's value, and in functions") {
  CHECK(of(".global .u32 counter;\n.global .u64 list[2] = {counter, 0};\n" +
           kernel("k", "ld.global.u64 %rd1, [list];")) == (kGlobal | kInitialised));
  CHECK(of(".global .u32 counter;\n.func (.param .b32 r) f(.param .b32 a)\n{\n"
           "\tatom.global.add.u32 %r1, [counter], 1;\n\tret;\n}\n" +
           kernel("k", "call.uni (r0), f, (p0);")) == kGlobal);
}

TEST_CASE("textures by reference") {
  CHECK(of(".global .texref image;\n" +
           kernel("k", "tex.1d.v4.f32.f32 {%f1, %f2, %f3, %f4}, [image, {%f1}];")) == kTexture);
  CHECK(of(".global .surfref image;\n" +
           kernel("k", "suld.b.1d.b32.trap {%r2}, [image, {%r1}];")) == kTexture);
}

TEST_CASE("functions of the driver") {
  const auto calling = [](const std::string& name) {
    return ".extern .func  (.param .b32 func_retval0) " + name + "\n(\n\t.param .b64 " + name +
           "_param_0\n)\n;\n" + kernel("k", "call.uni (retval0), " + name + ", (param0);");
  };
  CHECK(of(calling("vprintf")) == kPrintf);
  CHECK(of(calling("malloc")) == kHeap);
  CHECK(of(calling("free")) == kHeap);
  CHECK(of(calling("__assertfail")) == kAssertion);
  CHECK(of(calling("cudaLaunchDeviceV2")) == kUnknown);
  CHECK(of(".extern .func vprintf\n;\n" + kernel("k", "")) == 0);
}

TEST_CASE("a call through a register is through an address") {
  CHECK(of(kernel("k", "@%p1 call (retval0), %rd1, (param0), prototype_0;")) == kPointer);
  CHECK(of(kernel("k", "call.uni (%r1), f, (%r2);")) == 0);
}

TEST_CASE("all kernels share what one of them uses") {
  const Facts facts =
      read(text_blob(kStart + ".global .u32 counter;\n" +
                     kernel("k", "ld.global.u32 %r1, [counter];") + kernel("other", "ret;")),
           0);
  CHECK(facts.kernels.size() == 2);
  CHECK(facts.of("other") == kGlobal);
}

TEST_CASE("what is no PTX, or not all of it, is not understood") {
  CHECK(read(text_blob(""), 0).whole == kUnknown);
  CHECK(read(text_blob("any text"), 0).whole == kUnknown);
  CHECK(read(text_blob(kernel("k", "")), 0).whole == kUnknown);
  CHECK(read(text_blob(kStart + kernel("k", "") + ".func f {"), 0).of("k") == kUnknown);
}

TEST_CASE("PTX by its address ends with a zero") {
  const std::string text = kStart + kernel("k", "// \xc3\xa4");
  CHECK(read(text.c_str(), 90).of("k") == 0);
  CHECK(states_of(text.c_str(), "k", 90) == 0);
  CHECK(states_of(text.c_str(), "other", 90) == kUnknown);
  CHECK(read("", 90).whole == kUnknown);
  CHECK(read("P", 90).whole == kUnknown);
  CHECK(read("\x7f"
             "EL",
             90)
            .whole == kUnknown);
}

}  // namespace
}  // namespace barswap::image

#include "tools/verify/core_dump.hpp"

#include <doctest/doctest.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "sim/core_dump.hpp"

using namespace barswap;

namespace {

constexpr std::uint64_t kBase = 0x302000000, kMib = std::uint64_t{1} << 20;

// As the simulated driver writes it, at a path of this process alone.
struct Dump {
  std::string path;
  explicit Dump(std::uint64_t address)
      : path("/tmp/barswap-core-dump-test." + std::to_string(getpid())) {
    setenv("CUDA_ENABLE_COREDUMP_ON_EXCEPTION", "1", 1);
    setenv("CUDA_COREDUMP_FILE", "/tmp/barswap-core-dump-test.%p", 1);
    sim::write_core_dump(address);
  }
  ~Dump() { std::remove(path.c_str()); }
  Dump(const Dump&) = delete;
  Dump& operator=(const Dump&) = delete;

  std::string bytes() const {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void write(const std::string& bytes) const {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }
  auto read(const std::vector<verify::Span>& spans) const {
    return verify::read_core_dump(path, spans, 2 * kMib);
  }
};

}  // namespace

TEST_CASE("the page that a thread was on is read from its registers") {
  const Dump dump(kBase + 5 * kMib);
  const auto core = dump.read({{kBase - 64 * kMib, 64 * kMib}, {kBase, 64 * kMib}});
  REQUIRE(core);
  CHECK(core->faulted == 1);
  REQUIRE(core->candidates.size() == 1);
  CHECK(core->candidates[0].address == kBase + 5 * kMib);
  CHECK(core->candidates[0].threads == 1);
  // Just behind a span is not in it.
  CHECK(dump.read({{kBase, 5 * kMib}})->candidates.empty());
  CHECK(dump.read({})->candidates.empty());
}

TEST_CASE("registers of threads that did not fault say nothing") {
  const Dump dump(kBase);
  // The idle lane holds 1 and 2 in a pair.
  const std::uint64_t idle = (std::uint64_t{2} << 32) + 1;
  CHECK(dump.read({{idle, 8}})->candidates.empty());
}

TEST_CASE("what is no core dump of a GPU, or is cut short, is told from one that says nothing") {
  const Dump dump(kBase);
  const std::string whole = dump.bytes();
  REQUIRE(whole.size() > 64);
  CHECK_FALSE(verify::read_core_dump("/nonexistent", {}, kMib));
  for (const std::size_t size : {std::size_t{0}, std::size_t{10}, std::size_t{63}, whole.size() - 1,
                                 whole.size() / 2}) {
    dump.write(whole.substr(0, size));
    CHECK_FALSE(dump.read({{kBase, kMib}}));
  }
  std::string other = whole;
  other[18] = 62;  // x86-64
  dump.write(other);
  CHECK_FALSE(dump.read({{kBase, kMib}}));
  // A count of sections, in the first of them, that is larger than the file or than a count can be.
  constexpr std::size_t kCount = 60, kFirstSize = 64 + 32;
  for (const char fill : {'\x7f', '\xff'}) {
    other = whole;
    other.replace(kCount, 2, 2, '\0');
    other.replace(kFirstSize, 8, 8, fill);
    dump.write(other);
    CHECK_FALSE(dump.read({{kBase, kMib}}));
  }
  // Tables that lie behind the end of the file, or reach around it.
  constexpr std::size_t kLanesOffset = 64 + 64 + 24, kRegistersOffset = 64 + 3 * 64 + 24;
  for (const std::size_t field : {kLanesOffset, kRegistersOffset}) {
    other = whole;
    other.replace(field, 8, 8, '\xff');
    dump.write(other);
    CHECK_FALSE(dump.read({{kBase, kMib}}));
  }
}

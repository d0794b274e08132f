#include "policy/values.hpp"

#include <doctest/doctest.h>

#include <limits>

namespace barswap::policy {
namespace {

constexpr std::uint64_t kMost = std::numeric_limits<std::uint64_t>::max();

TEST_CASE("sizes") {
  Bytes bytes = 0;
  const auto reads = [&](std::string_view text, Bytes expected) {
    return read_size(text, bytes) == Reading::good && bytes == expected;
  };
  CHECK(reads("0B", 0));
  CHECK(reads("512B", 512));
  CHECK(reads("8MiB", 8_MiB));
  CHECK(reads("1.5GiB", 1536_MiB));
  CHECK(reads("0.25TiB", 256_GiB));
  CHECK(reads("18446744073709551615B", kMost));
  for (const char* text : {"", "MiB", "8", "8MB", "8mib", "8 MiB", "-8MiB", "+8MiB", "8MiB ",
                           ".5MiB", "8.MiB", "1.2345678MiB", "0x8MiB", "8e3MiB", "8MiBB"}) {
    CAPTURE(text);
    CHECK(read_size(text, bytes) == Reading::malformed);
  }
  CHECK(read_size("18446744073709551616B", bytes) == Reading::too_large);
  CHECK(read_size("16777216TiB", bytes) == Reading::too_large);
  CHECK(read_size("99999999999999999999999999GiB", bytes) == Reading::too_large);
}

TEST_CASE("shares") {
  Share share = 0;
  CHECK(read_share("2%", share) == Reading::good);
  CHECK(share == 0.02);
  CHECK(read_share("75%", share) == Reading::good);
  CHECK(share == 0.75);
  CHECK(read_share("2.5%", share) == Reading::good);
  CHECK(share == 0.025);
  for (const char* text : {"", "%", "2", "-2%", "2%%", "2 %", ".%", "nan%"})
    CHECK(read_share(text, share) == Reading::malformed);
  CHECK(read_share("99999999999999999999999%", share) == Reading::too_large);
}

TEST_CASE("durations") {
  Milliseconds ms = 0;
  CHECK(read_duration("50ms", ms) == Reading::good);
  CHECK(ms == 50);
  CHECK(read_duration("1.5s", ms) == Reading::good);
  CHECK(ms == 1500);
  for (const char* text : {"", "50", "50us", "ms", "-1s", "1m"})
    CHECK(read_duration(text, ms) == Reading::malformed);
  CHECK(read_duration("4294968s", ms) == Reading::too_large);
}

TEST_CASE("ranges") {
  SizeRange size;
  const auto reads = [&](std::string_view text, Bytes lowest, Bytes highest) {
    return read_range(text, size) == Reading::good && size == SizeRange{lowest, highest};
  };
  CHECK(reads(">=256MiB", 256_MiB, kMost));
  CHECK(reads(">1MiB", 1_MiB + 1, kMost));
  CHECK(reads("<1MiB", 0, 1_MiB - 1));
  CHECK(reads("<=1MiB", 0, 1_MiB));
  CHECK(reads("1MiB..64MiB", 1_MiB, 64_MiB));
  CHECK(reads("2MiB", 2_MiB, 2_MiB));
  for (const char* text : {"", ">", ">=", "<0B", ">18446744073709551615B", "64MiB..1MiB", "1MiB..",
                           "..1MiB", "==1MiB", "> 1MiB", ">1", "1MiB...2MiB", "=>1MiB"}) {
    CAPTURE(text);
    CHECK(read_range(text, size) == Reading::malformed);
  }
  CHECK(read_range(">16777216TiB", size) == Reading::too_large);
  CountRange count;
  CHECK(read_range("<10", count) == Reading::good);
  CHECK(count == CountRange{0, 9});
  CHECK(read_range("5..9", count) == Reading::good);
  CHECK(count == CountRange{5, 9});
  CHECK(read_range("3", count) == Reading::good);
  CHECK(count == CountRange{3, 3});
  CHECK(read_range("3MiB", count) == Reading::malformed);
}

TEST_CASE("what is written reads as the same") {
  for (const Bytes bytes : {Bytes{0}, Bytes{1}, 1_KiB, 8_MiB, 1536_MiB, 3_GiB + 1, kMost}) {
    Bytes again = 1;
    CHECK(read_size(text_of_size(bytes), again) == Reading::good);
    CHECK(again == bytes);
  }
  CHECK(text_of_size(1536_MiB) == "1536MiB");
  for (const Share share : {0.0, 0.02, 0.025, 0.75, 1.0, 0.3333}) {
    Share again = 2;
    CHECK(read_share(text_of_share(share), again) == Reading::good);
    CHECK(again == share);
  }
  CHECK(text_of_share(0.025) == "2.5%");
  for (const Milliseconds ms : {0U, 1U, 50U, 999U, 1000U, 61000U}) {
    Milliseconds again = 7;
    CHECK(read_duration(text_of_duration(ms), again) == Reading::good);
    CHECK(again == ms);
  }
  for (const SizeRange range : {SizeRange{256_MiB, kMost}, SizeRange{0, 5}, SizeRange{3, 9},
                                SizeRange{4, 4}, SizeRange{0, kMost}}) {
    SizeRange again{1, 1};
    CHECK(read_range(text_of_range(range), again) == Reading::good);
    CHECK(again == range);
  }
}

TEST_CASE("patterns") {
  CHECK(matches("", ""));
  CHECK(matches("*", ""));
  CHECK(matches("*", "anything"));
  CHECK(matches("a?c", "abc"));
  CHECK(matches("*bench.py*", "python3 bench.py -n 4"));
  CHECK(matches("a*b*c", "a-b-b-c"));
  CHECK(matches("**c", "abc"));
  CHECK_FALSE(matches("", "a"));
  CHECK_FALSE(matches("a", ""));
  CHECK_FALSE(matches("a?c", "ac"));
  CHECK_FALSE(matches("a*b", "abc"));
  CHECK_FALSE(matches("ABC", "abc"));
  CHECK(matches_path("libcu*.so*", "/usr/lib/libcublas.so.12"));
  CHECK_FALSE(matches_path("usr*", "/usr/lib/libcublas.so.12"));
  CHECK(matches_path("/usr/*", "/usr/lib/libcublas.so.12"));
  // Many stars over a long text: the work stays a product of the lengths, not a power.
  const std::string text(20'000, 'a');
  CHECK_FALSE(matches("a*a*a*a*a*a*a*a*a*a*a*a*a*a*a*b", text));
}

TEST_CASE("nearest words") {
  CHECK(mistakes_between("", "") == 0);
  CHECK(mistakes_between("abc", "") == 3);
  CHECK(mistakes_between("limit", "limt") == 1);
  CHECK(mistakes_between("limit", "limti") == 1);
  CHECK(mistakes_between("limit", "timil") == 2);
  CHECK(mistakes_between("kitten", "sitting") == 3);
  const std::string_view words[] = {"auto", "stream", "steam"};
  CHECK(nearest_of("strem", words) == "stream");
  CHECK(nearest_of("steam", words) == "steam");
  CHECK(nearest_of(std::string(100'000, 'x'), words) == "auto");
  CHECK(nearest_of("x", {}).empty());
}

}  // namespace
}  // namespace barswap::policy

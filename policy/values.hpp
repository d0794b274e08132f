// How single values are written in a policy: sizes, shares, durations, ranges, patterns, and
// nearest words. Pure functions over text.
#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policy/options.hpp"

namespace barswap::policy {

// What a text reads as. Too large to hold is not the same as not of that form at all.
enum class Reading : std::uint8_t { good, malformed, too_large };

Reading read_size(std::string_view text, Bytes& bytes);          // "20GiB", "1.5MiB", "512B"
Reading read_share(std::string_view text, Share& share);         // "80%", "2.5%"
Reading read_duration(std::string_view text, Milliseconds& ms);  // "50ms", "2s"
Reading read_range(std::string_view text, SizeRange& range);     // ">=256MiB", "1MiB..64MiB"
Reading read_range(std::string_view text, CountRange& range);    // "<10", "5..9", "3"

std::string text_of_size(Bytes bytes);  // in the largest unit that divides it
std::string text_of_share(Share share);
std::string text_of_duration(Milliseconds ms);
std::string text_of_range(const SizeRange& range);
std::string text_of_range(const CountRange& range);

// Whether the pattern covers the whole text.
bool matches(std::string_view glob, std::string_view text);
// The same for a file: against its name, or against the whole path if the pattern has a slash.
bool matches_path(std::string_view glob, std::string_view path);
std::string_view name_of_path(std::string_view path);

// The number of single mistakes (a letter missing, extra, wrong or two swapped) between two words.
std::size_t mistakes_between(std::string_view left, std::string_view right);
// The candidate with the fewest mistakes, the first of equals; empty without candidates.
std::string_view nearest_of(std::string_view word, std::span<const std::string_view> candidates);

}  // namespace barswap::policy

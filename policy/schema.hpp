// The rows of schema.def as a table: what each key is called, accepts and means, and how it is read
// into Options and written out. Owns nothing; knows no files and no layers.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "policy/document.hpp"
#include "policy/options.hpp"

namespace barswap::policy {

// Which values a key accepts: any of the forms that are set. A constant expression, so that a row
// can say it in a line.
struct Accepts {
  std::array<const char*, 3> word{};
  std::array<const char*, 2> later_word{};  // in the design, not in this version
  bool is_size = false, is_share = false, is_duration = false, is_toggle = false;
  bool is_dies = false, is_table_of_dies = false;
  std::uint64_t size_lowest = 0, size_highest = 0, size_step = 1;
  double share_lowest = 0, share_highest = 0;
  Milliseconds lowest_ms = 0, highest_ms = 0;

  constexpr Accepts words(const char* a, const char* b = nullptr, const char* c = nullptr) const {
    Accepts more = *this;
    more.word = {a, b, c};
    return more;
  }
  constexpr Accepts later(const char* a, const char* b = nullptr) const {
    Accepts more = *this;
    more.later_word = {a, b};
    return more;
  }
  constexpr Accepts size(std::uint64_t lowest, std::uint64_t highest,
                         std::uint64_t step = 1) const {
    Accepts more = *this;
    more.is_size = true;
    more.size_lowest = lowest, more.size_highest = highest, more.size_step = step;
    return more;
  }
  constexpr Accepts share(double lowest, double highest) const {
    Accepts more = *this;
    more.is_share = true;
    more.share_lowest = lowest, more.share_highest = highest;
    return more;
  }
  constexpr Accepts dies() const {
    Accepts more = *this;
    more.is_dies = true;
    return more;
  }
};

// "vram.limit", made from the row's group and leaf.
struct KeyName {
  std::array<char, 32> text{};
  consteval KeyName(const char* group, const char* leaf) {
    std::size_t at = 0;
    for (; *group != 0; ++group) text[at++] = *group == '_' ? '.' : *group;
    text[at++] = '.';
    for (; *leaf != 0; ++leaf) text[at++] = *leaf;
  }
  constexpr operator std::string_view() const { return text.data(); }
  std::string string() const { return text.data(); }
};

// One key.
struct Key {
  KeyName name;
  Accepts accepts;
  const char* sentence;
  const char* cost;
  std::optional<Problem> (*read)(const Key& key, const Value& value, Options& options);
  std::string (*write)(const Key& key, const Options& options);  // as in a file
};
std::span<const Key> keys();

// One condition of an [[allocation]], [[kernel]] or [[program]], for the reference and for
// suggestions.
struct Condition {
  const char* name;  // "allocation.match.size"
  const char* example;
  const char* sentence;
};
std::span<const Condition> conditions();

// Keys, and tables of keys, that the design names and this version lacks.
std::span<const std::string_view> later_keys();

// What a key accepts, for an error: `"auto", a size such as "20GiB" or a share such as "80%"`.
std::string forms_of(const Accepts& accepts);
// Its bounds, for the reference: "64MiB to 64TiB"; empty if it has none.
std::string bounds_of(const Accepts& accepts);

}  // namespace barswap::policy

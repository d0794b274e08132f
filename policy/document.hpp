// A policy text as a tree of values, each with its place in the text. Owns its tree; knows no keys.
// The TOML library is behind document.cpp and nowhere else.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace barswap::policy {

struct Position {
  std::uint32_t line = 1;
  std::uint32_t column = 1;
};

struct Problem {
  Position at;
  std::string message;
  std::string nearest = {};
};

struct Entry;

struct Value {
  enum class Kind : std::uint8_t { text, integer, real, boolean, list, table, date };
  Kind kind = Kind::table;
  Position at;
  std::string text;
  std::int64_t integer = 0;
  bool boolean = false;
  std::vector<Value> items;    // of a list
  std::vector<Entry> entries;  // of a table, as they stand in the text
};

struct Entry {
  std::string key;
  Position at;
  Value value;
};

// "a string", "an integer", ...: how an error names what it found.
std::string name_of(Value::Kind kind);

// Limits that keep the parser's stack shallow whatever the text is: a key with dots nests one level
// a dot, and so does every list and table inside another.
constexpr std::size_t kFileBytesMax = 256 * 1024;
constexpr std::size_t kLineBytesMax = 2000;
constexpr std::size_t kLineDotsMax = 40;

// The tree, or what is wrong with the text. Never throws, whatever the bytes are.
struct Document {
  Value root;
  std::optional<Problem> problem;
};
Document parse_document(std::string_view text);

// One `key=value` of a set string. A value that is not TOML is taken as text, so that quotes may be
// left out: vram.limit=4GiB.
Document parse_item(std::string_view item);

}  // namespace barswap::policy

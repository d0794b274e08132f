#include "policy/document.hpp"

#include <algorithm>

// Once in the whole program, without exceptions and without the parts that print. Its assertions
// would abort the guest program; what they guard is answered by errors all the same.
#define TOML_HEADER_ONLY 1
#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_FORMATTERS 0
#define TOML_ASSERT(expression) static_assert(true)
#include <toml++/toml.h>

namespace barswap::policy {
namespace {

Position position_of(const toml::source_region& source) {
  // A node that the library made itself, such as the root, has no place.
  return {std::max<std::uint32_t>(source.begin.line, 1),
          std::max<std::uint32_t>(source.begin.column, 1)};
}

Value value_of(const toml::node& node);

std::vector<Entry> entries_of(const toml::table& table) {
  std::vector<Entry> entries;
  for (auto&& [key, node] : table)
    entries.push_back({std::string(key.str()), position_of(key.source()), value_of(node)});
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& left, const Entry& right) {
    return left.at.line != right.at.line ? left.at.line < right.at.line
                                         : left.at.column < right.at.column;
  });
  return entries;
}

Value value_of(const toml::node& node) {
  Value value;
  value.at = position_of(node.source());
  if (const auto* text = node.as_string()) {
    value.kind = Value::Kind::text;
    value.text = text->get();
  } else if (const auto* integer = node.as_integer()) {
    value.kind = Value::Kind::integer;
    value.integer = integer->get();
  } else if (const auto* boolean = node.as_boolean()) {
    value.kind = Value::Kind::boolean;
    value.boolean = boolean->get();
  } else if (node.is_floating_point()) {
    value.kind = Value::Kind::real;
  } else if (const auto* list = node.as_array()) {
    value.kind = Value::Kind::list;
    for (const toml::node& item : *list) value.items.push_back(value_of(item));
  } else if (const auto* table = node.as_table()) {
    value.kind = Value::Kind::table;
    value.entries = entries_of(*table);
  } else {
    value.kind = Value::Kind::date;
  }
  return value;
}

std::optional<Problem> too_long(std::string_view text) {
  if (text.size() > kFileBytesMax)
    return Problem{{}, "the text is longer than " + std::to_string(kFileBytesMax) + " bytes"};
  std::uint32_t line = 1;
  while (!text.empty()) {
    const std::size_t length = std::min(text.find('\n'), text.size());
    if (length > kLineBytesMax)
      return Problem{{line, static_cast<std::uint32_t>(kLineBytesMax + 1)},
                     "the line is longer than " + std::to_string(kLineBytesMax) + " bytes"};
    text.remove_prefix(std::min(length + 1, text.size()));
    ++line;
  }
  return std::nullopt;
}

// The library's own words, opened by what kind of mistake it is and closed by the usual cure.
std::string message_of(std::string_view description) {
  const auto has = [&](const char* words) {
    return description.find(words) != std::string_view::npos;
  };
  if (const std::size_t at = description.find("cannot redefine existing"); at != description.npos)
    return "duplicate key: " + std::string(description.substr(at));
  std::string message = "not TOML: ";
  constexpr std::string_view opening = "Error while parsing ";
  if (description.starts_with(opening)) description.remove_prefix(opening.size());
  message.append(description);
  if (has("decimal integer") || has("floating-point"))
    message += " (sizes, shares and durations stand in quotes)";
  return message;
}

// The item with its value in quotes, or nothing if it has quotes or brackets of its own, which are
// then meant as TOML.
std::optional<std::string> with_quotes(std::string_view item) {
  const std::size_t equals = item.find('=');
  const std::size_t start = item.find_first_not_of(" \t", equals + 1);
  if (start == std::string_view::npos) return std::nullopt;
  const std::string_view bare = item.substr(start);
  if (std::string_view("\"'[{").find(bare.front()) != std::string_view::npos) return std::nullopt;
  const bool literal = bare.find('\'') == std::string_view::npos;
  if (!literal && bare.find_first_of("\"\\") != std::string_view::npos) return std::nullopt;
  const char* quote = literal ? "'" : "\"";
  return std::string(item.substr(0, start)).append(quote).append(bare).append(quote);
}

}  // namespace

std::string name_of(Value::Kind kind) {
  switch (kind) {
    case Value::Kind::text: return "a string";
    case Value::Kind::integer: return "an integer";
    case Value::Kind::real: return "a number with a point";
    case Value::Kind::boolean: return "true or false";
    case Value::Kind::list: return "a list";
    case Value::Kind::table: return "a table";
    case Value::Kind::date: return "a date";
  }
  return "?";
}

Document parse_document(std::string_view text) {
  Document document;
  if ((document.problem = too_long(text))) return document;
  const toml::parse_result result = toml::parse(text);
  if (result) {
    document.root = value_of(result.table());
  } else {
    const toml::parse_error& error = result.error();
    document.problem = Problem{position_of(error.source()), message_of(error.description())};
  }
  return document;
}

Document parse_item(std::string_view item) {
  Document document;
  if (item.find('=') == std::string_view::npos) {
    document.problem = Problem{{}, "'" + std::string(item) + "' is not of the form key=value"};
    return document;
  }
  document = parse_document(item);
  if (!document.problem) return document;
  if (const auto quoted = with_quotes(item)) return parse_document(*quoted);
  return document;
}

}  // namespace barswap::policy

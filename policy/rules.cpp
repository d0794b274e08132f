// [[allocation]] and the conditions of [[program]]: reading, writing, matching.
#include <algorithm>

#include "policy/read.hpp"

namespace barswap::policy {
namespace {

// In the order of Place.
constexpr Accepts kPlaces = Accepts{}.words("auto", "resident", "stream").later("peer");

std::string wants(const Condition& condition) { return std::string(condition.name) + " wants "; }

std::optional<Problem> read_condition(const Condition& condition, const Value& value, Glob& glob) {
  if (value.kind == Value::Kind::text && !value.text.empty()) {
    glob = value.text;
    return std::nullopt;
  }
  return Problem{value.at, wants(condition) + "a pattern such as " + condition.example + ", not " +
                               seen(value)};
}

template <class Range>
std::optional<Problem> read_condition(const Condition& condition, const Value& value,
                                      Range& range) {
  std::string text = value.text;
  if (std::is_same_v<Range, CountRange> && value.kind == Value::Kind::integer)
    text = std::to_string(value.integer);
  switch (read_range(text, range)) {
    case Reading::good: return std::nullopt;
    case Reading::too_large:
      return Problem{value.at,
                     std::string(condition.name) + " is " + seen(value) + ", which is too large"};
    case Reading::malformed: break;
  }
  return Problem{
      value.at, wants(condition) + "a range such as " + condition.example + ", not " + seen(value)};
}

Problem not_a_table(const char* name, const char* example, const Value& value) {
  return {value.at,
          std::string(name) + " wants a table such as " + example + ", not " + seen(value)};
}

std::optional<Problem> read_conditions(const Value& value, AllocationRule& rule) {
  if (value.kind != Value::Kind::table)
    return not_a_table("allocation.match", "{ size = \">=256MiB\" }", value);
  for (const Entry& entry : value.entries) {
    bool known = false;
    std::optional<Problem> problem;
#define BARSWAP_ALLOCATION(leaf, type, example, sentence)                                       \
  if (entry.key == #leaf) {                                                                     \
    known = true;                                                                               \
    problem =                                                                                   \
        read_condition({"allocation.match." #leaf, example, sentence}, entry.value, rule.leaf); \
  }
#include "policy/schema.def"
    if (!known) return unknown_key("allocation.match." + entry.key, entry.at);
    if (problem) return problem;
  }
  return std::nullopt;
}

std::string text_of_condition(const Glob& glob) { return glob.empty() ? "" : in_quotes(glob); }
template <class Range>
std::string text_of_condition(const Range& range) {
  return range == Range{} ? "" : in_quotes(text_of_range(range));
}

// A pattern that asks about nothing is met by everything.
bool meets(const Glob& glob, std::string_view path) {
  return glob.empty() || matches_path(glob, path);
}

}  // namespace

std::optional<Problem> read_rule(const Value& value, AllocationRule& rule) {
  if (value.kind != Value::Kind::table) return not_a_table("allocation", "[[allocation]]", value);
  bool has_match = false, has_place = false;
  for (const Entry& entry : value.entries) {
    if (entry.key == "match") {
      if (auto problem = read_conditions(entry.value, rule)) return problem;
      has_match = true;
    } else if (entry.key == "place") {
      const int index = word_index(kPlaces, entry.value);
      if (index < 0) return unfit("allocation.place", kPlaces, entry.value);
      rule.place = static_cast<Place>(index);
      has_place = true;
    } else {
      return unknown_key("allocation." + entry.key, entry.at);
    }
  }
  if (!has_match) return Problem{value.at, "this [[allocation]] has no 'match'"};
  if (!has_place) return Problem{value.at, "this [[allocation]] has no 'place'"};
  return std::nullopt;
}

std::optional<Problem> read_match(const Value& value, ProgramMatch& match) {
  if (value.kind != Value::Kind::table)
    return not_a_table("program.match", "{ exe = \"python3*\" }", value);
  for (const Entry& entry : value.entries) {
    bool known = false;
    std::optional<Problem> problem;
#define BARSWAP_PROGRAM(leaf, type, example, sentence)                                        \
  if (entry.key == #leaf) {                                                                   \
    known = true;                                                                             \
    problem =                                                                                 \
        read_condition({"program.match." #leaf, example, sentence}, entry.value, match.leaf); \
  }
#include "policy/schema.def"
    if (!known) return unknown_key("program.match." + entry.key, entry.at);
    if (problem) return problem;
  }
  return std::nullopt;
}

bool meets(const ProgramMatch& match, std::string_view exe, std::string_view argv) {
  return meets(match.exe, exe) && (match.argv.empty() || matches(match.argv, argv));
}

std::string write_rule(const AllocationRule& rule) {
  std::string text;
#define BARSWAP_ALLOCATION(leaf, type, example, sentence)                             \
  if (const std::string condition = text_of_condition(rule.leaf); !condition.empty()) \
    text += (text.empty() ? " " : ", ") + std::string(#leaf " = ") + condition;
#include "policy/schema.def"
  const char* place = kPlaces.word[static_cast<std::size_t>(rule.place)];
  return "{ match = {" + text + (text.empty() ? "" : " ") + "}, place = " + in_quotes(place) + " }";
}

Place place_of(const Options& options, const AllocationFacts& facts) {
  const auto matching = [&](const AllocationRule& rule) {
    return facts.size_bytes >= rule.size.lowest_bytes &&
           facts.size_bytes <= rule.size.highest_bytes && facts.order >= rule.order.lowest &&
           facts.order <= rule.order.highest && meets(rule.library, facts.library) &&
           (rule.symbol.empty() || matches(rule.symbol, facts.symbol));
  };
  const auto rule = std::find_if(options.allocations.begin(), options.allocations.end(), matching);
  return rule == options.allocations.end() ? Place::automatic : rule->place;
}

bool wants_callers(const Options& options) {
  return std::any_of(
      options.allocations.begin(), options.allocations.end(),
      [](const AllocationRule& rule) { return !rule.library.empty() || !rule.symbol.empty(); });
}

}  // namespace barswap::policy

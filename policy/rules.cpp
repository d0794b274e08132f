// [[allocation]], [[kernel]] and the conditions of [[program]]: reading, writing, matching.
#include <algorithm>

#include "policy/read.hpp"

namespace barswap::policy {
namespace {

// In the order of Place.
constexpr Accepts kPlaces = Accepts{}.words("auto", "resident", "stream").later("peer");
// In the order of KernelReach.
constexpr Accepts kReaches = Accepts{}.words("parameters", "everything");
// In the order of KernelRoute.
constexpr Accepts kRoutes = Accepts{}.words("auto", "home");

// A key of a rule besides `match`, and the place of its value among the words that it accepts.
struct Part {
  const char* key;
  const Accepts& accepts;
  int index = -1;  // -1: not said
};

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

// `read` takes an entry and whether its key is known, which it says.
template <class Read>
std::optional<Problem> read_conditions(const Value& value, const std::string& table,
                                       const char* example, Read read) {
  if (value.kind != Value::Kind::table) return not_a_table(table.c_str(), example, value);
  for (const Entry& entry : value.entries) {
    bool known = false;
    std::optional<Problem> problem = read(entry, known);
    if (!known) return unknown_key(table + "." + entry.key, entry.at);
    if (problem) return problem;
  }
  return std::nullopt;
}

#define BARSWAP_READ(table, leaf, example, sentence, into)                               \
  if (entry.key == #leaf) {                                                              \
    known = true;                                                                        \
    return read_condition({table "." #leaf, example, sentence}, entry.value, into.leaf); \
  }

std::optional<Problem> read_match(const Value& value, AllocationRule& rule) {
  return read_conditions(value, "allocation.match", "{ size = \">=256MiB\" }",
                         [&](const Entry& entry, bool& known) -> std::optional<Problem> {
#define BARSWAP_ALLOCATION(leaf, type, example, sentence) \
  BARSWAP_READ("allocation.match", leaf, example, sentence, rule)
#include "policy/schema.def"
                           return std::nullopt;
                         });
}

std::optional<Problem> read_match(const Value& value, KernelRule& rule) {
  return read_conditions(value, "kernel.match", "{ name = \"*getrf_batched*\" }",
                         [&](const Entry& entry, bool& known) -> std::optional<Problem> {
#define BARSWAP_KERNEL(leaf, type, example, sentence) \
  BARSWAP_READ("kernel.match", leaf, example, sentence, rule)
#include "policy/schema.def"
                           return std::nullopt;
                         });
}

// "'reach' or 'route'".
std::string keys_of(std::span<const Part> parts) {
  std::string text;
  for (const Part& part : parts)
    text += (text.empty() ? "'" : " or '") + std::string(part.key) + "'";
  return text;
}

// A rule is `match` and one of `parts` at least.
template <class Rule>
std::optional<Problem> read_parts(const Value& value, const std::string& kind,
                                  std::span<Part> parts, Rule& rule) {
  if (value.kind != Value::Kind::table)
    return not_a_table(kind.c_str(), ("[[" + kind + "]]").c_str(), value);
  bool has_match = false, has_part = false;
  for (const Entry& entry : value.entries) {
    const std::string name = kind + "." + entry.key;
    if (entry.key == "match") {
      if (auto problem = read_match(entry.value, rule)) return problem;
      has_match = true;
    } else if (const auto part = std::find_if(parts.begin(), parts.end(),
                                              [&](const Part& p) { return entry.key == p.key; });
               part != parts.end()) {
      part->index = word_index(part->accepts, entry.value);
      if (part->index < 0) return unfit(name, part->accepts, entry.value);
      has_part = true;
    } else if (std::find(later_keys().begin(), later_keys().end(), name) != later_keys().end()) {
      return Problem{entry.at, "'" + name + "' is not in this version"};
    } else {
      return unknown_key(name, entry.at);
    }
  }
  if (!has_match) return Problem{value.at, "this [[" + kind + "]] has no 'match'"};
  if (!has_part) return Problem{value.at, "this [[" + kind + "]] has no " + keys_of(parts)};
  return std::nullopt;
}

// The conditions, then the words that are said.
std::string rule_text(const std::string& conditions, std::span<const Part> parts,
                      const char* between) {
  std::string text = "match = {" + conditions + (conditions.empty() ? "" : " ") + "}";
  for (const Part& part : parts)
    if (part.index >= 0)
      text += between + std::string(part.key) + " = " +
              in_quotes(part.accepts.word[static_cast<std::size_t>(part.index)]);
  return text;
}

template <class Choice>
int index_of(const std::optional<Choice>& choice) {
  return choice ? static_cast<int>(*choice) : -1;
}

std::string text_of_condition(const Glob& glob) { return glob.empty() ? "" : in_quotes(glob); }
template <class Range>
std::string text_of_condition(const Range& range) {
  return range == Range{} ? "" : in_quotes(text_of_range(range));
}

std::string kernel_rule_text(const KernelRule& rule, const char* between) {
  std::string text;
#define BARSWAP_KERNEL(leaf, type, example, sentence)                                 \
  if (const std::string condition = text_of_condition(rule.leaf); !condition.empty()) \
    text += (text.empty() ? " " : ", ") + std::string(#leaf " = ") + condition;
#include "policy/schema.def"
  const Part parts[] = {{"reach", kReaches, index_of(rule.reach)},
                        {"route", kRoutes, index_of(rule.route)}};
  return rule_text(text, parts, between);
}

// What the first matching rule says that says it at all.
template <class Choice>
std::optional<Choice> said_of(const Options& options, std::string_view kernel_name,
                              std::optional<Choice> KernelRule::*field) {
  for (const KernelRule& rule : options.kernels)
    if (rule.*field && (rule.name.empty() || matches(rule.name, kernel_name))) return rule.*field;
  return std::nullopt;
}

// A pattern that asks about nothing is met by everything.
bool meets(const Glob& glob, std::string_view path) {
  return glob.empty() || matches_path(glob, path);
}

}  // namespace

std::optional<Problem> read_rule(const Value& value, AllocationRule& rule) {
  Part place[] = {{"place", kPlaces}};
  auto problem = read_parts(value, "allocation", place, rule);
  if (!problem) rule.place = static_cast<Place>(place[0].index);
  return problem;
}

std::optional<Problem> read_rule(const Value& value, KernelRule& rule) {
  Part parts[] = {{"reach", kReaches}, {"route", kRoutes}};
  auto problem = read_parts(value, "kernel", parts, rule);
  if (problem) return problem;
  if (parts[0].index >= 0) rule.reach = static_cast<KernelReach>(parts[0].index);
  if (parts[1].index >= 0) rule.route = static_cast<KernelRoute>(parts[1].index);
  return std::nullopt;
}

std::optional<Problem> read_match(const Value& value, ProgramMatch& match) {
  return read_conditions(value, "program.match", "{ exe = \"python3*\" }",
                         [&](const Entry& entry, bool& known) -> std::optional<Problem> {
#define BARSWAP_PROGRAM(leaf, type, example, sentence) \
  BARSWAP_READ("program.match", leaf, example, sentence, match)
#include "policy/schema.def"
                           return std::nullopt;
                         });
}

#undef BARSWAP_READ

bool meets(const ProgramMatch& match, std::string_view exe, std::string_view argv) {
  return meets(match.exe, exe) && (match.argv.empty() || matches(match.argv, argv));
}

std::string write_rule(const AllocationRule& rule) {
  std::string text;
#define BARSWAP_ALLOCATION(leaf, type, example, sentence)                             \
  if (const std::string condition = text_of_condition(rule.leaf); !condition.empty()) \
    text += (text.empty() ? " " : ", ") + std::string(#leaf " = ") + condition;
#include "policy/schema.def"
  const Part place[] = {{"place", kPlaces, static_cast<int>(rule.place)}};
  return "{ " + rule_text(text, place, ", ") + " }";
}

std::string write_rule(const KernelRule& rule) {
  return "{ " + kernel_rule_text(rule, ", ") + " }";
}

std::string write_section(const KernelRule& rule) {
  return "[[kernel]]\n" + kernel_rule_text(rule, "\n") + "\n";
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

KernelReach reach_of(const Options& options, std::string_view kernel_name) {
  return said_of(options, kernel_name, &KernelRule::reach).value_or(KernelReach::parameters);
}

KernelRoute route_of(const Options& options, std::string_view kernel_name) {
  return said_of(options, kernel_name, &KernelRule::route).value_or(KernelRoute::automatic);
}

bool wants_callers(const Options& options) {
  return std::any_of(
      options.allocations.begin(), options.allocations.end(),
      [](const AllocationRule& rule) { return !rule.library.empty() || !rule.symbol.empty(); });
}

}  // namespace barswap::policy

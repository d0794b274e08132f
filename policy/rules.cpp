// [[allocation]], [[kernel]] and the conditions of [[program]]: reading, writing, matching.
#include <algorithm>

#include "policy/read.hpp"

namespace barswap::policy {
namespace {

// In the order of Place.
constexpr Accepts kPlaces = Accepts{}.words("auto", "resident", "stream").later("peer");
// In the order of KernelReach.
constexpr Accepts kReaches = Accepts{}.words("parameters", "everything");

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

// A rule is `match` and one more key, a word of `accepts`.
template <class Rule>
std::optional<Problem> read_parts(const Value& value, const std::string& kind, const char* key,
                                  const Accepts& accepts, Rule& rule, int& index) {
  if (value.kind != Value::Kind::table)
    return not_a_table(kind.c_str(), ("[[" + kind + "]]").c_str(), value);
  bool has_match = false, has_key = false;
  for (const Entry& entry : value.entries) {
    const std::string name = kind + "." + entry.key;
    if (entry.key == "match") {
      if (auto problem = read_match(entry.value, rule)) return problem;
      has_match = true;
    } else if (entry.key == key) {
      index = word_index(accepts, entry.value);
      if (index < 0) return unfit(name, accepts, entry.value);
      has_key = true;
    } else if (std::find(later_keys().begin(), later_keys().end(), name) != later_keys().end()) {
      return Problem{entry.at, "'" + name + "' is not in this version"};
    } else {
      return unknown_key(name, entry.at);
    }
  }
  if (!has_match) return Problem{value.at, "this [[" + kind + "]] has no 'match'"};
  if (!has_key) return Problem{value.at, "this [[" + kind + "]] has no '" + key + "'"};
  return std::nullopt;
}

// The conditions, then the word.
std::string rule_text(const std::string& conditions, const char* key, const Accepts& accepts,
                      std::size_t index, const char* between) {
  return "match = {" + conditions + (conditions.empty() ? "" : " ") + "}" + between + key + " = " +
         in_quotes(accepts.word[index]);
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
  return rule_text(text, "reach", kReaches, static_cast<std::size_t>(rule.reach), between);
}

// A pattern that asks about nothing is met by everything.
bool meets(const Glob& glob, std::string_view path) {
  return glob.empty() || matches_path(glob, path);
}

}  // namespace

std::optional<Problem> read_rule(const Value& value, AllocationRule& rule) {
  int place = 0;
  auto problem = read_parts(value, "allocation", "place", kPlaces, rule, place);
  if (!problem) rule.place = static_cast<Place>(place);
  return problem;
}

std::optional<Problem> read_rule(const Value& value, KernelRule& rule) {
  int reach = 0;
  auto problem = read_parts(value, "kernel", "reach", kReaches, rule, reach);
  if (!problem) rule.reach = static_cast<KernelReach>(reach);
  return problem;
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
  return "{ " + rule_text(text, "place", kPlaces, static_cast<std::size_t>(rule.place), ", ") +
         " }";
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
  for (const KernelRule& rule : options.kernels)
    if (rule.name.empty() || matches(rule.name, kernel_name)) return rule.reach;
  return KernelReach::parameters;
}

bool wants_callers(const Options& options) {
  return std::any_of(
      options.allocations.begin(), options.allocations.end(),
      [](const AllocationRule& rule) { return !rule.library.empty() || !rule.symbol.empty(); });
}

}  // namespace barswap::policy

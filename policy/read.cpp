#include "policy/read.hpp"

#include <algorithm>

namespace barswap::policy {
namespace {

// The words of an Amount, wherever a key accepts them.
struct AmountWord {
  const char* word;
  Amount::Kind kind;
};
constexpr AmountWord kAmountWords[] = {{"auto", Amount::Kind::automatic},
                                       {"none", Amount::Kind::none},
                                       {"physical", Amount::Kind::physical},
                                       {"virtual", Amount::Kind::virtual_}};

bool is_later(const Accepts& accepts, const Value& value) {
  return value.kind == Value::Kind::text &&
         std::any_of(accepts.later_word.begin(), accepts.later_word.end(),
                     [&](const char* word) { return word != nullptr && value.text == word; });
}

std::string words_of(const Accepts& accepts) {
  Accepts only_words;
  only_words.word = accepts.word;
  return forms_of(only_words);
}

}  // namespace

std::string seen(const Value& value) {
  return value.kind == Value::Kind::text ? in_quotes(value.text) : name_of(value.kind);
}

int word_index(const Accepts& accepts, const Value& value) {
  if (value.kind != Value::Kind::text) return -1;
  for (std::size_t i = 0; i < accepts.word.size(); ++i)
    if (accepts.word[i] != nullptr && value.text == accepts.word[i]) return static_cast<int>(i);
  return -1;
}

Problem unfit(const std::string& name, const Accepts& accepts, const Value& value) {
  if (is_later(accepts, value))
    return {value.at, name + " = " + seen(value) + " is not in this version, which knows only " +
                          words_of(accepts)};
  Problem problem{value.at, name + " wants " + forms_of(accepts) + ", not " + seen(value)};
  if (value.kind != Value::Kind::text) return problem;
  std::vector<std::string_view> words;
  for (const char* word : accepts.word)
    if (word != nullptr) words.push_back(word);
  const std::string_view nearest = nearest_of(value.text, words);
  if (!nearest.empty() && mistakes_between(value.text.substr(0, 64), nearest) <= 2)
    problem.nearest = nearest;
  return problem;
}

namespace {

Problem outside(const std::string& name, const Accepts& accepts, const Value& value) {
  return {value.at, name + " is " + seen(value) + ", outside " + bounds_of(accepts)};
}

// One of the forms that carry a number, checked against its bounds.
template <class T, class InBounds>
std::optional<Problem> settle(const std::string& name, const Accepts& accepts, const Value& value,
                              Reading reading, const T& number, InBounds in_bounds, T& field) {
  if (reading == Reading::malformed) return unfit(name, accepts, value);
  if (reading == Reading::too_large || !in_bounds(number)) return outside(name, accepts, value);
  field = number;
  return std::nullopt;
}

std::optional<Problem> settle_size(const std::string& name, const Accepts& accepts,
                                   const Value& value, Bytes& field) {
  Bytes bytes = 0;
  const Reading reading = value.kind == Value::Kind::text && accepts.is_size
                              ? read_size(value.text, bytes)
                              : Reading::malformed;
  const auto in_bounds = [&](Bytes b) {
    return b >= accepts.size_lowest && b <= accepts.size_highest && b % accepts.size_step == 0;
  };
  return settle(name, accepts, value, reading, bytes, in_bounds, field);
}

std::optional<Problem> settle_share(const std::string& name, const Accepts& accepts,
                                    const Value& value, Share& field) {
  Share share = 0;
  const Reading reading = value.kind == Value::Kind::text && accepts.is_share
                              ? read_share(value.text, share)
                              : Reading::malformed;
  const auto in_bounds = [&](Share s) {
    return s >= accepts.share_lowest && s <= accepts.share_highest;
  };
  return settle(name, accepts, value, reading, share, in_bounds, field);
}

std::optional<Problem> read_amount(const std::string& name, const Accepts& accepts,
                                   const Value& value, Amount& amount) {
  if (word_index(accepts, value) >= 0) {
    for (const AmountWord& known : kAmountWords)
      if (value.text == known.word) amount = Amount{known.kind, 0, 0};
    return std::nullopt;
  }
  const bool with_share = value.kind == Value::Kind::text && value.text.ends_with('%');
  Amount read{with_share ? Amount::Kind::share : Amount::Kind::bytes, 0, 0};
  const auto problem = with_share ? settle_share(name, accepts, value, read.share)
                                  : settle_size(name, accepts, value, read.bytes);
  if (!problem) amount = read;
  return problem;
}

template <class Choice>
std::optional<Problem> read_choice(const Key& key, const Value& value, Choice& choice) {
  const int index = word_index(key.accepts, value);
  if (index < 0) return unfit(key.name.string(), key.accepts, value);
  choice = static_cast<Choice>(index);
  return std::nullopt;
}

template <class Choice>
std::string write_choice(const Key& key, Choice choice) {
  return in_quotes(key.accepts.word[static_cast<std::size_t>(choice)]);
}

std::string write_amount(const Amount& amount) {
  if (amount.kind == Amount::Kind::bytes) return in_quotes(text_of_size(amount.bytes));
  if (amount.kind == Amount::Kind::share) return in_quotes(text_of_share(amount.share));
  for (const AmountWord& known : kAmountWords)
    if (amount.kind == known.kind) return in_quotes(known.word);
  return "?";
}

std::optional<Problem> die_by_number(Position at, std::int64_t number, DieName& die) {
  if (number < 0 || number >= kDiesMax)
    return Problem{at, "die " + std::to_string(number) + " cannot be: dies are numbered 0 to " +
                           std::to_string(kDiesMax - 1)};
  die = {static_cast<int>(number), {}};
  return std::nullopt;
}

std::optional<Problem> die_by_text(Position at, const std::string& text, DieName& die) {
  const bool digits = !text.empty() && text.find_first_not_of("0123456789") == text.npos;
  // Two digits are enough for every die, and cannot overflow.
  if (digits && text.size() <= 2) {
    std::int64_t number = 0;
    for (const char digit : text) number = number * 10 + (digit - '0');
    return die_by_number(at, number, die);
  }
  if (text.starts_with("GPU-") && text.size() > 4 && text.size() <= 40 &&
      text.find_first_not_of("0123456789abcdef-", 4) == text.npos) {
    die = {-1, text};
    return std::nullopt;
  }
  return Problem{
      at, in_quotes(text) + " names no die: a number, or \"GPU-\" and the beginning of its UUID"};
}

std::string in_single_quotes(std::string_view text) {
  const std::string quoted = in_quotes(text);
  return "'" + quoted.substr(1, quoted.size() - 2) + "'";
}

std::string write_die(const DieName& die) {
  return die.index >= 0 ? std::to_string(die.index) : in_quotes(die.uuid);
}

}  // namespace

std::optional<Problem> read(const Key& key, const Value& value, Amount& amount) {
  return read_amount(key.name.string(), key.accepts, value, amount);
}

std::optional<Problem> read(const Key& key, const Value& value, Bytes& bytes) {
  return settle_size(key.name.string(), key.accepts, value, bytes);
}

std::optional<Problem> read(const Key& key, const Value& value, Share& share) {
  return settle_share(key.name.string(), key.accepts, value, share);
}

std::optional<Problem> read(const Key& key, const Value& value, Milliseconds& ms) {
  Milliseconds read_ms = 0;
  const Reading reading =
      value.kind == Value::Kind::text ? read_duration(value.text, read_ms) : Reading::malformed;
  const auto in_bounds = [&](Milliseconds m) {
    return m >= key.accepts.lowest_ms && m <= key.accepts.highest_ms;
  };
  return settle(key.name.string(), key.accepts, value, reading, read_ms, in_bounds, ms);
}

std::optional<Problem> read(const Key& key, const Value& value, bool& toggle) {
  if (value.kind != Value::Kind::boolean) return unfit(key.name.string(), key.accepts, value);
  toggle = value.boolean;
  return std::nullopt;
}

std::optional<Problem> read(const Key& key, const Value& value, Present& present) {
  return read_choice(key, value, present);
}

std::optional<Problem> read(const Key& key, const Value& value, Kernels& kernels) {
  return read_choice(key, value, kernels);
}

std::optional<Problem> read(const Key& key, const Value& value, Processes& processes) {
  return read_choice(key, value, processes);
}

std::optional<Problem> read(const Key& key, const Value& value, Plan& plan) {
  return read_choice(key, value, plan);
}

std::optional<Problem> read(const Key& key, const Value& value, Overlap& overlap) {
  return read_choice(key, value, overlap);
}

std::optional<Problem> read(const Key& key, const Value& value, DieSet& dies) {
  if (word_index(key.accepts, value) >= 0) {
    dies = DieSet{};
    return std::nullopt;
  }
  if (value.kind != Value::Kind::list) return unfit(key.name.string(), key.accepts, value);
  if (value.items.empty()) return Problem{value.at, key.name.string() + " names no die"};
  DieSet read_dies{false, {}};
  for (const Value& item : value.items) {
    DieName die;
    std::optional<Problem> problem;
    if (item.kind == Value::Kind::integer) problem = die_by_number(item.at, item.integer, die);
    else if (item.kind == Value::Kind::text) problem = die_by_text(item.at, item.text, die);
    else problem = unfit(key.name.string(), key.accepts, item);
    if (problem) return problem;
    if (std::find(read_dies.dies.begin(), read_dies.dies.end(), die) != read_dies.dies.end())
      return Problem{item.at, key.name.string() + " names die " + write_die(die) + " twice"};
    read_dies.dies.push_back(die);
  }
  dies = read_dies;
  return std::nullopt;
}

std::optional<Problem> read(const Key& key, const Value& value, DieLimits& limits) {
  if (value.kind != Value::Kind::table) return unfit(key.name.string(), key.accepts, value);
  DieLimits merged = limits;
  Accepts accepts = key.accepts;
  accepts.is_table_of_dies = false;
  for (const Entry& entry : value.entries) {
    DieLimit limit;
    if (auto problem = die_by_text(entry.at, entry.key, limit.die)) return problem;
    const std::string name = key.name.string() + "." + entry.key;
    if (auto problem = read_amount(name, accepts, entry.value, limit.limit)) return problem;
    const auto same = std::find_if(merged.begin(), merged.end(),
                                   [&](const DieLimit& known) { return known.die == limit.die; });
    if (same == merged.end()) merged.push_back(limit);
    else *same = limit;
  }
  limits = merged;
  return std::nullopt;
}

std::string write(const Key&, const Amount& amount) { return write_amount(amount); }
std::string write(const Key&, Bytes bytes) { return in_quotes(text_of_size(bytes)); }
std::string write(const Key&, Share share) { return in_quotes(text_of_share(share)); }
std::string write(const Key&, Milliseconds ms) { return in_quotes(text_of_duration(ms)); }
std::string write(const Key&, bool toggle) { return toggle ? "true" : "false"; }
std::string write(const Key& key, Present present) { return write_choice(key, present); }
std::string write(const Key& key, Kernels kernels) { return write_choice(key, kernels); }
std::string write(const Key& key, Processes processes) { return write_choice(key, processes); }
std::string write(const Key& key, Plan plan) { return write_choice(key, plan); }
std::string write(const Key& key, Overlap overlap) { return write_choice(key, overlap); }

std::string write(const Key&, const DieSet& dies) {
  if (dies.all) return in_quotes("all");
  std::string text = "[";
  for (const DieName& die : dies.dies) text += (text.size() > 1 ? ", " : "") + write_die(die);
  return text + "]";
}

std::string write(const Key&, const DieLimits& limits) {
  if (limits.empty()) return "{}";
  std::string text = "{";
  for (const DieLimit& limit : limits)
    text +=
        (text.size() > 1 ? ", " : " ") + write_die(limit.die) + " = " + write_amount(limit.limit);
  return text + " }";
}

std::string printable(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f)
      shown.append("\\u00").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    else shown += c;
  }
  return shown;
}

std::string in_quotes(std::string_view text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '"' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return '"' + printable(escaped) + '"';
}

Problem unknown_key(std::string_view key, Position at) {
  std::vector<std::string_view> known({"schema", "allocation", "allocation.match",
                                       "allocation.place", "kernel", "kernel.match", "kernel.reach",
                                       "kernel.route", "program", "program.match"});
  for (const Key& row : keys()) {
    const std::string_view name = row.name;
    known.insert(known.end(), {name, name.substr(0, name.rfind('.'))});
  }
  for (const Condition& condition : conditions()) known.push_back(condition.name);
  std::string_view nearest = nearest_of(key, known);
  // A single word may be a leaf whose table was forgotten.
  if (key.find('.') == key.npos) {
    for (const Key& row : keys()) {
      const std::string_view name = row.name;
      const std::string_view leaf = name.substr(name.rfind('.') + 1);
      if (mistakes_between(key.substr(0, 64), leaf) < mistakes_between(key.substr(0, 64), nearest))
        return {at, "unknown key " + in_single_quotes(key), std::string(name)};
    }
  }
  return {at, "unknown key " + in_single_quotes(key), std::string(nearest)};
}

}  // namespace barswap::policy

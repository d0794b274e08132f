#include "policy/schema.hpp"

#include <algorithm>
#include <vector>

#include "policy/read.hpp"

namespace barswap::policy {
namespace {

// The builders that a row begins with.
constexpr Accepts words(const char* a, const char* b = nullptr, const char* c = nullptr) {
  return Accepts{}.words(a, b, c);
}
constexpr Accepts size(std::uint64_t lowest, std::uint64_t highest, std::uint64_t step = 1) {
  return Accepts{}.size(lowest, highest, step);
}
constexpr Accepts share(double lowest, double highest) { return Accepts{}.share(lowest, highest); }
constexpr Accepts duration(Milliseconds lowest, Milliseconds highest) {
  Accepts accepts;
  accepts.is_duration = true;
  accepts.lowest_ms = lowest, accepts.highest_ms = highest;
  return accepts;
}
constexpr Accepts toggle() {
  Accepts accepts;
  accepts.is_toggle = true;
  return accepts;
}
constexpr Accepts table_of_dies() {
  Accepts accepts;
  accepts.is_table_of_dies = true;
  return accepts;
}

// "a, b or c".
std::string list_of(const std::vector<std::string>& forms) {
  std::string text;
  for (std::size_t i = 0; i < forms.size(); ++i) {
    if (i > 0) text += i + 1 == forms.size() ? " or " : ", ";
    text += forms[i];
  }
  return text;
}

}  // namespace

std::span<const Key> keys() {
  static constexpr Key all[] = {
#define BARSWAP_KEY(group, leaf, type, initial, accepts, sentence, cost) \
  {{#group, #leaf},                                                      \
   accepts,                                                              \
   sentence,                                                             \
   cost,                                                                 \
   [](const Key& key, const Value& value, Options& options) {            \
     return read(key, value, options.BARSWAP_FIELD_##type(group, leaf)); \
   },                                                                    \
   [](const Key& key, const Options& options) {                          \
     return write(key, options.BARSWAP_FIELD_##type(group, leaf));       \
   }},
#include "policy/schema.def"
  };
  return all;
}

std::span<const Condition> conditions() {
  static constexpr Condition all[] = {
#define BARSWAP_ALLOCATION(leaf, type, example, sentence) \
  {"allocation.match." #leaf, example, sentence},
#define BARSWAP_KERNEL(leaf, type, example, sentence) {"kernel.match." #leaf, example, sentence},
#define BARSWAP_PROGRAM(leaf, type, example, sentence) {"program.match." #leaf, example, sentence},
#include "policy/schema.def"
  };
  return all;
}

std::span<const std::string_view> later_keys() {
  static constexpr std::string_view all[] = {
#define BARSWAP_LATER(key) key,
#include "policy/schema.def"
  };
  return all;
}

std::string forms_of(const Accepts& accepts) {
  std::vector<std::string> forms;
  if (accepts.is_table_of_dies) forms.push_back("a table such as { 1 = \"12GiB\" }");
  if (accepts.is_table_of_dies) return list_of(forms);
  for (const char* word : accepts.word)
    if (word != nullptr) forms.push_back('"' + std::string(word) + '"');
  // Examples that the key would take.
  if (accepts.is_size)
    forms.push_back(accepts.size_highest >= 20_GiB ? "a size such as \"20GiB\""
                                                   : "a size such as \"8MiB\"");
  if (accepts.is_share)
    forms.push_back(accepts.share_highest >= 0.8 ? "a share such as \"80%\""
                                                 : "a share such as \"5%\"");
  if (accepts.is_duration) forms.push_back("a duration such as \"50ms\"");
  if (accepts.is_toggle) forms.insert(forms.end(), {"true", "false"});
  if (accepts.is_dies) forms.push_back("a list of dies such as [0, 1] or [\"GPU-5a1b\"]");
  return list_of(forms);
}

std::string bounds_of(const Accepts& accepts) {
  std::vector<std::string> bounds;
  if (accepts.is_size)
    bounds.push_back(text_of_size(accepts.size_lowest) + " to " +
                     text_of_size(accepts.size_highest) +
                     (accepts.size_step > 1 ? " in steps of " + text_of_size(accepts.size_step)
                                            : std::string()));
  if (accepts.is_share)
    bounds.push_back(text_of_share(accepts.share_lowest) + " to " +
                     text_of_share(accepts.share_highest));
  if (accepts.is_duration)
    bounds.push_back(text_of_duration(accepts.lowest_ms) + " to " +
                     text_of_duration(accepts.highest_ms));
  return list_of(bounds);
}

}  // namespace barswap::policy

#include "dies/launched.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace barswap::dies {

// A name has no blank (visible.hpp); what was given may have any.
std::string write_launched(const Launched& launched) {
  std::string note = std::to_string(launched.choice.number) + " " + launched.choice.name;
  if (launched.given) note += " " + *launched.given;
  return note;
}

std::optional<Launched> read_launched(const char* note, const char* visible) {
  if (!note || !visible) return std::nullopt;
  std::string_view rest = note;
  Launched launched;
  const char* end = rest.data() + std::min(rest.find(' '), rest.size());
  const auto [stop, error] = std::from_chars(rest.data(), end, launched.choice.number);
  if (error != std::errc() || stop != end || end == rest.data() + rest.size() ||
      launched.choice.number < 0)
    return std::nullopt;
  rest.remove_prefix(static_cast<std::size_t>(end - rest.data()) + 1);
  const std::size_t blank = std::min(rest.find(' '), rest.size());
  launched.choice.name = rest.substr(0, blank);
  if (launched.choice.name.empty() || launched.choice.name != visible) return std::nullopt;
  if (blank < rest.size()) launched.given = rest.substr(blank + 1);
  return launched;
}

}  // namespace barswap::dies

#include "dies/visible.hpp"

#include <algorithm>
#include <charconv>
#include <string_view>

namespace barswap::dies {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

std::optional<std::size_t> place_of_uuid(std::string_view entry,
                                         std::span<const std::string> uuids) {
  const auto named = [&](const std::string& uuid) { return uuid.starts_with(entry); };
  const auto found = std::find_if(uuids.begin(), uuids.end(), named);
  // A beginning that several share names none.
  if (found == uuids.end() || std::find_if(found + 1, uuids.end(), named) != uuids.end())
    return std::nullopt;
  return static_cast<std::size_t>(found - uuids.begin());
}

std::optional<std::size_t> place_of(std::string_view entry, std::span<const std::string> uuids) {
  if (entry.starts_with("GPU-")) return place_of_uuid(entry, uuids);
  std::size_t number = 0;
  const auto [end, error] = std::from_chars(entry.data(), entry.data() + entry.size(), number);
  const bool whole = error == std::errc() && end == entry.data() + entry.size();
  return whole && number < uuids.size() ? std::optional(number) : std::nullopt;
}

std::vector<Visible> all_of(std::span<const std::string> uuids) {
  std::vector<Visible> all;
  for (std::size_t i = 0; i < uuids.size(); ++i) all.push_back({i, uuids[i]});
  return all;
}

}  // namespace

std::optional<std::vector<Visible>> visible_of(const char* value,
                                               std::span<const std::string> uuids) {
  if (!value) return all_of(uuids);
  std::string_view rest = value;
  if (rest.find("MIG-") != rest.npos) return std::nullopt;
  std::vector<Visible> visible;
  while (true) {
    const std::size_t end = std::min(rest.find(','), rest.size());
    const std::string_view entry = trimmed(rest.substr(0, end));
    const auto place = place_of(entry, uuids);
    if (!place) break;
    visible.push_back({*place, std::string(entry)});
    if (end == rest.size()) break;
    rest.remove_prefix(end + 1);
  }
  if (visible.empty()) return std::nullopt;
  return visible;
}

}  // namespace barswap::dies

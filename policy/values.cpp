#include "policy/values.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace barswap::policy {
namespace {

struct Unit {
  const char* name;
  std::uint64_t factor;
};
// Only units of 1024: "GB" means two things to two readers.
constexpr std::array<Unit, 5> kSizeUnits{
    {{"B", 1}, {"KiB", 1_KiB}, {"MiB", 1_MiB}, {"GiB", 1_GiB}, {"TiB", 1_TiB}}};
constexpr std::array<Unit, 2> kDurationUnits{{{"ms", 1}, {"s", 1000}}};
// Six digits after the point keep a fraction of a TiB inside 64 bits.
constexpr int kFractionDigitsMax = 6;

// A decimal number at the head of a text: whole + fraction / scale.
struct Decimal {
  std::uint64_t whole = 0;
  std::uint64_t fraction = 0;
  std::uint64_t scale = 1;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }

Reading take_whole(std::string_view& text, std::uint64_t& whole) {
  if (text.empty() || !is_digit(text.front())) return Reading::malformed;
  bool fits = true;
  whole = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1)) {
    const auto digit = static_cast<std::uint64_t>(text.front() - '0');
    fits = fits && !__builtin_mul_overflow(whole, 10U, &whole) &&
           !__builtin_add_overflow(whole, digit, &whole);
  }
  return fits ? Reading::good : Reading::too_large;
}

Reading take_decimal(std::string_view& text, Decimal& decimal) {
  const Reading whole = take_whole(text, decimal.whole);
  if (whole == Reading::malformed || text.empty() || text.front() != '.') return whole;
  text.remove_prefix(1);
  int digits = 0;
  for (; !text.empty() && is_digit(text.front()); text.remove_prefix(1), ++digits) {
    if (digits >= kFractionDigitsMax) return Reading::malformed;
    decimal.fraction = decimal.fraction * 10 + static_cast<std::uint64_t>(text.front() - '0');
    decimal.scale *= 10;
  }
  return digits == 0 ? Reading::malformed : whole;
}

Reading read_with_unit(std::string_view text, std::span<const Unit> units, std::uint64_t& value) {
  Decimal decimal;
  const Reading reading = take_decimal(text, decimal);
  if (reading == Reading::malformed) return reading;
  const auto unit =
      std::find_if(units.begin(), units.end(), [&](const Unit& u) { return text == u.name; });
  if (unit == units.end()) return Reading::malformed;
  const std::uint64_t fraction = decimal.fraction * unit->factor / decimal.scale;
  if (reading == Reading::too_large ||
      __builtin_mul_overflow(decimal.whole, unit->factor, &value) ||
      __builtin_add_overflow(value, fraction, &value))
    return Reading::too_large;
  return Reading::good;
}

Reading read_count(std::string_view text, std::uint64_t& count) {
  const Reading reading = take_whole(text, count);
  return text.empty() ? reading : Reading::malformed;
}

struct Ends {
  std::uint64_t lowest = 0;
  std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
};

template <class ReadOne>
Reading read_between(std::string_view low, std::string_view high, ReadOne read_one, Ends& ends) {
  const Reading first = read_one(low, ends.lowest);
  const Reading second = read_one(high, ends.highest);
  if (first == Reading::malformed || second == Reading::malformed) return Reading::malformed;
  if (first == Reading::too_large || second == Reading::too_large) return Reading::too_large;
  return ends.lowest <= ends.highest ? Reading::good : Reading::malformed;
}

template <class ReadOne>
Reading read_ends(std::string_view text, ReadOne read_one, Ends& ends) {
  if (const std::size_t dots = text.find(".."); dots != std::string_view::npos)
    return read_between(text.substr(0, dots), text.substr(dots + 2), read_one, ends);
  const bool above = text.starts_with('>'), below = text.starts_with('<');
  if (!above && !below) {
    const Reading reading = read_one(text, ends.lowest);
    ends.highest = ends.lowest;
    return reading;
  }
  text.remove_prefix(1);
  const bool itself = text.starts_with('=');
  if (itself) text.remove_prefix(1);
  std::uint64_t end = 0;
  if (const Reading reading = read_one(text, end); reading != Reading::good) return reading;
  // Nothing is below zero or above the largest number: such a range names nothing.
  if (!itself && end == (above ? std::numeric_limits<std::uint64_t>::max() : 0))
    return Reading::malformed;
  if (above) ends.lowest = itself ? end : end + 1;
  if (below) ends.highest = itself ? end : end - 1;
  return Reading::good;
}

std::string text_of_ends(const Ends& ends, std::string (*text_of_one)(std::uint64_t)) {
  if (ends.lowest == ends.highest) return text_of_one(ends.lowest);
  if (ends.highest == std::numeric_limits<std::uint64_t>::max())
    return ">=" + text_of_one(ends.lowest);
  if (ends.lowest == 0) return "<=" + text_of_one(ends.highest);
  return text_of_one(ends.lowest) + ".." + text_of_one(ends.highest);
}

}  // namespace

Reading read_size(std::string_view text, Bytes& bytes) {
  return read_with_unit(text, kSizeUnits, bytes);
}

Reading read_share(std::string_view text, Share& share) {
  if (!text.ends_with('%')) return Reading::malformed;
  text.remove_suffix(1);
  Decimal decimal;
  const Reading reading = take_decimal(text, decimal);
  if (reading != Reading::good || !text.empty()) return text.empty() ? reading : Reading::malformed;
  // One division, so that "2%" is the same number as 0.02 in the schema.
  share = static_cast<double>(decimal.whole * decimal.scale + decimal.fraction) /
          static_cast<double>(100 * decimal.scale);
  return decimal.whole <= 1'000'000 ? Reading::good : Reading::too_large;
}

Reading read_duration(std::string_view text, Milliseconds& ms) {
  std::uint64_t value = 0;
  const Reading reading = read_with_unit(text, kDurationUnits, value);
  if (reading != Reading::good) return reading;
  if (value > std::numeric_limits<Milliseconds>::max()) return Reading::too_large;
  ms = static_cast<Milliseconds>(value);
  return Reading::good;
}

Reading read_range(std::string_view text, SizeRange& range) {
  Ends ends;
  const Reading reading = read_ends(text, read_size, ends);
  if (reading == Reading::good) range = {ends.lowest, ends.highest};
  return reading;
}

Reading read_range(std::string_view text, CountRange& range) {
  Ends ends;
  const Reading reading = read_ends(text, read_count, ends);
  if (reading == Reading::good) range = {ends.lowest, ends.highest};
  return reading;
}

std::string text_of_size(Bytes bytes) {
  const auto unit = std::find_if(kSizeUnits.rbegin(), kSizeUnits.rend(), [&](const Unit& u) {
    return bytes >= u.factor && bytes % u.factor == 0;
  });
  if (unit == kSizeUnits.rend()) return "0B";
  return std::to_string(bytes / unit->factor) + unit->name;
}

std::string text_of_share(Share share) {
  // By hand: the program may have set a locale whose decimal point is a comma.
  const auto ten_thousandths = static_cast<std::uint64_t>(std::llround(share * 1'000'000));
  std::string text = std::to_string(ten_thousandths / 10'000);
  if (std::uint64_t rest = ten_thousandths % 10'000; rest != 0) {
    std::string digits = std::to_string(rest + 10'000).substr(1);
    while (digits.back() == '0') digits.pop_back();
    text += "." + digits;
  }
  return text + "%";
}

std::string text_of_duration(Milliseconds ms) {
  return ms != 0 && ms % 1000 == 0 ? std::to_string(ms / 1000) + "s" : std::to_string(ms) + "ms";
}

std::string text_of_range(const SizeRange& range) {
  return text_of_ends({range.lowest_bytes, range.highest_bytes}, text_of_size);
}

std::string text_of_range(const CountRange& range) {
  return text_of_ends({range.lowest, range.highest},
                      [](std::uint64_t count) { return std::to_string(count); });
}

bool matches(std::string_view glob, std::string_view text) {
  // On a mismatch, let the last star take one more character. Earlier stars need no second chance,
  // so the work is at most length times length.
  std::size_t g = 0, t = 0, star = std::string_view::npos, star_t = 0;
  while (t < text.size()) {
    if (g < glob.size() && glob[g] == '*') {
      star = g++;
      star_t = t;
    } else if (g < glob.size() && (glob[g] == '?' || glob[g] == text[t])) {
      ++g, ++t;
    } else if (star != std::string_view::npos) {
      g = star + 1;
      t = ++star_t;
    } else {
      return false;
    }
  }
  return glob.find_first_not_of('*', g) == std::string_view::npos;
}

std::string_view name_of_path(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

bool matches_path(std::string_view glob, std::string_view path) {
  return matches(glob, glob.find('/') == std::string_view::npos ? name_of_path(path) : path);
}

std::size_t mistakes_between(std::string_view left, std::string_view right) {
  // Rows of the usual table; `before` is two rows up, for swapped neighbours.
  std::vector<std::size_t> before, above(right.size() + 1), row(right.size() + 1);
  for (std::size_t j = 0; j <= right.size(); ++j) above[j] = j;
  for (std::size_t i = 1; i <= left.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= right.size(); ++j) {
      const std::size_t wrong = above[j - 1] + (left[i - 1] == right[j - 1] ? 0 : 1);
      row[j] = std::min({wrong, above[j] + 1, row[j - 1] + 1});
      if (i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before = above;
    above = row;
  }
  return above[right.size()];
}

std::string_view nearest_of(std::string_view word, std::span<const std::string_view> candidates) {
  // Long words are cut: a key has few letters, and a text may have many.
  const std::string_view head = word.substr(0, 64);
  std::string_view nearest;
  std::size_t fewest = std::numeric_limits<std::size_t>::max();
  for (const std::string_view candidate : candidates) {
    const std::size_t mistakes = mistakes_between(head, candidate);
    if (mistakes < fewest) {
      fewest = mistakes;
      nearest = candidate;
    }
  }
  return nearest;
}

}  // namespace barswap::policy

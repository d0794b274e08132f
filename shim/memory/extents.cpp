#include "memory/extents.hpp"

#include <iterator>

#include "barswap/check.hpp"

namespace barswap::memory {

void Extents::insert(std::uint64_t start, std::uint64_t bytes) {
  by_start_.emplace(start, bytes);
  by_size_.emplace(bytes, start);
}

void Extents::erase(std::map<std::uint64_t, std::uint64_t>::iterator stretch) {
  by_size_.erase({stretch->second, stretch->first});
  by_start_.erase(stretch);
}

void Extents::add(std::uint64_t start, std::uint64_t bytes) {
  free_bytes_ += bytes;
  auto next = by_start_.lower_bound(start);
  BARSWAP_CHECK((next == by_start_.end() || start + bytes <= next->first) && "freed once");
  if (next != by_start_.begin()) {
    auto before = std::prev(next);
    BARSWAP_CHECK(before->first + before->second <= start && "freed once");
    if (before->first + before->second == start && may_join_at(start)) {
      start = before->first;
      bytes += before->second;
      erase(before);
    }
  }
  next = by_start_.lower_bound(start);
  if (next != by_start_.end() && start + bytes == next->first && may_join_at(next->first)) {
    bytes += next->second;
    erase(next);
  }
  insert(start, bytes);
}

std::optional<std::uint64_t> Extents::take(std::uint64_t bytes) {
  const auto fit = by_size_.lower_bound({bytes, 0});
  if (fit == by_size_.end()) return std::nullopt;
  const auto [size, start] = *fit;
  erase(by_start_.find(start));
  if (size > bytes) insert(start + bytes, size - bytes);
  free_bytes_ -= bytes;
  return start;
}

bool Extents::take_at(std::uint64_t start, std::uint64_t bytes) {
  auto stretch = by_start_.upper_bound(start);
  if (stretch == by_start_.begin()) return false;
  --stretch;
  const auto [first, size] = *stretch;
  if (start + bytes > first + size) return false;
  erase(stretch);
  if (start > first) insert(first, start - first);
  if (first + size > start + bytes) insert(start + bytes, first + size - start - bytes);
  free_bytes_ -= bytes;
  return true;
}

}  // namespace barswap::memory

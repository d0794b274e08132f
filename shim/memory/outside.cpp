#include "memory/outside.hpp"

#include "barswap/log.hpp"
#include "stats/stats.hpp"

namespace barswap::memory {

void Outside::grew(OutsideKind kind, std::uint64_t key, Die die, std::uint64_t bytes) {
  {
    Lock lock(mutex_);
    const bool fresh =
        entries_[static_cast<std::size_t>(kind)].insert_or_assign(key, Entry{die, bytes}).second;
    if (fresh && has_address(kind)) addressed_.fetch_add(1, std::memory_order_relaxed);
    held_bytes_[index_of(die)] += bytes;
  }
  stats::add(stats::live().die[index_of(die)].outside, bytes);
  BARSWAP_LOG(debug, "memory", "%llu bytes stay with the driver, kind %d, on die %d",
              static_cast<unsigned long long>(bytes), static_cast<int>(kind), index_of(die));
  pager_.outside_changed(die, static_cast<std::int64_t>(bytes));
}

bool Outside::shrank(OutsideKind kind, std::uint64_t key) {
  Entry entry{};
  {
    Lock lock(mutex_);
    auto& entries = entries_[static_cast<std::size_t>(kind)];
    const auto found = entries.find(key);
    if (found == entries.end()) return false;
    entry = found->second;
    entries.erase(found);
    if (has_address(kind)) addressed_.fetch_sub(1, std::memory_order_relaxed);
    held_bytes_[index_of(entry.die)] -= entry.bytes;
  }
  stats::subtract(stats::live().die[index_of(entry.die)].outside, entry.bytes);
  pager_.outside_changed(entry.die, -static_cast<std::int64_t>(entry.bytes));
  return true;
}

std::uint64_t Outside::held_bytes(Die die) const {
  Lock lock(mutex_);
  return held_bytes_[index_of(die)];
}

}  // namespace barswap::memory

// The table of ranges: what is entered, found and left in it, and the account of what was asked.
#include "memory/memory.hpp"
#include "stats/stats.hpp"
#include "trace/trace.hpp"

namespace barswap::memory {

void Memory::publish(Range& range) {
  range.buffer_id = next_id_++;
  ranges_.emplace(value_of(range.base), range);
  if (trace::on()) {
    const pager::Pager::RunName run = pager_.name_of(range.run);
    trace::allocated({range.buffer_id, range.home, range.asked_bytes, run.number,
                      value_of(range.base) - value_of(run.base)});
  }
  // What a handle holds is counted from its creation to its end, mapped or not.
  if (range.handle != 0) return;
  const std::uint64_t bytes =
      range.packed ? round_up(range.asked_bytes, kSlotBytes) : range.mapping_bytes;
  held_bytes_[slot(range.home)] += bytes;
  barswap_die_stats& die = stats::live().die[slot(range.home)];
  stats::add(die.asked, range.asked_bytes);
  stats::raise_to(die.asked_peak, stats::get(die.asked));
}

void Memory::forget(const Range& range) {
  const std::uint64_t bytes =
      range.packed ? round_up(range.asked_bytes, kSlotBytes) : range.mapping_bytes;
  held_bytes_[slot(range.home)] -= bytes;
  stats::subtract(stats::live().die[slot(range.home)].asked, range.asked_bytes);
  stats::add(stats::live().frees, 1);
  trace::freed(range.home, range.buffer_id);
  ranges_.erase(value_of(range.base));
}

std::optional<Range> Memory::find(Address address) const {
  Lock lock(mutex_);
  auto after = ranges_.upper_bound(value_of(address));
  if (after == ranges_.begin()) return std::nullopt;
  const Range& range = std::prev(after)->second;
  if (value_of(address) - value_of(range.base) >= range.asked_bytes) return std::nullopt;
  return range;
}

std::optional<Range> Memory::at(Address base) const {
  Lock lock(mutex_);
  const auto found = ranges_.find(value_of(base));
  if (found == ranges_.end()) return std::nullopt;
  return found->second;
}

bool Memory::set_sync_memops(Address address, bool on) {
  Lock lock(mutex_);
  auto after = ranges_.upper_bound(value_of(address));
  if (after == ranges_.begin()) return false;
  Range& range = std::prev(after)->second;
  if (value_of(address) - value_of(range.base) >= range.asked_bytes) return false;
  range.sync_memops = on;
  return true;
}

Result<void> Memory::pin(Address address) {
  const auto range = find(address);
  if (!range) return Error{Fault::invalid};
  return pager_.pin(range->run);
}

}  // namespace barswap::memory

#include "pager/flights.hpp"

#include <algorithm>

#include "base/futex.hpp"

namespace barswap::pager {

std::atomic<Flights*> Flights::current_{nullptr};

// What was submitted until now said nothing.
void Flights::start() {
  if (current() == this) return;
  everything_.store(epoch_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  current_.store(this, std::memory_order_release);
}

void Flights::stop() {
  Flights* mine = this;
  current_.compare_exchange_strong(mine, nullptr, std::memory_order_acq_rel);
}

// Whoever is turned away leaves no mark, since the range would seem named by work that was never
// submitted. A hold that is set in between is that of an epoch which ends when we have left the
// gate.
bool Flights::board(const Names& names) {
  // In this order: a range is made absent before its hold ends.
  if (held(names) || absent_for(names)) return false;
  if (names.everything()) {
    name_everything();
    return true;
  }
  const std::uint64_t epoch = epoch_.load(std::memory_order_relaxed);
  for (const Address base : names.bases()) {
    Mark* mark = marks_.of(value_of(base));
    // Read first: ranges are named over and over, by threads that would share the line.
    if (mark && mark->last.load(std::memory_order_relaxed) != epoch)
      mark->last.store(epoch, std::memory_order_relaxed);
  }
  return true;
}

void Flights::name_everything() {
  const std::uint64_t epoch = epoch_.load(std::memory_order_relaxed);
  if (everything_.load(std::memory_order_relaxed) != epoch)
    everything_.store(epoch, std::memory_order_relaxed);
}

bool Flights::held(const Names& names) const {
  if (names.everything()) return holds_.load(std::memory_order_acquire) != 0;
  return std::any_of(names.bases().begin(), names.bases().end(), [&](Address base) {
    const Mark* mark = marks_.of(value_of(base));
    return mark && mark->held.load() != 0;
  });
}

bool Flights::absent_for(const Names& names) const {
  if (names.everything()) return any_absent();
  return std::any_of(names.bases().begin(), names.bases().end(), [&](Address base) {
    const Mark* mark = marks_.of(value_of(base));
    return mark && mark->absent.load(std::memory_order_acquire) != 0;
  });
}

void Flights::wait() const {
  constexpr std::uint64_t kLimitNs = 1'000'000;  // against a wake-up that was lost
  const std::uint32_t holds = holds_.load(std::memory_order_acquire);
  if (holds != 0) futex_wait(holds_, holds, kLimitNs);
}

bool Flights::hold(Address base) {
  Mark* mark = marks_.of(value_of(base));
  if (!mark) return false;
  if (mark->held.load(std::memory_order_relaxed) != 0) return true;
  const std::uint32_t count = holds_.load(std::memory_order_relaxed);
  if (count == held_.size()) return false;
  mark->held.store(1, std::memory_order_seq_cst);
  held_[count] = &mark->held;
  holds_.store(count + 1, std::memory_order_seq_cst);
  return true;
}

void Flights::let_go() {
  const std::uint32_t count = holds_.load(std::memory_order_relaxed);
  for (std::uint32_t i = 0; i < count; ++i) held_[i]->store(0, std::memory_order_release);
  holds_.store(0, std::memory_order_release);
  if (count != 0) futex_wake(holds_);
}

// Who is turned away by the hold sees this once the hold ends.
void Flights::make_absent(Address base) {
  Mark* mark = marks_.of(value_of(base));
  if (!mark || mark->absent.exchange(1, std::memory_order_release) != 0) return;
  absent_.push_back(base);
  absents_.store(static_cast<std::uint32_t>(absent_.size()), std::memory_order_release);
}

void Flights::make_present(Address base) {
  Mark* mark = marks_.of(value_of(base));
  if (!mark) return;
  std::erase(absent_, base);
  mark->absent.store(0, std::memory_order_release);
  absents_.store(static_cast<std::uint32_t>(absent_.size()), std::memory_order_release);
}

std::vector<Address> Flights::absent_of(const Names& names) const {
  if (names.everything()) return absent_;
  std::vector<Address> named;
  for (const Address base : names.bases())
    if (std::find(absent_.begin(), absent_.end(), base) != absent_.end()) named.push_back(base);
  return named;
}

bool Flights::at_rest(Address base) const {
  const Mark* mark = marks_.of(value_of(base));
  return mark && std::max(mark->last.load(std::memory_order_relaxed),
                          everything_.load(std::memory_order_relaxed)) <= done_;
}

}  // namespace barswap::pager

#include "pager/frames.hpp"

#include <algorithm>

#include "barswap/log.hpp"
#include "base/host_memory.hpp"
#include "stats/stats.hpp"

namespace barswap::pager {
namespace {

// Left to the rest of the machine, whatever the policy says.
std::uint64_t machine_reserve_bytes() {
  return std::max<std::uint64_t>(2_GiB, host_total_bytes() / 20);
}

// Page tables of host pages: one 8-byte entry for each 4 KiB, on each die that maps them.
constexpr std::uint64_t table_bytes(std::uint64_t host_bytes) { return host_bytes / 512; }

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

}  // namespace

void Frames::set_budget(Die die, std::uint64_t budget_bytes) {
  Lock lock(mutex_);
  dies_[slot(die)].budget_bytes = budget_bytes;
  dies_[slot(die)].start_budget_bytes = budget_bytes;
}

void Frames::set_host(bool enabled, const policy::Amount& limit) {
  Lock lock(mutex_);
  host_enabled_ = enabled;
  host_limit_ = limit;
}

std::uint64_t Frames::in_force(const DieBooks& books) const {
  const std::uint64_t taken = books.outside_bytes + table_bytes(books.host_mapped_bytes);
  return books.budget_bytes - std::min(books.budget_bytes, taken);
}

std::uint64_t Frames::budget(Die die) const {
  Lock lock(mutex_);
  return in_force(dies_[slot(die)]);
}

std::uint64_t Frames::used(Die die) const {
  Lock lock(mutex_);
  return dies_[slot(die)].held_bytes - dies_[slot(die)].warm_bytes;
}

std::uint64_t Frames::held(Die die) const {
  Lock lock(mutex_);
  return dies_[slot(die)].held_bytes;
}

std::uint64_t Frames::lent(Die die) const {
  Lock lock(mutex_);
  return dies_[slot(die)].lent_bytes;
}

std::uint64_t Frames::free_hbm(Die die) const {
  Lock lock(mutex_);
  const DieBooks& books = dies_[slot(die)];
  const std::uint64_t used_bytes = books.held_bytes - books.warm_bytes;
  return in_force(books) - std::min(in_force(books), used_bytes);
}

std::uint64_t Frames::host_limit_locked() const {
  if (!host_enabled_) return 0;
  // The driver refuses every kind of host frame: what is held is all there will be.
  if (host_kind_.load(std::memory_order_relaxed) == driver::HostKind::none) return host_held_bytes_;
  const std::uint64_t available = host_available_bytes();
  const std::uint64_t reserve = machine_reserve_bytes();
  const std::uint64_t machine = host_held_bytes_ + available - std::min(available, reserve);
  if (host_limit_.kind == policy::Amount::Kind::bytes) return std::min(machine, host_limit_.bytes);
  const double share = host_limit_.kind == policy::Amount::Kind::share ? host_limit_.share : 1.0;
  const double whole = static_cast<double>(host_held_bytes_) + static_cast<double>(available);
  return std::min(machine, static_cast<std::uint64_t>(whole * share));
}

std::uint64_t Frames::host_limit() const {
  Lock lock(mutex_);
  return host_limit_locked();
}

bool Frames::host_enabled() const {
  Lock lock(mutex_);
  return host_enabled_;
}

std::uint64_t Frames::host_bytes() const {
  Lock lock(mutex_);
  return host_held_bytes_;
}

std::uint64_t Frames::host_prepared() const {
  Lock lock(mutex_);
  return host_prepared_bytes_;
}

std::uint64_t Frames::host_prepared(std::uint64_t size_bytes) const {
  Lock lock(mutex_);
  return prepared_.count(size_bytes) * size_bytes;
}

std::uint64_t Frames::host_copies() const {
  Lock lock(mutex_);
  return host_copies_bytes_;
}

std::uint64_t Frames::host_needed() const {
  Lock lock(mutex_);
  return host_held_bytes_ - host_prepared_bytes_ - host_copies_bytes_;
}

bool Frames::host_room() const {
  Lock lock(mutex_);
  return host_held_bytes_ <= host_limit_locked();
}

void Frames::copies_changed(std::int64_t bytes) {
  Lock lock(mutex_);
  host_copies_bytes_ += static_cast<std::uint64_t>(bytes);
}

Result<Frame> Frames::take_hbm(Die die, std::uint64_t bytes, std::uint64_t keep_free_bytes) {
  std::vector<driver::Handle> surplus;
  Frame frame{driver::Handle::none, bytes, Tier::hbm, die, false};
  {
    Lock lock(mutex_);
    DieBooks& books = dies_[slot(die)];
    const std::uint64_t limit = in_force(books);
    const std::uint64_t used_bytes = books.held_bytes - books.warm_bytes;
    if (used_bytes + bytes + keep_free_bytes > limit) return Error{Fault::out_of_memory};
    const auto fitting = books.warm.find(bytes);
    if (fitting != books.warm.end()) {
      frame.handle = fitting->second;
      books.warm.erase(fitting);
      books.warm_bytes -= bytes;
      return frame;
    }
    // Warm frames of other sizes make place for this one.
    while (books.held_bytes + bytes > limit && !books.warm.empty()) {
      const auto largest = std::prev(books.warm.end());
      surplus.push_back(largest->second);
      books.held_bytes -= largest->first;
      books.warm_bytes -= largest->first;
      books.warm.erase(largest);
    }
    books.held_bytes += bytes;
  }
  for (const driver::Handle handle : surplus) release(handle);
  auto handle = verbs_.create({Tier::hbm, die, driver::HostKind::none, 0, false}, bytes);
  if (!handle && driver::refused_for_memory(handle.error()) && release_warm(die) > 0)
    handle = verbs_.create({Tier::hbm, die, driver::HostKind::none, 0, false}, bytes);
  if (handle) {
    frame.handle = *handle;
    return frame;
  }
  {
    Lock lock(mutex_);
    dies_[slot(die)].held_bytes -= bytes;
  }
  if (!driver::refused_for_memory(handle.error())) return handle.error();
  cap_budget_at_held(die);
  return Error{Fault::out_of_memory};
}

Result<Frame> Frames::take_lent(Die lender, std::uint64_t bytes, std::uint64_t keep_free_bytes) {
  Frame frame = BARSWAP_TRY(take_hbm(lender, bytes, keep_free_bytes));
  frame.tier = Tier::peer;
  Lock lock(mutex_);
  dies_[slot(lender)].lent_bytes += bytes;
  return frame;
}

Result<Frame> Frames::take_rdma(Die die, std::uint64_t bytes) {
  auto capable = verbs_.rdma_capable(die);
  return make_hbm(die, bytes, capable && *capable, false);
}

Result<Frame> Frames::make_hbm(Die die, std::uint64_t bytes, bool rdma, bool past_limit) {
  {
    Lock lock(mutex_);
    DieBooks& books = dies_[slot(die)];
    if (!past_limit && books.held_bytes - books.warm_bytes + bytes > in_force(books))
      return Error{Fault::out_of_memory};
    books.held_bytes += bytes;
  }
  auto handle = verbs_.create({Tier::hbm, die, driver::HostKind::none, 0, rdma}, bytes);
  if (!handle && driver::refused_for_memory(handle.error()) && release_warm(die) > 0)
    handle = verbs_.create({Tier::hbm, die, driver::HostKind::none, 0, rdma}, bytes);
  if (handle) return Frame{*handle, bytes, Tier::hbm, die, rdma};
  Lock lock(mutex_);
  dies_[slot(die)].held_bytes -= bytes;
  return handle.error();
}

Result<Frame> Frames::make_host(Die near, std::uint64_t bytes, bool past_limit) {
  {
    Lock lock(mutex_);
    if (!past_limit && host_held_bytes_ + bytes > host_limit_locked())
      return Error{Fault::out_of_memory};
    host_held_bytes_ += bytes;
  }
  auto node = verbs_.numa_node(near);
  Error refusal{Fault::out_of_memory};
  for (;;) {
    const driver::HostKind kind = host_kind_.load(std::memory_order_relaxed);
    if (kind == driver::HostKind::none) break;
    auto handle = verbs_.create({Tier::host, near, kind, node ? *node : 0, false}, bytes);
    if (handle) return Frame{*handle, bytes, Tier::host, near, false};
    refusal = handle.error();
    if (driver::refused_for_memory(refusal)) break;
    // The driver does not know this kind of place, or the container forbids it: the next kind.
    const bool numa = kind == driver::HostKind::numa;
    host_kind_.store(numa ? driver::HostKind::plain : driver::HostKind::none,
                     std::memory_order_relaxed);
    BARSWAP_LOG(info, "pager", "host frames: the driver refuses %s (code %d)",
                numa ? "HOST_NUMA" : "HOST", refusal.driver_code);
  }
  Lock lock(mutex_);
  host_held_bytes_ -= bytes;
  return Error{Fault::out_of_memory};
}

Result<Frame> Frames::take_host(Die near, std::uint64_t bytes) {
  {
    Lock lock(mutex_);
    const auto fitting = prepared_.find(bytes);
    if (fitting != prepared_.end()) {
      const Frame frame{fitting->second, bytes, Tier::host, near, false};
      prepared_.erase(fitting);
      host_prepared_bytes_ -= bytes;
      return frame;
    }
  }
  auto frame = make_host(near, bytes, false);
  if (frame) return frame;
  // Prepared frames of other sizes make place for this one.
  std::vector<driver::Handle> surplus;
  {
    Lock lock(mutex_);
    std::uint64_t freed = 0;
    while (freed < bytes && !prepared_.empty()) {
      const auto largest = std::prev(prepared_.end());
      surplus.push_back(largest->second);
      freed += largest->first;
      host_held_bytes_ -= largest->first;
      host_prepared_bytes_ -= largest->first;
      prepared_.erase(largest);
    }
    if (freed < bytes && surplus.empty()) return frame.error();
  }
  for (const driver::Handle handle : surplus) release(handle);
  host_available_grew();
  return make_host(near, bytes, false);
}

void Frames::give_back(const Frame& frame) {
  {
    Lock lock(mutex_);
    if (frame.tier != Tier::host && !frame.rdma_capable) {
      DieBooks& books = dies_[slot(frame.die)];
      if (books.held_bytes <= in_force(books)) {
        if (frame.tier == Tier::peer) books.lent_bytes -= frame.bytes;
        books.warm.emplace(frame.bytes, frame.handle);
        books.warm_bytes += frame.bytes;
        return;
      }
    } else if (frame.tier == Tier::host && host_held_bytes_ <= host_limit_locked()) {
      prepared_.emplace(frame.bytes, frame.handle);
      host_prepared_bytes_ += frame.bytes;
      return;
    }
  }
  destroy(frame);
}

// The alias goes first: the driver keeps the memory of a handle for as long as it is mapped.
void Frames::release(driver::Handle handle) {
  Alias alias;
  {
    Lock lock(mutex_);
    const auto found = aliases_.find(handle);
    if (found != aliases_.end()) {
      alias = found->second;
      aliases_.erase(found);
    }
  }
  if (alias.bytes > 0) {
    if (verbs_.unmap(alias.address, alias.bytes))
      (void)verbs_.unreserve(alias.address, alias.bytes);
    for (const Die die : alias.dies) host_mapped(die, -static_cast<std::int64_t>(alias.bytes));
  }
  (void)verbs_.release(handle);
}

Result<Address> Frames::alias(const Frame& frame, std::span<const Die> dies) {
  {
    Lock lock(mutex_);
    const auto found = aliases_.find(frame.handle);
    if (found != aliases_.end()) {
      // It was made for another die: this frame is copied in a drain.
      const std::vector<Die>& known = found->second.dies;
      for (const Die die : dies)
        if (std::find(known.begin(), known.end(), die) == known.end())
          return Error{Fault::not_supported};
      return found->second.address;
    }
  }
  const Address address = BARSWAP_TRY(verbs_.reserve(frame.bytes));
  auto mapped = verbs_.map(address, frame.bytes, frame.handle);
  if (mapped) {
    auto granted = verbs_.grant_reading(address, frame.bytes, dies);
    if (granted) {
      for (const Die die : dies) host_mapped(die, static_cast<std::int64_t>(frame.bytes));
      Lock lock(mutex_);
      aliases_[frame.handle] = {address, frame.bytes, {dies.begin(), dies.end()}};
      return address;
    }
    (void)verbs_.unmap(address, frame.bytes);
    mapped = granted.error();
  }
  (void)verbs_.unreserve(address, frame.bytes);
  return mapped.error();
}

void Frames::destroy(const Frame& frame) {
  release(frame.handle);
  if (frame.tier == Tier::host) host_available_grew();
  Lock lock(mutex_);
  if (frame.tier == Tier::host) {
    host_held_bytes_ -= frame.bytes;
    return;
  }
  dies_[slot(frame.die)].held_bytes -= frame.bytes;
  if (frame.tier == Tier::peer) dies_[slot(frame.die)].lent_bytes -= frame.bytes;
}

bool Frames::prepare_host(Die near, std::uint64_t bytes, std::uint64_t target_bytes) {
  {
    Lock lock(mutex_);
    if (!host_enabled_ || (prepared_.count(bytes) + 1) * bytes > target_bytes) return false;
  }
  auto frame = make_host(near, bytes, false);
  if (!frame) return false;
  give_back(*frame);
  return true;
}

bool Frames::trim_host(std::uint64_t bytes, std::uint64_t target_bytes) {
  Frame frame;
  {
    Lock lock(mutex_);
    if (prepared_.count(bytes) * bytes <= target_bytes) return false;
    const auto spare = prepared_.find(bytes);
    frame = {spare->second, bytes, Tier::host, Die{0}, false};
    prepared_.erase(spare);
    host_prepared_bytes_ -= bytes;
  }
  destroy(frame);
  return true;
}

void Frames::outside_grew(Die die, std::uint64_t bytes) {
  Lock lock(mutex_);
  dies_[slot(die)].outside_bytes += bytes;
}

void Frames::outside_shrank(Die die, std::uint64_t bytes) {
  Lock lock(mutex_);
  DieBooks& books = dies_[slot(die)];
  books.outside_bytes -= std::min(books.outside_bytes, bytes);
}

void Frames::host_mapped(Die die, std::int64_t bytes) {
  Lock lock(mutex_);
  dies_[slot(die)].host_mapped_bytes += static_cast<std::uint64_t>(bytes);
}

std::uint64_t Frames::host_mapped(Die die) const {
  Lock lock(mutex_);
  return dies_[slot(die)].host_mapped_bytes;
}

std::uint64_t Frames::release_warm(Die die) {
  std::multimap<std::uint64_t, driver::Handle> warm;
  std::uint64_t bytes = 0;
  {
    Lock lock(mutex_);
    DieBooks& books = dies_[slot(die)];
    warm.swap(books.warm);
    bytes = books.warm_bytes;
    books.held_bytes -= bytes;
    books.warm_bytes = 0;
  }
  for (const auto& [size, handle] : warm) release(handle);
  return bytes;
}

void Frames::cap_budget_at_held(Die die) {
  Lock lock(mutex_);
  DieBooks& books = dies_[slot(die)];
  const std::uint64_t held = books.held_bytes + books.outside_bytes;
  books.budget_bytes = std::min(books.budget_bytes, std::max(held, books.start_budget_bytes / 2));
}

void Frames::lower_budget(Die die, std::uint64_t bytes) {
  Lock lock(mutex_);
  DieBooks& books = dies_[slot(die)];
  const std::uint64_t lowered = books.budget_bytes - std::min(books.budget_bytes, bytes);
  books.budget_bytes =
      std::min(books.budget_bytes, std::max(lowered, books.start_budget_bytes / 2));
}

std::uint64_t Frames::release_prepared() {
  std::multimap<std::uint64_t, driver::Handle> prepared;
  std::uint64_t bytes = 0;
  {
    Lock lock(mutex_);
    prepared.swap(prepared_);
    bytes = host_prepared_bytes_;
    host_held_bytes_ -= bytes;
    host_prepared_bytes_ = 0;
  }
  for (const auto& [size, handle] : prepared) release(handle);
  host_available_grew();
  return bytes;
}

void Frames::release_all() {
  for (int i = 0; i < kDiesMax; ++i) (void)release_warm(Die{i});
  (void)release_prepared();
}

Frames::Totals Frames::totals() const {
  Lock lock(mutex_);
  Totals totals{0, host_held_bytes_};
  for (const DieBooks& books : dies_) totals.hbm_frames_bytes += books.held_bytes;
  return totals;
}

}  // namespace barswap::pager

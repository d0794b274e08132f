#include "memory/maps.hpp"

#include "barswap/log.hpp"

namespace barswap::memory {

Result<std::uint64_t> Maps::create(Die home, std::uint64_t bytes, policy::Place place,
                                   const Properties& properties) {
  BARSWAP_TRY_VOID(memory_.claim(home, bytes));
  Made made;
  made.home = home;
  made.bytes = bytes;
  made.place = place;
  made.properties = properties;
  Lock lock(mutex_);
  const std::uint64_t handle = kTag << kTagShift | next_++;
  table_.emplace(handle, made);
  return handle;
}

bool Maps::retain(std::uint64_t handle) {
  Lock lock(mutex_);
  const auto found = table_.find(handle);
  // A mapping that is just ending would take the memory with it.
  if (found == table_.end() || found->second.state == State::busy) return false;
  ++found->second.references;
  return true;
}

bool Maps::release(std::uint64_t handle) {
  Made over;
  {
    Lock lock(mutex_);
    const auto found = table_.find(handle);
    if (found == table_.end() || found->second.references == 0) return false;
    --found->second.references;
    if (found->second.references > 0 || found->second.state == State::mapped ||
        found->second.state == State::busy)
      return true;
    over = found->second;
    table_.erase(found);
  }
  end(over);
  return true;
}

void Maps::end(const Made& made) {
  if (made.run) memory_.drop(made.run, made.home, made.bytes);
  else memory_.unclaim(made.home, made.bytes);
}

void Maps::settle(std::uint64_t handle, State state, pager::Run* run) {
  Made over;
  {
    Lock lock(mutex_);
    const auto found = table_.find(handle);
    if (found == table_.end()) return;
    found->second.state = state;
    found->second.run = run;
    if (state == State::mapped || found->second.references > 0) return;
    over = found->second;
    table_.erase(found);
  }
  end(over);
}

Result<void> Maps::map(std::uint64_t handle, Address base, std::uint64_t offset_bytes,
                       std::uint64_t bytes) {
  Made made;
  {
    Lock lock(mutex_);
    const auto found = table_.find(handle);
    if (found == table_.end() || found->second.references == 0) return Error{Fault::invalid};
    made = found->second;
    // As the driver: a handle is mapped whole.
    if (offset_bytes != 0 || bytes != made.bytes) return Error{Fault::invalid};
    if (made.state == State::mapped || made.state == State::busy) {
      BARSWAP_LOG_ONCE(info, "memory",
                       "a handle of %llu bytes was to be mapped twice, which virtual memory cannot "
                       "do; vram.virtual_maps=false lets it",
                       static_cast<unsigned long long>(bytes));
      return Error{Fault::not_supported};
    }
    found->second.state = State::busy;
  }
  Memory::Lay lay;
  lay.handle = handle;
  lay.base = base;
  lay.bytes = bytes;
  lay.home = made.home;
  lay.place = made.place;
  lay.parked = made.run;
  auto run = memory_.lay(lay);
  if (!run) {
    settle(handle, made.state, made.run);
    return run.error();
  }
  if (!*run) {
    settle(handle, State::claimed, nullptr);
    return Error{Fault::out_of_memory};
  }
  settle(handle, State::mapped, nullptr);
  return {};
}

Result<void> Maps::unmap(const Range& range) {
  bool keep = false;
  {
    Lock lock(mutex_);
    const auto found = table_.find(range.handle);
    if (found == table_.end() || found->second.state != State::mapped) return Error{Fault::invalid};
    keep = found->second.references > 0;
    found->second.state = State::busy;
    if (!keep) table_.erase(found);
  }
  auto lifted = memory_.lift(range, keep);
  if (keep) settle(range.handle, State::parked, range.run);
  return lifted;
}

std::optional<Properties> Maps::properties(std::uint64_t handle) const {
  Lock lock(mutex_);
  const auto found = table_.find(handle);
  if (found == table_.end()) return std::nullopt;
  return found->second.properties;
}

std::size_t Maps::count() const {
  Lock lock(mutex_);
  return table_.size();
}

std::optional<std::uint64_t> Maps::granule_of(const Properties& properties) const {
  Lock lock(mutex_);
  for (const Learned& learned : learned_)
    if (learned.properties == properties) return learned.granule_bytes;
  return std::nullopt;
}

void Maps::learn(const Properties& properties, std::uint64_t granule_bytes) {
  Lock lock(mutex_);
  learned_.push_back({properties, granule_bytes});
}

void Maps::clear() {
  for (const Range& range : memory_.mapped_within(Address{0}, ~std::uint64_t{0}))
    (void)unmap(range);
  Table table;
  {
    Lock lock(mutex_);
    table.swap(table_);
  }
  for (const auto& [handle, made] : table) end(made);
}

}  // namespace barswap::memory

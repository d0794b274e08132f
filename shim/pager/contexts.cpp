#include "pager/contexts.hpp"

#include <algorithm>

namespace barswap::pager {

bool Contexts::known(driver::Context context) const {
  Lock lock(mutex_);
  for (const ContextEntry& entry : entries_)
    if (entry.context == context) return true;
  return false;
}

bool Contexts::knows_primary(Die die) const {
  Lock lock(mutex_);
  for (const ContextEntry& entry : entries_)
    if (entry.die == die && entry.primary) return true;
  return false;
}

Result<void> Contexts::make_objects(ContextEntry& entry) const {
  entry.copier = BARSWAP_TRY(verbs_.make_stream());
  entry.out_copier = BARSWAP_TRY(verbs_.make_stream());
  entry.printed = BARSWAP_TRY(verbs_.make_event());
  entry.drained = BARSWAP_TRY(verbs_.make_event());
  entry.quiet = BARSWAP_TRY(verbs_.make_event());
  for (driver::Event& mark : entry.marks[0]) mark = BARSWAP_TRY(verbs_.make_timing_event());
  for (driver::Event& mark : entry.marks[1]) mark = BARSWAP_TRY(verbs_.make_event());
  return {};
}

void Contexts::destroy_objects(const ContextEntry& entry) const {
  const auto destroy = [&](auto object) {
    if (object != decltype(object)::none) verbs_.destroy(object);
  };
  destroy(entry.copier);
  destroy(entry.out_copier);
  destroy(entry.printed);
  destroy(entry.drained);
  destroy(entry.quiet);
  for (const auto& direction : entry.marks)
    for (const driver::Event mark : direction) destroy(mark);
}

Result<void> Contexts::adopt(driver::Context context, Die die, bool primary, Owner owner) {
  ContextEntry entry;
  entry.context = context;
  entry.die = die;
  entry.primary = primary;
  entry.ours = owner == Owner::ours;
  if (auto made = make_objects(entry); !made) {
    destroy_objects(entry);
    return made.error();
  }
  Lock lock(mutex_);
  // A context that joins while a proof is outstanding was not asked; the proof starts over.
  asked_ = 0;
  entries_.push_back(entry);
  note_dies();
  return {};
}

void Contexts::note_dies() {
  std::uint32_t dies = 0;
  for (const auto* entries : {&entries_, &suspended_})
    for (const ContextEntry& entry : *entries) dies |= 1u << index_of(entry.die);
  dies_.store(dies, std::memory_order_relaxed);
}

void Contexts::suspend(driver::Context context) {
  Lock lock(mutex_);
  asked_ = 0;
  for (const ContextEntry& entry : entries_)
    if (entry.context == context) suspended_.push_back(entry);
  std::erase_if(entries_, [&](const ContextEntry& entry) { return entry.context == context; });
}

void Contexts::resume(driver::Context context) {
  Lock lock(mutex_);
  for (const ContextEntry& entry : suspended_)
    if (entry.context == context) entries_.push_back(entry);
  std::erase_if(suspended_, [&](const ContextEntry& entry) { return entry.context == context; });
}

void Contexts::forget(driver::Context context) {
  Lock lock(mutex_);
  asked_ = 0;
  const auto same = [&](const auto& item) { return item.context == context; };
  std::erase_if(entries_, same);
  std::erase_if(suspended_, same);
  std::erase_if(captures_, same);
  note_dies();
}

std::size_t Contexts::count() const {
  Lock lock(mutex_);
  return entries_.size();
}

std::optional<ContextEntry> Contexts::on(Die die) const {
  Lock lock(mutex_);
  std::optional<ContextEntry> found;
  for (const ContextEntry& entry : entries_)
    if (entry.die == die && (!found || found->ours)) found = entry;
  return found;
}

driver::Context Contexts::only_one() const {
  Lock lock(mutex_);
  driver::Context found = driver::Context::none;
  for (const auto* entries : {&entries_, &suspended_})
    for (const ContextEntry& entry : *entries) {
      if (entry.ours) continue;
      if (found != driver::Context::none) return driver::Context::none;
      found = entry.context;
    }
  return found;
}

bool Contexts::program_on(Die die) const {
  Lock lock(mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const ContextEntry& entry) {
    return entry.die == die && !entry.ours;
  });
}

std::vector<ContextEntry> Contexts::all() const {
  Lock lock(mutex_);
  return entries_;
}

void Contexts::capture_begins(std::uintptr_t stream, driver::Context context) {
  Lock lock(mutex_);
  captures_.push_back({stream, context});
}

void Contexts::capture_ends(std::uintptr_t stream) {
  Lock lock(mutex_);
  const auto found = std::find_if(captures_.begin(), captures_.end(),
                                  [&](const Capture& capture) { return capture.stream == stream; });
  if (found != captures_.end()) captures_.erase(found);
}

bool Contexts::capturing() const {
  Lock lock(mutex_);
  return !captures_.empty();
}

Result<void> Contexts::record_drain() {
  Lock lock(mutex_);
  if (!captures_.empty() || entries_.empty() || !suspended_.empty()) return Error{Fault::busy};
  for (const ContextEntry& entry : entries_)
    BARSWAP_TRY_VOID(verbs_.record_context(entry.context, entry.drained));
  return {};
}

Result<bool> Contexts::drained() const {
  Lock lock(mutex_);
  for (const ContextEntry& entry : entries_)
    if (!BARSWAP_TRY(verbs_.ready(entry.drained))) return false;
  return true;
}

std::uint64_t Contexts::ticket() const {
  Lock lock(mutex_);
  return epoch_;
}

bool Contexts::passed(std::uint64_t ticket) const {
  Lock lock(mutex_);
  // With no context left there is no work that could touch anything.
  return ticket <= passed_ || (entries_.empty() && suspended_.empty());
}

bool Contexts::poll_quiet() {
  Lock lock(mutex_);
  if (entries_.empty() || !suspended_.empty()) return false;
  if (asked_ != 0) {
    // The caller may have no context of its own, or one that a capture watches.
    const driver::RelaxedCapture relaxed(verbs_);
    const driver::Entered entered(verbs_, entries_.front().context);
    for (const ContextEntry& entry : entries_) {
      auto ready = verbs_.ready(entry.quiet);
      if (!ready) asked_ = 0;  // the context is lost; ask anew, or never
      if (!ready || !*ready) return false;
    }
    passed_ = asked_;
    asked_ = 0;
  }
  return passed_ + 1 <= epoch_ && captures_.empty();
}

void Contexts::ask_quiet() {
  Lock lock(mutex_);
  if (entries_.empty() || !suspended_.empty() || !captures_.empty() || asked_ != 0) return;
  const driver::RelaxedCapture relaxed(verbs_);
  const driver::Entered entered(verbs_, entries_.front().context);
  for (const ContextEntry& entry : entries_)
    if (!verbs_.record_context(entry.context, entry.quiet)) return;
  asked_ = epoch_++;
}

void Contexts::all_quiet() {
  Lock lock(mutex_);
  passed_ = epoch_++;
  asked_ = 0;
}

}  // namespace barswap::pager

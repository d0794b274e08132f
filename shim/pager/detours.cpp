#include "pager/detours.hpp"

#include <algorithm>

#include "base/clock.hpp"

namespace barswap::pager {
namespace {

// Two pages of 16 MiB come over a link in halves of 8, of which four fit: one is filled while the
// one before is emptied, in a sixth of that time, and two are spare.
constexpr std::uint64_t kBounceBytes = 32_MiB;
constexpr std::uint64_t kRetryNs = 1'000'000'000;  // after a die had no room

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

bool helps(const ContextEntry& entry, const ContextEntry& home) {
  return entry.ours && entry.die != home.die;
}

bool stands(const Detour& way, const ContextEntry& home, const std::vector<ContextEntry>& all) {
  return way.home == home.context && way.bounce.handle != driver::Handle::none &&
         std::any_of(all.begin(), all.end(),
                     [&](const ContextEntry& entry) { return entry.context == way.far.context; });
}

}  // namespace

std::uint64_t Detours::bounce_bytes(std::uint64_t budget_bytes) {
  return std::min(kBounceBytes, budget_bytes / 8 / 2_MiB * 2_MiB);
}

std::uint64_t Detours::missing_bytes(Die die) const {
  const std::uint64_t wanted_bytes = bounce_bytes(frames_.budget(die));
  return wanted_bytes -
         std::min(wanted_bytes, held_bytes_[slot(die)].load(std::memory_order_relaxed));
}

bool Detours::lacks(const ContextEntry& home, const std::vector<ContextEntry>& all) const {
  return std::any_of(all.begin(), all.end(), [&](const ContextEntry& entry) {
    const Detour& way = ways_[slot(entry.die)];
    return helps(entry, home) && !stands(way, home, all) && !way.running &&
           (way.tried_ns == 0 || now_ns() - way.tried_ns >= kRetryNs);
  });
}

void Detours::prepare(const ContextEntry& home, const std::vector<ContextEntry>& all) {
  if (!lacks(home, all)) return;
  for (const ContextEntry& entry : all) {
    Detour& way = ways_[slot(entry.die)];
    if (!helps(entry, home) || stands(way, home, all) || way.running) continue;
    way.die = entry.die;
    way.far = entry;
    way.tried_ns = 0;
    const bool made = (way.home == home.context || make_objects(way, home.context)) &&
                      (way.bounce.handle != driver::Handle::none || make_bounce(way, home.die));
    if (!made) way.tried_ns = now_ns();
  }
}

// Objects of a context that has ended are gone with it, and `home` is one that lives.
bool Detours::make_objects(Detour& way, driver::Context home) const {
  Detour made = way;
  auto onward = verbs_.make_stream();
  bool whole = static_cast<bool>(onward);
  if (whole) made.onward = *onward;
  const auto make = [&](driver::Event& event) {
    event = driver::Event::none;
    if (!whole) return;
    auto fresh = verbs_.make_event();
    whole = static_cast<bool>(fresh);
    if (whole) event = *fresh;
  };
  for (driver::Event& event : made.emptied) make(event);
  for (driver::Event& event : made.marks) make(event);
  if (whole) {
    made.home = home;
    way = made;
    return true;
  }
  if (onward) verbs_.destroy(*onward);
  const auto destroy = [&](driver::Event event) {
    if (event != driver::Event::none) verbs_.destroy(event);
  };
  for (const driver::Event event : made.emptied) destroy(event);
  for (const driver::Event event : made.marks) destroy(event);
  return false;
}

bool Detours::make_bounce(Detour& way, Die home) {
  const std::uint64_t bytes =
      way.address_bytes > 0 ? way.address_bytes : bounce_bytes(frames_.budget(way.die));
  if (bytes == 0) return false;
  if (way.address_bytes == 0) {
    auto address = verbs_.reserve(bytes);
    if (!address) return false;
    way.address = *address;
    way.address_bytes = bytes;
  }
  auto frame = frames_.take_hbm(way.die, bytes, 0);
  if (!frame) return false;
  const Die dies[] = {way.die, home};
  const bool mapped = static_cast<bool>(verbs_.map(way.address, bytes, frame->handle));
  if (mapped && verbs_.grant(way.address, bytes, dies)) {
    way.bounce = *frame;
    held_bytes_[slot(way.die)].store(bytes, std::memory_order_relaxed);
    return true;
  }
  // What the driver does not unmap stays where it is, and its address with it.
  if (mapped && !verbs_.unmap(way.address, bytes)) {
    way.address_bytes = 0;
    return false;
  }
  frames_.destroy(*frame);
  return false;
}

std::vector<Detour*> Detours::ways(const ContextEntry& home, const std::vector<ContextEntry>& all) {
  std::vector<Detour*> out;
  for (const ContextEntry& entry : all) {
    Detour& way = ways_[slot(entry.die)];
    if (helps(entry, home) && way.far.context == entry.context && stands(way, home, all))
      out.push_back(&way);
  }
  return out;
}

// A wait is for what the event stands for at that moment, so one event serves all first stages.
Result<void> Detours::send(Detour& way, Address to, Address from, std::uint64_t bytes) {
  const std::uint64_t slot_bytes = way.bounce.bytes / Detour::kSlots;
  way.running = true;
  for (std::uint64_t offset = 0; offset < bytes; offset += slot_bytes) {
    const std::uint64_t piece = std::min(slot_bytes, bytes - offset);
    const std::size_t number = way.sent++ % Detour::kSlots;
    const Address bounce = way.address + number * slot_bytes;
    {
      const driver::Entered entered(verbs_, way.far.context);
      BARSWAP_TRY_VOID(entered.outcome());
      BARSWAP_TRY_VOID(verbs_.wait(way.far.copier, way.emptied[number]));
      BARSWAP_TRY_VOID(verbs_.copy(bounce, from + offset, piece, way.far.copier));
      BARSWAP_TRY_VOID(verbs_.record(way.far.printed, way.far.copier));
    }
    BARSWAP_TRY_VOID(verbs_.wait(way.onward, way.far.printed));
    BARSWAP_TRY_VOID(verbs_.copy(to + offset, bounce, piece, way.onward));
    BARSWAP_TRY_VOID(verbs_.record(way.emptied[number], way.onward));
  }
  return {};
}

void Detours::all_ended() {
  for (Detour& way : ways_) way.running = false;
}

// A frame that may still be written to is kept until a drain has shown that it is not.
bool Detours::give_up(Die die) {
  Detour& way = ways_[slot(die)];
  if (way.bounce.handle == driver::Handle::none || way.running ||
      !verbs_.unmap(way.address, way.bounce.bytes))
    return false;
  frames_.destroy(way.bounce);
  way.bounce = {};
  way.tried_ns = now_ns();
  held_bytes_[slot(die)].store(0, std::memory_order_relaxed);
  return true;
}

void Detours::forget(driver::Context context) {
  for (Detour& way : ways_) {
    if (way.home != context && way.far.context != context) continue;
    if (way.home == context) way.home = driver::Context::none;
    else way.far = {};
    (void)give_up(way.die);
    way.tried_ns = 0;
  }
}

}  // namespace barswap::pager

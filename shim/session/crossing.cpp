#include "session/crossing.hpp"

#include <algorithm>

namespace barswap::session {
namespace {

// Recorded on the target's stream, one for each buffer. The driver keeps what somebody waits for.
struct Emptied {
  explicit Emptied(const driver::Verbs& driver) : verbs(driver) {}
  ~Emptied() {
    for (const driver::Event event : events)
      if (event != driver::Event::none) verbs.destroy(event);
  }
  const driver::Verbs& verbs;
  driver::Event events[2] = {driver::Event::none, driver::Event::none};
};

}  // namespace

Result<Die> Crossing::die_of(driver::Stream stream) const {
  const driver::Context context = BARSWAP_TRY(verbs_.context_of(stream));
  const driver::Entered entered(verbs_, context);
  BARSWAP_TRY_VOID(entered.outcome());
  return verbs_.current_die();
}

Result<Crossing::Lane> Crossing::lane_of(driver::Stream stream) const {
  return Lane{stream, BARSWAP_TRY(verbs_.context_of(stream))};
}

Result<void> Crossing::follow(const Lane& behind, const Lane& ahead) {
  const driver::Entered entered(verbs_, ahead.context);
  BARSWAP_TRY_VOID(entered.outcome());
  const driver::Event event = BARSWAP_TRY(verbs_.make_event());
  auto outcome = verbs_.record(event, ahead.stream);
  if (outcome) {
    // Legacy and per-thread streams mean those of the current context.
    const driver::Entered there(verbs_, behind.context);
    outcome = there.ok() ? verbs_.wait(behind.stream, event) : there.outcome();
  }
  // The driver keeps an event until what waits for it has run.
  verbs_.destroy(event);
  return outcome;
}

Result<void> Crossing::make(Bounce& bounce, Die near, bool borrows) {
  auto frame = pager_.frames().take_buffer(near, kPieceBytes);
  // Where the host gives none, dies that lend to each other may pass pieces through their HBM.
  if (!frame && borrows) frame = pager_.frames().take_hbm_buffer(near, kPieceBytes);
  if (!frame) return frame.error();
  auto address = verbs_.reserve(kPieceBytes);
  Result<void> outcome;
  if (!address) outcome = address.error();
  if (address) outcome = verbs_.map(*address, kPieceBytes, frame->handle);
  if (!outcome) {
    if (address) (void)verbs_.unreserve(*address, kPieceBytes);
    pager_.frames().give_back(*frame);
    return outcome.error();
  }
  bounce.address = *address;
  bounce.in_hbm = frame->tier == Tier::hbm;
  return {};
}

Result<void> Crossing::make_bounces(Die from, Die to, bool borrows) {
  for (Bounce& bounce : bounces_) {
    if (bounce.address == Address{}) BARSWAP_TRY_VOID(make(bounce, from, borrows));
    for (const Die die : {from, to}) {
      const std::uint32_t bit = 1u << index_of(die);
      if (bounce.granted & bit) continue;
      // The first grant to a die that could not reach the buffer disturbs nobody.
      const Die dies[] = {die};
      auto granted = verbs_.grant(bounce.address, kPieceBytes, dies);
      // In HBM that this die cannot reach: for want of host memory.
      if (!granted && bounce.in_hbm) return Error{Fault::out_of_memory};
      BARSWAP_TRY_VOID(granted);
      bounce.granted |= bit;
    }
  }
  return {};
}

// Pieces pass through two buffers: one is filled while the other is emptied. Every order is by
// events on the devices; nobody waits here.
Result<void> Crossing::submit_pieces(Address to, const pager::ContextEntry& target, Address from,
                                     const pager::ContextEntry& source, std::uint64_t bytes) {
  Emptied emptied(verbs_);
  for (std::uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
    const std::uint64_t piece = std::min(kPieceBytes, bytes - offset);
    const std::size_t buffer = offset / kPieceBytes % 2;
    const Address bounce = bounces_[buffer].address;
    {
      const driver::Entered entered(verbs_, source.context);
      if (!entered.ok()) return Error{Fault::not_supported};
      if (emptied.events[buffer] != driver::Event::none)
        BARSWAP_TRY_VOID(verbs_.wait(source.copier, emptied.events[buffer]));
      BARSWAP_TRY_VOID(verbs_.copy(bounce, from + offset, piece, source.copier));
      BARSWAP_TRY_VOID(follow(ours(target), ours(source)));
    }
    const driver::Entered entered(verbs_, target.context);
    if (!entered.ok()) return Error{Fault::not_supported};
    BARSWAP_TRY_VOID(verbs_.copy(to + offset, bounce, piece, target.copier));
    if (emptied.events[buffer] == driver::Event::none)
      emptied.events[buffer] = BARSWAP_TRY(verbs_.make_event());
    BARSWAP_TRY_VOID(verbs_.record(emptied.events[buffer], target.copier));
  }
  return {};
}

Result<void> Crossing::copy(Address to, Die to_die, Address from, Die from_die, std::uint64_t bytes,
                            driver::Stream stream) {
  const auto source = pager_.contexts().on(from_die);
  const auto target = pager_.contexts().on(to_die);
  if (!source || !target) return Error{Fault::not_supported};
  const Lane program = BARSWAP_TRY(lane_of(stream));
  Lock lock(mutex_);
  const bool borrows = pager_.borrowed(from_die) + pager_.borrowed(to_die) > 0;
  if (auto made = make_bounces(from_die, to_die, borrows); !made) {
    // The driver copies between the HBM of any two dies; only pages that lie elsewhere need the
    // buffers.
    if (pager_.frames().host_bytes() > 0 || borrows) return made.error();
    return verbs_.copy(to, from, bytes, stream);
  }
  // Earlier copies left the buffers in use on the streams of other dies.
  for (const pager::ContextEntry& entry : pager_.contexts().all()) {
    if (entry.copier == source->copier) continue;
    auto followed = follow(ours(*source), ours(entry));
    // A context that is lost uses no buffer any more.
    if (!followed && !driver::sticky(followed.error())) return followed.error();
  }
  BARSWAP_TRY_VOID(follow(ours(*source), program));
  BARSWAP_TRY_VOID(follow(ours(*target), program));
  BARSWAP_TRY_VOID(submit_pieces(to, *target, from, *source, bytes));
  return follow(program, ours(*target));
}

}  // namespace barswap::session

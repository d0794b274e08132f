#include "session/crossing.hpp"

#include <algorithm>

namespace barswap::session {

Result<void> Crossing::follow(driver::Stream behind, driver::Context other, driver::Stream ahead) {
  const driver::Event event = BARSWAP_TRY(verbs_.make_event());
  auto outcome = verbs_.record(event, ahead);
  if (outcome) {
    const driver::Entered entered(verbs_, other);
    if (entered.ok()) outcome = verbs_.wait(behind, event);
    else outcome = Error{Fault::not_supported};
  }
  // The driver keeps an event until what waits for it has run.
  verbs_.destroy(event);
  return outcome;
}

Result<void> Crossing::follow_back(driver::Stream behind, driver::Stream ahead,
                                   driver::Context other) {
  driver::Event event = driver::Event::none;
  Result<void> outcome;
  {
    const driver::Entered entered(verbs_, other);
    if (!entered.ok()) return Error{Fault::not_supported};
    event = BARSWAP_TRY(verbs_.make_event());
    outcome = verbs_.record(event, ahead);
  }
  if (outcome) outcome = verbs_.wait(behind, event);
  const driver::Entered entered(verbs_, other);
  verbs_.destroy(event);
  return outcome;
}

Result<void> Crossing::make_bounces() {
  if (made_) return {};
  std::vector<Die> dies;
  for (const pager::ContextEntry& entry : pager_.contexts().all())
    if (std::find(dies.begin(), dies.end(), entry.die) == dies.end()) dies.push_back(entry.die);
  for (Bounce& bounce : bounces_) {
    auto frame = pager_.frames().take_host(dies.front(), kPieceBytes);
    if (!frame) return frame.error();
    auto address = verbs_.reserve(kPieceBytes);
    Result<void> outcome;
    if (!address) outcome = address.error();
    if (outcome) outcome = verbs_.map(*address, kPieceBytes, frame->handle);
    if (outcome) outcome = verbs_.grant(*address, kPieceBytes, dies);
    if (!outcome) {
      pager_.frames().destroy(*frame);
      return outcome.error();
    }
    bounce.address = *address;
  }
  made_ = true;
  return {};
}

// Pieces pass through two buffers: one is filled while the other is emptied. Every order is by
// events on the devices; nobody waits here.
Result<void> Crossing::copy(Address to, Die to_die, Address from, Die from_die, std::uint64_t bytes,
                            driver::Stream stream) {
  const auto source = pager_.contexts().on(from_die);
  const auto target = pager_.contexts().on(to_die);
  if (!source || !target) return Error{Fault::not_supported};
  Lock lock(mutex_);
  BARSWAP_TRY_VOID(make_bounces());
  BARSWAP_TRY_VOID(follow(source->copier, source->context, stream));
  BARSWAP_TRY_VOID(follow(target->copier, target->context, stream));
  for (std::uint64_t offset = 0; offset < bytes; offset += kPieceBytes) {
    const std::uint64_t piece = std::min(kPieceBytes, bytes - offset);
    Bounce& bounce = bounces_[offset / kPieceBytes % 2];
    {
      const driver::Entered entered(verbs_, source->context);
      if (!entered.ok()) return Error{Fault::not_supported};
      if (bounce.drained != driver::Event::none)
        BARSWAP_TRY_VOID(verbs_.wait(source->copier, bounce.drained));
      BARSWAP_TRY_VOID(verbs_.copy(bounce.address, from + offset, piece, source->copier));
      BARSWAP_TRY_VOID(follow(target->copier, target->context, source->copier));
    }
    const driver::Entered entered(verbs_, target->context);
    if (!entered.ok()) return Error{Fault::not_supported};
    BARSWAP_TRY_VOID(verbs_.copy(to + offset, bounce.address, piece, target->copier));
    if (bounce.drained != driver::Event::none) verbs_.destroy(bounce.drained);
    bounce.drained = BARSWAP_TRY(verbs_.make_event());
    BARSWAP_TRY_VOID(verbs_.record(bounce.drained, target->copier));
  }
  return follow_back(stream, target->copier, target->context);
}

}  // namespace barswap::session

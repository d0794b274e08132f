#include "session/turnstile.hpp"

#include "barswap/log.hpp"
#include "base/clock.hpp"

namespace barswap::session {
namespace {

constexpr std::uint64_t kRestNs = 20'000;
constexpr std::uint64_t kHeldMostNs = 10'000'000'000;

thread_local constinit const Turnstile* holder = nullptr;

}  // namespace

void Turnstile::enter() {
  for (;;) {
    users_.fetch_add(1);
    if (!held_.load() || holder == this) break;
    users_.fetch_sub(1);
    await_holder();
  }
  epoch_.fetch_add(1);
}

// Whoever holds is through soon: it gives up moves that others wait for, and holds no more while
// one waits. A thread that was cancelled in the middle never is, nor one that sleeps in the driver
// for what only others can do; that one is told that it does not hold any more, and fails.
void Turnstile::await_holder() {
  const pager::Pager::Hurry hurry(pager_);
  const std::uint64_t limit_ns = now_ns() + kHeldMostNs;
  ++waiting_;
  while (held_.load() && now_ns() < limit_ns) sleep_ns(kRestNs);
  if (held_.load()) {
    if (!broken_.exchange(true))
      BARSWAP_LOG(info, "session", "a graph in parts is not launched to its end: from now on none");
    held_.store(false);
  }
  --waiting_;
}

// The caller's own call is one of those under way.
Turnstile::Held::Held(Turnstile& turnstile) : turnstile_(turnstile) {
  if (turnstile.broken() || turnstile.waiting_.load() != 0 || turnstile.held_.exchange(true))
    return;
  alone_ = turnstile.users_.load() == 1 && !turnstile.pager_.contexts().capturing();
  if (alone_) holder = &turnstile;
  else turnstile.held_.store(false);
}

Turnstile::Held::~Held() {
  if (!alone_) return;
  holder = nullptr;
  turnstile_.held_.store(false);
}

}  // namespace barswap::session

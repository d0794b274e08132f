#include "session/at_home.hpp"

#include "session/session.hpp"

namespace barswap::session {

constinit std::atomic<bool> counting{false};
constinit std::atomic<int> lost_away{0};

void AtHome::enter() noexcept {
  Session* session = Session::current();
  if (!session) return;
  if (Router* router = session->router()) router->enter_home();
  else session->turnstile().enter();
}

void AtHome::leave() noexcept {
  if (Session* session = Session::current()) session->turnstile().leave();
}

int heard_from_away(int result) noexcept {
  if (!counting.load(std::memory_order_relaxed)) [[likely]]
    return result;
  if (result != 0) return result;
  if (const int lost = lost_away.load()) return lost;
  Session* session = Session::current();
  Router* router = session ? session->router() : nullptr;
  return router ? router->check_away() : result;
}

}  // namespace barswap::session

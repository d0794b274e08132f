#include "session/at_home.hpp"

#include "session/session.hpp"

namespace barswap::session {

constinit std::atomic<bool> routing{false};
constinit std::atomic<int> lost_away{0};

namespace {

Router* router() {
  Session* session = Session::current();
  return session ? session->router() : nullptr;
}

}  // namespace

void AtHome::enter() noexcept {
  if (Router* found = router()) found->enter_home();
}

void AtHome::leave() noexcept {
  if (Router* found = router()) found->leave_home();
}

int heard_from_away(int result) noexcept {
  if (!routing.load(std::memory_order_relaxed)) [[likely]]
    return result;
  Router* found = router();
  return found ? found->check_away(result) : result;
}

}  // namespace barswap::session

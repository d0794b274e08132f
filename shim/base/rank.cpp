// The rank checker: a thread's held ranks as a bit set. Built only with BARSWAP_RANK_CHECK.
#include "barswap/check.hpp"
#include "barswap/mutex.hpp"

#ifdef BARSWAP_RANK_CHECK
namespace barswap {
namespace {
thread_local constinit std::uint32_t held = 0;
}

void rank_acquired(Rank rank) {
  const std::uint32_t bit = 1u << static_cast<unsigned>(rank);
  BARSWAP_CHECK(held < bit && "locks are taken in the order of Rank");
  held |= bit;
}

void rank_released(Rank rank) { held &= ~(1u << static_cast<unsigned>(rank)); }

}  // namespace barswap
#endif

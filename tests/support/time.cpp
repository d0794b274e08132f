#include "support/time.hpp"

#include <time.h>

namespace barswap::support {
namespace {

constexpr std::uint64_t kSecondNs = 1'000'000'000;
std::uint64_t time_ns = kSecondNs;
std::uint64_t tick = 1000;

}  // namespace

void start_clock(std::uint64_t tick_ns) {
  // Time never goes back, even from one life to the next.
  time_ns = (time_ns / kSecondNs + 10) * kSecondNs;
  tick = tick_ns;
}

}  // namespace barswap::support

extern "C" int clock_gettime(clockid_t, timespec* now) noexcept {
  using namespace barswap::support;
  time_ns += tick;
  now->tv_sec = static_cast<time_t>(time_ns / kSecondNs);
  now->tv_nsec = static_cast<long>(time_ns % kSecondNs);
  return 0;
}

extern "C" int nanosleep(const timespec* duration, timespec*) {
  using namespace barswap::support;
  time_ns += static_cast<std::uint64_t>(duration->tv_sec) * kSecondNs +
             static_cast<std::uint64_t>(duration->tv_nsec);
  return 0;
}

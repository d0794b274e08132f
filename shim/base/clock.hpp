// The monotonic clock, in one place so that no room invents its own.
#pragma once
#include <time.h>

#include <cstdint>

namespace barswap {

inline std::uint64_t now_ns() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(time.tv_nsec);
}

inline void sleep_ns(std::uint64_t duration_ns) {
  timespec time{static_cast<time_t>(duration_ns / 1'000'000'000u),
                static_cast<long>(duration_ns % 1'000'000'000u)};
  nanosleep(&time, nullptr);
}

}  // namespace barswap

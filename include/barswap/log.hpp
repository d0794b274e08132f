// One line to the program's standard error (or BARSWAP_LOG_FILE), in one write, from a stack
// buffer, without allocation: `barswap[pid/tid] warn pager: evicted 128 MiB from die 1: budget`.
// Say what, how much, why. A healthy run prints nothing: its level is warn.
#pragma once
#include <cstdint>

namespace barswap {

enum class Level : std::uint8_t { error, warn, info, debug };

bool log_enabled(Level level);
[[gnu::format(printf, 3, 4)]] void log_line(Level level, const char* room, const char* format, ...);

}  // namespace barswap

#define BARSWAP_LOG(level, room, ...)                                           \
  do {                                                                          \
    if (::barswap::log_enabled(::barswap::Level::level))                        \
      ::barswap::log_line(::barswap::Level::level, room, __VA_ARGS__);          \
  } while (0)

// The same, but only the first time this line is reached in the process.
#define BARSWAP_LOG_ONCE(level, room, ...)                                      \
  do {                                                                          \
    static std::atomic<bool> barswap_said{false};                               \
    if (!barswap_said.exchange(true, std::memory_order_relaxed))                \
      BARSWAP_LOG(level, room, __VA_ARGS__);                                    \
  } while (0)

#include "barswap/log.hpp"

#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "barswap/check.hpp"
#include "base/environment.hpp"

namespace barswap {
namespace {

constexpr const char* kNames[] = {"error", "warn", "info", "debug"};

Level read_level() {
  for (int i = 0; i < 4; ++i)
    if (std::strcmp(environment().log, kNames[i]) == 0) return static_cast<Level>(i);
  return Level::warn;
}

// The file is opened for each line: lines are rare, and a descriptor kept open could be closed by a
// program that closes all it did not open.
void write_line(const char* text, std::size_t size) {
  int descriptor = STDERR_FILENO;
  if (*environment().log_file)
    descriptor = ::open(environment().log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (descriptor < 0) return;
  [[maybe_unused]] ssize_t ignored = ::write(descriptor, text, size);
  if (descriptor != STDERR_FILENO) ::close(descriptor);
}

}  // namespace

bool log_enabled(Level level) {
  static std::atomic<int> known{-1};
  int value = known.load(std::memory_order_relaxed);
  if (value < 0) {
    value = static_cast<int>(read_level());
    known.store(value, std::memory_order_relaxed);
  }
  return static_cast<int>(level) <= value;
}

void log_line(Level level, const char* room, const char* format, ...) {
  char line[512];
  int used = std::snprintf(line, sizeof line, "barswap[%d/%ld] %s %s: ", static_cast<int>(getpid()),
                           static_cast<long>(syscall(SYS_gettid)), kNames[static_cast<int>(level)],
                           room);
  va_list arguments;
  va_start(arguments, format);
  used += std::vsnprintf(line + used, sizeof line - static_cast<std::size_t>(used) - 1, format,
                         arguments);
  va_end(arguments);
  const auto size = static_cast<std::size_t>(used) < sizeof line - 1
                        ? static_cast<std::size_t>(used)
                        : sizeof line - 2;
  line[size] = '\n';
  write_line(line, size + 1);
}

void check_failed(const char* expression, const char* file, int line) {
  log_line(Level::error, "check", "broken invariant: %s (%s:%d); stopping before bytes are wrong",
           expression, file, line);
  std::abort();
}

}  // namespace barswap

#include "base/host_memory.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "base/clock.hpp"

namespace barswap {
namespace {

constexpr std::uint64_t kUnknown = std::numeric_limits<std::uint64_t>::max();

// The beginning of a file as text; false if it cannot be read.
template <std::size_t N>
bool read_file(const char* path, char (&text)[N]) {
  const int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return false;
  const ssize_t size = read(descriptor, text, N - 1);
  close(descriptor);
  if (size < 0) return false;
  text[size] = '\0';
  return true;
}

std::uint64_t meminfo_bytes(const char* name) {
  char text[2048];
  if (!read_file("/proc/meminfo", text)) return kUnknown;
  const char* line = std::strstr(text, name);
  return line ? std::strtoull(line + std::strlen(name), nullptr, 10) * 1024 : kUnknown;
}

std::uint64_t number_in(const char* path) {
  char text[64];
  if (!read_file(path, text) || text[0] < '0' || text[0] > '9') return kUnknown;  // "max"
  return std::strtoull(text, nullptr, 10);
}

// Every ancestor's limit counts; the path ends at the mount point.
std::uint64_t group_room_v2(char* group) {
  std::uint64_t room = kUnknown;
  for (;;) {
    char path[640];
    std::snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
    const std::uint64_t limit = number_in(path);
    std::snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.current", group);
    const std::uint64_t used = number_in(path);
    if (limit != kUnknown && used != kUnknown) room = std::min(room, limit - std::min(limit, used));
    char* slash = std::strrchr(group, '/');
    if (!slash || *group == '\0') return room;
    *slash = '\0';
  }
}

std::uint64_t group_room() {
  char text[1024];
  if (read_file("/proc/self/cgroup", text)) {
    if (char* line = std::strstr(text, "0::/")) {
      char* group = line + 3;
      group[std::strcspn(group, "\n")] = '\0';
      if (group[1] == '\0') group[0] = '\0';
      const std::uint64_t room = group_room_v2(group);
      if (room != kUnknown) return room;
    }
  }
  const std::uint64_t limit = number_in("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  const std::uint64_t used = number_in("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  if (limit == kUnknown || used == kUnknown) return kUnknown;
  return limit - std::min(limit, used);
}

std::atomic<std::uint64_t> asked_ns{0};

}  // namespace

void host_available_grew() { asked_ns.store(0, std::memory_order_relaxed); }

std::uint64_t host_available_bytes() {
  // A host frame of 8 MiB takes some 2.5 ms to make, so an answer this old is at most a few frames
  // off.
  constexpr std::uint64_t kFreshNs = 5'000'000;
  static std::atomic<std::uint64_t> answer{0};
  const std::uint64_t time_ns = now_ns();
  const std::uint64_t last_ns = asked_ns.load(std::memory_order_acquire);
  if (last_ns != 0 && time_ns - last_ns < kFreshNs) return answer.load(std::memory_order_relaxed);
  answer.store(std::min(meminfo_bytes("MemAvailable:"), group_room()), std::memory_order_relaxed);
  asked_ns.store(time_ns, std::memory_order_release);
  return answer.load(std::memory_order_relaxed);
}

std::uint64_t host_total_bytes() {
  static std::atomic<std::uint64_t> known{0};
  std::uint64_t total = known.load(std::memory_order_relaxed);
  if (total == 0) {
    total = meminfo_bytes("MemTotal:");
    known.store(total, std::memory_order_relaxed);
  }
  return total;
}

}  // namespace barswap

#include "stats/stats.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.hpp"
#include "base/environment.hpp"
#include "stats/folder.hpp"

namespace barswap::stats {
namespace {

static_assert(BARSWAP_STATS_DIES == kDiesMax);
static_assert(BARSWAP_STATS_TIERS == kTiers);
static_assert(BARSWAP_STATS_CAUSES == kCauses);
// Readers check version and size: a change of the layout is a change of BARSWAP_STATS_VERSION.
static_assert(offsetof(barswap_stats, dies) == 416 && sizeof(barswap_stats) == 11584,
              "the layout changed: count BARSWAP_STATS_VERSION up and adjust this line");

constinit barswap_stats without_file = {};
constinit std::atomic<barswap_stats*> current = &without_file;
constinit char file_path[kPathMax + 32] = {};
constinit int file_descriptor = -1;  // open for life: the lock on it says that we live

std::uint64_t wall_clock_ns() {
  timespec time = {};
  clock_gettime(CLOCK_REALTIME, &time);
  return static_cast<std::uint64_t>(time.tv_sec) * 1'000'000'000u +
         static_cast<std::uint64_t>(time.tv_nsec);
}

template <std::size_t N>
void copy_text(char (&to)[N], const char* from) {
  std::size_t length = strnlen(from, N - 1);
  memcpy(to, from, length);
  memset(to + length, 0, N - length);
}

// Word by word: other threads may count meanwhile. What they add after their word is lost.
void copy_words(barswap_stats& to, barswap_stats& from) {
  static_assert(sizeof(barswap_stats) % sizeof(std::uint64_t) == 0);
  auto* target = reinterpret_cast<std::uint64_t*>(&to);
  auto* source = reinterpret_cast<std::uint64_t*>(&from);
  for (std::size_t i = 0; i < sizeof(barswap_stats) / sizeof(std::uint64_t); ++i)
    set(target[i], get(source[i]));
}

// Makes and locks a file of a free name. A cleaner may take the young file for one of an ended
// process before it is locked, so the link is looked at once more under the lock.
int create_locked(const Folder& folder, char* name, std::size_t name_size) {
  constexpr int kAttempts = 16;
  int suffix = 0;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    int pid = static_cast<int>(getpid());
    if (suffix == 0) snprintf(name, name_size, "%d.stats", pid);
    else snprintf(name, name_size, "%d-%d.stats", pid, suffix);
    int file =
        openat(folder.descriptor, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (file < 0) {
      if (errno != EEXIST) return -1;
      // Left by a program that this process was before exec: free to take. Otherwise it is held by
      // a process of the same number in another pid namespace.
      if (!remove_if_ended(folder.descriptor, name)) ++suffix;
      continue;
    }
    struct stat status;
    if (flock(file, LOCK_EX | LOCK_NB) == 0 && fstat(file, &status) == 0 && status.st_nlink > 0)
      return file;
    close(file);
    sched_yield();
  }
  return -1;
}

void* map_whole(int file, std::size_t size) {
  if (!file_size_allowed(size) || posix_fallocate(file, 0, static_cast<off_t>(size)) != 0)
    return MAP_FAILED;
  return mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
}

void begin(barswap_stats& stats, const char* program) {
  copy_words(stats, *current.load(std::memory_order_relaxed));
  stats.version = BARSWAP_STATS_VERSION;
  stats.size = sizeof(barswap_stats);
  stats.pid = static_cast<std::uint32_t>(getpid());
  stats.start_time_ns = wall_clock_ns();
  copy_text(stats.program, program);
  // Last: a reader that sees the magic sees the rest.
  std::atomic_ref<std::uint64_t>(stats.magic).store(BARSWAP_STATS_MAGIC, std::memory_order_release);
}

bool open_in(const Folder& folder, const char* program) {
  remove_ended(folder.descriptor);
  char name[32];
  int file = create_locked(folder, name, sizeof name);
  if (file < 0) return false;
  void* memory = map_whole(file, sizeof(barswap_stats));
  if (memory == MAP_FAILED) {
    unlinkat(folder.descriptor, name, 0);
    close(file);
    return false;
  }
  auto* stats = static_cast<barswap_stats*>(memory);
  begin(*stats, program);
  snprintf(file_path, sizeof file_path, "%s/%s", folder.path, name);
  file_descriptor = file;
  current.store(stats, std::memory_order_release);
  return true;
}

void count_move(barswap_event_kind kind, std::uint64_t& pages, std::uint64_t& moved_bytes,
                Cause cause, Die die, std::uint64_t bytes) {
  add(pages);
  add(moved_bytes, bytes);
  event(kind, cause, die, bytes);
}

barswap_cause_stats& of_cause(Cause cause) { return live().causes[static_cast<int>(cause)]; }

}  // namespace

barswap_stats& live() { return *current.load(std::memory_order_acquire); }

const char* path() { return file_path; }

bool open_file(const char* program) {
  if (file_descriptor >= 0) return true;
  for (Place place : {Place::runtime_dir, Place::shared_memory}) {
    Folder folder;
    if (!open_folder(place, environment().runtime_dir, true, folder)) continue;
    bool opened = open_in(folder, program);
    close_folder(folder);
    if (opened) return true;
  }
  return false;
}

void forked_child() {
  if (file_descriptor < 0) return;
  barswap_stats* mapped = current.load(std::memory_order_relaxed);
  void* replaced = mmap(mapped, sizeof(barswap_stats), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
  if (replaced == MAP_FAILED) {
    without_file = {};
    current.store(&without_file, std::memory_order_release);
  }
  close(file_descriptor);
  file_descriptor = -1;
  file_path[0] = '\0';
}

void event(barswap_event_kind kind, Cause cause, Die die, std::uint64_t bytes) {
  constexpr auto relaxed = std::memory_order_relaxed;
  barswap_stats& stats = live();
  std::uint64_t sequence = std::atomic_ref<std::uint64_t>(stats.event_count).fetch_add(1, relaxed);
  barswap_event& slot = stats.events[sequence % BARSWAP_STATS_EVENTS];
  std::atomic_ref<std::uint64_t> time(slot.time_ns);
  // Empty while it is written; a reader keeps a slot whose time and sequence stay the same.
  time.exchange(0, std::memory_order_acq_rel);
  std::atomic_ref<std::uint64_t>(slot.sequence).store(sequence, relaxed);
  std::atomic_ref<std::uint64_t>(slot.bytes).store(bytes, relaxed);
  std::atomic_ref<std::uint32_t>(slot.kind).store(kind, relaxed);
  std::atomic_ref<std::uint16_t>(slot.cause).store(static_cast<std::uint16_t>(cause), relaxed);
  std::atomic_ref<std::uint16_t>(slot.die).store(static_cast<std::uint16_t>(index_of(die)),
                                                 relaxed);
  time.store(now_ns(), std::memory_order_release);
}

void set_state(barswap_state state, const char* reason) {
  barswap_stats& stats = live();
  copy_text(stats.reason, reason);
  set(stats.state, static_cast<std::uint32_t>(state));
}

void set_policy(const char* files) { copy_text(live().policy, files); }

void moved_out(Cause cause, Die die, std::uint64_t bytes) {
  barswap_cause_stats& counts = of_cause(cause);
  count_move(BARSWAP_EVENT_MOVE_OUT, counts.pages_out, counts.bytes_out, cause, die, bytes);
}

void moved_in(Cause cause, Die die, std::uint64_t bytes) {
  barswap_cause_stats& counts = of_cause(cause);
  count_move(BARSWAP_EVENT_MOVE_IN, counts.pages_in, counts.bytes_in, cause, die, bytes);
}

}  // namespace barswap::stats

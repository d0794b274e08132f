#include "trace/trace.hpp"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "barswap/log.hpp"
#include "barswap/mutex.hpp"
#include "base/clock.hpp"
#include "trace/encode.hpp"

namespace barswap::trace {

constinit std::atomic<bool> detail::writing{false};

namespace {

// Readers check the version: a change of these is a change of BARSWAP_TRACE_VERSION.
static_assert(sizeof(barswap_trace_header) == 128 && sizeof(barswap_trace_record) == 16);
static_assert(sizeof(barswap_trace_die) == 72 && sizeof(barswap_trace_run) == 48);
static_assert(sizeof(barswap_trace_alloc) == 48 && sizeof(barswap_trace_launch) == 32);
static_assert(sizeof(barswap_trace_copy) == 32 && sizeof(barswap_trace_move) == 32);

constexpr std::size_t kBufferBytes = 64 << 10;
constexpr std::size_t kPathMax = 4096;
// What a killed process may lose, as long as it waits for its device now and then.
constexpr std::uint64_t kFlushNs = 100'000'000;

class Writer {
 public:
  bool open(const char* path, const char* program, std::uint64_t page_bytes);
  void close();
  void forked_child() {
    ::close(file_);
    file_ = -1;
  }
  std::uint64_t start_ns() const { return start_ns_; }

  // `fill` puts one record.
  template <class Fill>
  void record(Fill fill) {
    Lock lock(mutex_);
    if (on()) fill(*this);
  }
  void append(const void* bytes, std::size_t size);
  std::uint64_t count_launch() { return launches_++; }
  void flush_if_late(std::uint64_t time_ns);

 private:
  int open_file(const char* path);
  bool flush();
  bool still_ours() const;
  const char* write_whole(const std::uint8_t* bytes, std::size_t size);
  void stop(const char* why);

  Mutex<Rank::trace> mutex_;
  // Guarded by mutex_ but for start_ns_, which is fixed before the first record.
  int file_ = -1;
  dev_t device_ = 0;
  ino_t node_ = 0;
  std::uint64_t start_ns_ = 0, flushed_ns_ = 0;
  std::uint64_t written_bytes_ = 0;
  std::uint64_t launches_ = 0;
  std::size_t used_ = 0;
  char path_[kPathMax] = {};
  std::uint8_t buffer_[kBufferBytes] = {};
};

constinit Writer writer;

void expand(const char* path, char* out, std::size_t size) {
  const char* mark = strstr(path, "%p");
  if (!mark) snprintf(out, size, "%s", path);
  else
    snprintf(out, size, "%.*s%d%s", static_cast<int>(mark - path), path, static_cast<int>(getpid()),
             mark + 2);
}

// An open file that nobody else writes to, or -1 with errno. A pipe or a socket could raise a
// signal or stand still for its reader.
int open_locked(const char* path) {
  const int file = ::open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0644);
  if (file < 0) return -1;
  struct stat status;
  int trouble = 0;
  if (fstat(file, &status) != 0) trouble = errno;
  else if (!S_ISREG(status.st_mode) && !S_ISCHR(status.st_mode)) trouble = ENOTSUP;
  else if (S_ISREG(status.st_mode) && flock(file, LOCK_EX | LOCK_NB) != 0) trouble = EWOULDBLOCK;
  else if (S_ISREG(status.st_mode) && ftruncate(file, 0) != 0) trouble = errno;
  if (trouble == 0) return file;
  ::close(file);
  errno = trouble;
  return -1;
}

int Writer::open_file(const char* path) {
  expand(path, path_, sizeof path_);
  int file = open_locked(path_);
  if (file >= 0 || errno != EWOULDBLOCK) return file;
  const std::size_t used = strnlen(path_, sizeof path_);
  snprintf(path_ + used, sizeof path_ - used, ".%d", static_cast<int>(getpid()));
  return open_locked(path_);
}

bool Writer::open(const char* path, const char* program, std::uint64_t page_bytes) {
  Lock lock(mutex_);
  if (file_ >= 0) return on();
  file_ = open_file(path);
  struct stat status;
  if (file_ < 0 || fstat(file_, &status) != 0) {
    BARSWAP_LOG(warn, "trace",
                "no trace: %s cannot be written (%s). Name another file in BARSWAP_TRACE", path_,
                strerror(errno));
    return false;
  }
  device_ = status.st_dev;
  node_ = status.st_ino;
  timespec wall = {};
  clock_gettime(CLOCK_REALTIME, &wall);
  start_ns_ = flushed_ns_ = now_ns();
  barswap_trace_header header = {};
  header.magic = BARSWAP_TRACE_MAGIC;
  header.version = BARSWAP_TRACE_VERSION;
  header.header_bytes = sizeof header;
  header.page_bytes = page_bytes;
  header.start_ns = start_ns_;
  header.wall_ns = static_cast<std::uint64_t>(wall.tv_sec) * 1'000'000'000u +
                   static_cast<std::uint64_t>(wall.tv_nsec);
  header.pid = static_cast<std::uint32_t>(getpid());
  snprintf(header.program, sizeof header.program, "%s", program);
  detail::writing.store(true, std::memory_order_release);
  append(&header, sizeof header);
  return flush();
}

void Writer::close() {
  Lock lock(mutex_);
  if (!on()) return;
  struct {
    barswap_trace_record head;
  } end = {};
  end.head.die = BARSWAP_TRACE_ANY_DIE;
  end.head.time_ns = now_ns() - start_ns_;
  put(*this, end, BARSWAP_TRACE_END);
  (void)flush();
  detail::writing.store(false, std::memory_order_release);
}

void Writer::append(const void* bytes, std::size_t size) {
  const auto* from = static_cast<const std::uint8_t*>(bytes);
  while (size > 0) {
    if (used_ == kBufferBytes && !flush()) return;
    const std::size_t part = std::min(size, kBufferBytes - used_);
    memcpy(buffer_ + used_, from, part);
    used_ += part;
    from += part;
    size -= part;
  }
}

void Writer::flush_if_late(std::uint64_t time_ns) {
  if (time_ns - flushed_ns_ < kFlushNs || time_ns < flushed_ns_) return;
  (void)flush();
  flushed_ns_ = time_ns;
}

// A program may close every descriptor that it did not open, and its next file gets our number.
bool Writer::still_ours() const {
  struct stat status;
  return fstat(file_, &status) == 0 && status.st_dev == device_ && status.st_ino == node_;
}

// Why it failed, or null. Growing a file beyond RLIMIT_FSIZE would raise a signal.
const char* Writer::write_whole(const std::uint8_t* bytes, std::size_t size) {
  rlimit limit;
  if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
      written_bytes_ + size > limit.rlim_cur)
    return "the limit on the size of files is reached";
  if (!still_ours()) return "the program closed the file";
  while (size > 0) {
    const ssize_t done = ::write(file_, bytes, size);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return done < 0 ? strerror(errno) : "nothing could be written";
    bytes += done;
    size -= static_cast<std::size_t>(done);
    written_bytes_ += static_cast<std::uint64_t>(done);
  }
  return nullptr;
}

bool Writer::flush() {
  if (!on()) return false;
  const char* trouble = used_ == 0 ? nullptr : write_whole(buffer_, used_);
  used_ = 0;
  if (trouble) stop(trouble);
  return !trouble;
}

void Writer::stop(const char* why) {
  detail::writing.store(false, std::memory_order_release);
  BARSWAP_LOG(warn, "trace",
              "the trace %s ends here, after %llu bytes: %s. The program goes on; what was written "
              "can be replayed",
              path_, static_cast<unsigned long long>(written_bytes_), why);
}

std::uint64_t since_start(std::uint64_t time_ns) {
  return time_ns - std::min(time_ns, writer.start_ns());
}

barswap_trace_record head_at(std::uint64_t time_ns, const Where& where) {
  barswap_trace_record head = {};
  head.die = static_cast<std::uint8_t>(index_of(where.die));
  head.stream = name_of_stream(where.stream);
  head.time_ns = since_start(time_ns);
  return head;
}

barswap_trace_record head_now(Die die) { return head_at(now_ns(), {die, 0}); }

std::uint64_t submitted(barswap_trace_kind kind, std::uint64_t site, std::uint64_t variant,
                        const Where& where, std::span<const NamedRange> ranges) {
  std::uint64_t number = 0;
  if (!on()) return number;
  const barswap_trace_launch record{head_at(now_ns(), where), site, variant};
  writer.record([&](Writer& out) {
    number = out.count_launch();
    put_ranges(out, record, kind, ranges);
  });
  return number;
}

}  // namespace

bool open(const char* path, const char* program, std::uint64_t page_bytes) {
  return writer.open(path, program, page_bytes);
}

void close() { writer.close(); }

// Another thread of the parent may have held the lock: nothing here takes it.
void forked_child() {
  if (!on()) return;
  detail::writing.store(false, std::memory_order_relaxed);
  writer.forked_child();
}

void die(Die die, std::uint64_t budget_bytes, std::uint64_t host_limit_bytes, const Rates& rates) {
  if (!on()) return;
  const barswap_trace_die record{head_now(die),  budget_bytes,   host_limit_bytes, rates.copy_in,
                                 rates.copy_out, rates.in_place, rates.peer,       rates.local};
  writer.record([&](Writer& out) { put(out, record, BARSWAP_TRACE_DIE); });
}

void run(const RunFacts& facts, std::span<const Tier> pages) {
  if (!on()) return;
  const barswap_trace_run record{
      head_now(facts.die), facts.run, facts.bytes, facts.page_bytes, 0, facts.kind, facts.place, 0};
  writer.record([&](Writer& out) { put_run(out, record, pages); });
}

void run_ended(Die die, std::uint64_t run) {
  if (!on()) return;
  const barswap_trace_run_end record{head_now(die), run};
  writer.record([&](Writer& out) { put(out, record, BARSWAP_TRACE_RUN_END); });
}

void allocated(const RangeFacts& facts) {
  if (!on()) return;
  const barswap_trace_alloc record{head_now(facts.die),
                                   facts.bytes,
                                   facts.run,
                                   facts.offset_bytes,
                                   word_of({facts.range, 0}),
                                   0};
  writer.record([&](Writer& out) { put(out, record, BARSWAP_TRACE_ALLOC); });
}

void freed(Die die, std::uint64_t range) {
  if (!on()) return;
  const barswap_trace_free record{head_now(die), word_of({range, 0}), 0};
  writer.record([&](Writer& out) { put(out, record, BARSWAP_TRACE_FREE); });
}

void moved(Die die, std::uint64_t run, std::uint64_t page, Tier from, Tier to, Cause cause) {
  if (!on()) return;
  const barswap_trace_move record{head_now(die),
                                  run,
                                  static_cast<std::uint32_t>(page),
                                  static_cast<std::uint8_t>(from),
                                  static_cast<std::uint8_t>(to),
                                  static_cast<std::uint8_t>(cause),
                                  0};
  writer.record([&](Writer& out) { put(out, record, BARSWAP_TRACE_MOVE); });
}

void drained(Die die, std::uint64_t closed_at_ns, std::uint64_t closed_ns) {
  if (!on()) return;
  const barswap_trace_drain record{head_at(closed_at_ns, {die, 0}), closed_ns};
  writer.record([&](Writer& out) { put(out, record, BARSWAP_TRACE_DRAIN); });
}

std::uint64_t launch(std::uint64_t site, std::uint64_t variant, const Where& where,
                     std::span<const NamedRange> ranges) {
  return submitted(BARSWAP_TRACE_LAUNCH, site, variant, where, ranges);
}

std::uint64_t graph(std::uint64_t site, std::uint64_t variant, const Where& where,
                    std::span<const NamedRange> ranges) {
  return submitted(BARSWAP_TRACE_GRAPH, site, variant, where, ranges);
}

void timed(Die die, std::uint64_t launch, std::uint64_t device_ns) {
  if (!on()) return;
  const barswap_trace_timed record{head_now(die), launch, device_ns};
  writer.record([&](Writer& out) { put(out, record, BARSWAP_TRACE_TIMED); });
}

void copy(const CopyFacts& facts, const Where& where, std::span<const NamedRange> ranges) {
  if (!on()) return;
  const barswap_trace_copy record{head_at(now_ns(), where), facts.bytes,
                                  static_cast<std::uint32_t>(facts.direction),
                                  facts.blocking ? 1u : 0u};
  writer.record([&](Writer& out) { put_ranges(out, record, BARSWAP_TRACE_COPY, ranges); });
}

void memset(std::uint64_t bytes, const Where& where, std::span<const NamedRange> ranges) {
  if (!on()) return;
  const barswap_trace_copy record{head_at(now_ns(), where), bytes, 0, 0};
  writer.record([&](Writer& out) { put_ranges(out, record, BARSWAP_TRACE_MEMSET, ranges); });
}

void sync(const Where& where, std::uint64_t before_ns, std::uint64_t after_ns) {
  if (!on()) return;
  const barswap_trace_sync record{head_at(before_ns, where), since_start(after_ns)};
  writer.record([&](Writer& out) {
    put(out, record, BARSWAP_TRACE_SYNC);
    out.flush_if_late(after_ns);
  });
}

Wait::Wait(bool wanted, const Where& where)
    : where_(where), before_ns_(wanted && on() ? now_ns() : 0) {}

void Wait::finish() const { sync(where_, before_ns_, now_ns()); }

}  // namespace barswap::trace

// The trace of a process, for `barswap replay`: what it allocated, launched, copied and waited for,
// and what moved. Part of the floor: every room may write, none reads. The file's layout is
// include/barswap/trace.h.
//
// Without a trace each call costs one relaxed load. With one, records go into a buffer under
// Rank::trace, the last of all ranks, and from there into the file: nothing is allocated, and no
// driver call is made. A file that cannot be written any more, or that the program closed, ends the
// trace with one warning; the program goes on. Numbers of ranges and runs are their rooms' own.
#pragma once
#include <atomic>
#include <cstdint>
#include <span>

#include "barswap/trace.h"
#include "barswap/units.hpp"

namespace barswap::trace {

namespace detail {
extern constinit std::atomic<bool> writing;
}  // namespace detail

// Whoever must do work to know what to say asks first.
inline bool on() { return detail::writing.load(std::memory_order_relaxed); }

// Begins a new file. A "%p" in the path becomes the process's number; a file that another living
// process writes to is left alone, and PATH.PID taken. False, with one warning: there is no trace.
// Called once, by session, under its start lock.
bool open(const char* path, const char* program, std::uint64_t page_bytes);
// The last record, and the end of the file. Later calls do nothing.
void close();
// In a child after fork: the file stays the parent's alone. Takes no lock.
void forked_child();

constexpr Die kAnyDie{BARSWAP_TRACE_ANY_DIE};

// Where an operation goes: the die, and the stream by any number that is the same each time, such
// as its handle. 0 is no stream in particular.
struct Where {
  Die die = kAnyDie;
  std::uint64_t stream = 0;
};

// A range that an operation names. `flags` of BARSWAP_TRACE_READS and so on; 0: all of it, read or
// written.
struct NamedRange {
  std::uint64_t range = 0;  // memory's number for it; kEverything: nobody knows what is reached
  std::uint32_t flags = 0;
};
constexpr std::uint64_t kEverything = ~std::uint64_t{0};

// Bytes a second; 0: not known.
struct Rates {
  std::uint64_t copy_in = 0, copy_out = 0, in_place = 0, peer = 0, local = 0;
};
void die(Die die, std::uint64_t budget_bytes, std::uint64_t host_limit_bytes, const Rates& rates);

struct RunFacts {
  std::uint64_t run = 0;  // counts up; a revived run comes with a new number
  Die die{0};
  std::uint64_t bytes = 0, page_bytes = 0;
  std::uint8_t kind = 0, place = 0;
};
void run(const RunFacts& facts, std::span<const Tier> pages);
void run_ended(Die die, std::uint64_t run);

struct RangeFacts {
  std::uint64_t range = 0;
  Die die{0};
  std::uint64_t bytes = 0;
  std::uint64_t run = 0, offset_bytes = 0;
};
void allocated(const RangeFacts& facts);
void freed(Die die, std::uint64_t range);

void moved(Die die, std::uint64_t run, std::uint64_t page, Tier from, Tier to, Cause cause);
// The gate was closed from a time on (now_ns()), for a while.
void drained(Die die, std::uint64_t closed_at_ns, std::uint64_t closed_ns);

// Operations, as they are submitted. The answer is the launch's number, for timed().
std::uint64_t launch(std::uint64_t site, std::uint64_t variant, const Where& where,
                     std::span<const NamedRange> ranges);
std::uint64_t graph(std::uint64_t site, std::uint64_t variant, const Where& where,
                    std::span<const NamedRange> ranges);
void timed(Die die, std::uint64_t launch, std::uint64_t device_ns);

struct CopyFacts {
  std::uint64_t bytes = 0;
  barswap_trace_direction direction = BARSWAP_TRACE_ON_DIE;
  bool blocking = false;
};
void copy(const CopyFacts& facts, const Where& where, std::span<const NamedRange> ranges);
void memset(std::uint64_t bytes, const Where& where, std::span<const NamedRange> ranges);
// The program waited for the device between two times of now_ns().
void sync(const Where& where, std::uint64_t before_ns, std::uint64_t after_ns);

// Brackets a call in which the program waits for the device.
class Wait {
 public:
  // Not `wanted`: nothing is recorded, as for a call inside of another.
  explicit Wait(bool wanted, const Where& where);
  ~Wait() {
    if (before_ns_ != 0) finish();
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;

 private:
  void finish() const;
  const Where where_;
  const std::uint64_t before_ns_;  // 0: no record
};

}  // namespace barswap::trace

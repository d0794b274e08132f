// Veil: what `barswap verify` looks through. Work that is submitted finds only those large ranges
// mapped that it names; all others are mapped to nothing, so that a kernel that follows a pointer
// its parameters do not name faults. One piece of work is admitted at a time: each waits until all
// before it have ended, so that a fault is that of the work submitted last.
//
// It owns the process's record (barswap/verify.h), the queue, and the question whether the driver
// has written a core dump. The pager hides and shows pages (veiling.cpp). Nothing of it exists in a
// process that is not being verified.
#pragma once
#include <atomic>
#include <cstdint>
#include <string>

#include "barswap/units.hpp"
#include "barswap/verify.h"

namespace barswap::pager {

// What is about to be submitted; texts may be empty.
struct Work {
  std::string kernel, site;
};

class Veil {
 public:
  Veil() = default;
  ~Veil();
  Veil(const Veil&) = delete;
  Veil& operator=(const Veil&) = delete;

  // Null in a process that is not verified, and once nothing is checked any more.
  static Veil* current() { return current_.load(std::memory_order_acquire); }
  // Makes the record in `folder`, where the driver writes its core dump as well. False: it cannot
  // be made.
  bool start(const char* folder);
  // Nothing is checked from now on. The first reason stays.
  void stop(barswap_verify_state state, const char* reason);

  // One thread at a time submits, in the order in which they came. False: the one that was admitted
  // has not come to an end for too long, or nothing is checked any more.
  bool admit();
  void dismiss();

  // Whether the driver has begun to write a core dump.
  bool dumped() const;
  barswap_verify& record() { return *record_; }
  void describe(const Work& work, bool everything);

 private:
  static std::atomic<Veil*> current_;
  barswap_verify* record_ = nullptr;
  std::string dump_;
  std::atomic<std::uint32_t> tickets_{0}, served_{0};  // the second is waited for
};

}  // namespace barswap::pager

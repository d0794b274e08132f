// Session's face towards the exports that need no handler of their own: who may enter, when to
// wait, whom to tell. No CUDA type appears.
//
// Door and Submission are values that a call holds while it is inside. Nothing here throws, and no
// lock is held while the driver is called.
#pragma once
#include <atomic>
#include <cstdint>

#include "driver/verbs.hpp"
#include "pager/flights.hpp"
#include "pager/gate.hpp"
#include "pager/veil.hpp"
#include "session/at_home.hpp"

namespace barswap::session {

// Calls of this thread that are inside us, one in another: a tool or the driver called back.
extern thread_local constinit std::uint32_t door_depth;

// Open for a thread's outermost call. Closed means that the call must go straight to the driver: it
// is nested, or we stepped aside, or this is a forked child, or cuInit has not been called.
class Door {
 public:
  Door() noexcept
      : open_(door_depth++ == 0 && pager::Gate::word() != pager::GateWord::pass_through) {}
  ~Door() { --door_depth; }
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  bool open() const { return open_; }

 private:
  const bool open_;
};

// What the next submission of this thread names, if whoever submits it could tell; only while
// somebody asks (pager::Flights).
extern thread_local constinit pager::Names declared_names;

// And the kernel that it launches, if it does that.
extern thread_local constinit driver::Function declared_function;

// It lives as long as the call that declares: what one call named is never taken for another's.
class Declaration {
 public:
  Declaration() noexcept = default;
  ~Declaration() {
    declared_names.forget();
    declared_function = driver::Function::none;
  }
  Declaration(const Declaration&) = delete;
  Declaration& operator=(const Declaration&) = delete;
};

enum class Says : std::uint8_t { everything, declared, nothing };

// The gate, entered shared: no page moves while one lives, but for ranges that it does not name.
class Submission {
 public:
  explicit Submission(bool may_block, Says says = Says::everything) noexcept
      : home_(true) {
    enter(may_block, says);
  }
  // Of a launch that is sent to another die.
  struct Away {};
  explicit Submission(Away) noexcept : home_(false) { enter(false, Says::declared); }
  ~Submission() {
    pager::Gate::leave();
    if (admitted_) [[unlikely]] admitted_->dismiss();
  }
  Submission(const Submission&) = delete;
  Submission& operator=(const Submission&) = delete;

 private:
  void enter(bool may_block, Says says) noexcept {
    pager::Gate::enter(may_block);
    pager::Flights* flights = pager::Flights::current();
    if (flights && says != Says::nothing) [[unlikely]] board(*flights, may_block, says);
  }
  void board(pager::Flights& flights, bool may_block, Says says) noexcept;
  void veiled(pager::Veil& veil, bool may_block, const pager::Names& names) noexcept;

  const AtHome home_;  // before the gate: whoever comes home may wait
  pager::Veil* admitted_ = nullptr;
};

// Called outside the gate. True: room was made, repeat the call once.
bool after_out_of_memory() noexcept;
// After a call that waited for the device.
void free_moment() noexcept;

// What was noted so far; null: nothing. Strings of static lifetime.
extern std::atomic<const char*> unseen_submitter;
// Something submits work that does not pass the gate: from now on no page moves.
void note_unseen_submitter(const char* what) noexcept;
// A driver function that no row names was handed out.
void note_unknown_function(const char* name) noexcept;
// What the die with this UUID advertises; false: ask the driver.
bool advertised(const unsigned char uuid[16], std::uint64_t* total_bytes,
                std::uint64_t* free_bytes) noexcept;
// Device memory of this process is virtual.
bool active() noexcept;
// An empty string when there is none.
const char* statistics_path() noexcept;

}  // namespace barswap::session

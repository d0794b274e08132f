// Session's face towards interpose: who may enter, when to wait, whom to tell. No CUDA type appears.
//
// Door and Submission are values that a call holds while it is inside. Nothing here throws, and
// nothing here calls the driver while a lock is held.
#pragma once
#include <cstdint>

namespace barswap::session {

// Counts the thread's depth. Closed means that the call must go straight to the driver: it is nested,
// or we stepped aside, or this is a forked child, or cuInit has not been called.
class Door {
 public:
  Door() noexcept : open_(depth_++ == 0) {}
  ~Door() { --depth_; }
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;
  bool open() const { return open_; }

 private:
  inline static constinit thread_local int depth_ = 0;
  bool open_;
};

// The gate, entered shared: no page moves while one lives.
class Submission {
 public:
  explicit Submission(bool may_block) noexcept { static_cast<void>(may_block); }
  ~Submission() {}
  Submission(const Submission&) = delete;
  Submission& operator=(const Submission&) = delete;
};

// Called outside the gate. True: room was made, repeat the call once.
inline bool after_out_of_memory() noexcept { return false; }
// After a call that waited for the device.
inline void free_moment() noexcept {}

// Something submits work that does not pass the gate: from now on no page moves.
inline void note_unseen_submitter(const char* what) noexcept { static_cast<void>(what); }
// A driver function that no row names was called for the first time.
inline void note_unknown_function(const char* name) noexcept { static_cast<void>(name); }
// What the die with this UUID advertises; false: ask the driver.
inline bool advertised(const unsigned char uuid[16], std::uint64_t* total_bytes,
                       std::uint64_t* free_bytes) noexcept {
  static_cast<void>(uuid);
  static_cast<void>(total_bytes);
  static_cast<void>(free_bytes);
  return false;
}
// Device memory of this process is virtual.
inline bool active() noexcept { return false; }
// An empty string when there is none.
inline const char* statistics_path() noexcept { return ""; }

}  // namespace barswap::session

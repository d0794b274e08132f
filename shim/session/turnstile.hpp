// The turnstile: calls of the program that submit, wait for or order work pass it while somebody
// wants to know of them (at_home.hpp). Who holds it launches several things as if they were one:
// all that the program submits from other threads comes before or after.
//
// It owns a count and a flag. Whoever enters raises the count and then reads the flag; whoever
// holds sets the flag and then reads the count. It is no lock: who holds it may wait for the
// device, and who waits for it has it know that (waited_for), so that it is through soon.
#pragma once
#include <atomic>
#include <cstdint>

#include "pager/pager.hpp"

namespace barswap::session {

class Turnstile {
 public:
  explicit Turnstile(pager::Pager& pager) : pager_(pager) {}
  Turnstile(const Turnstile&) = delete;
  Turnstile& operator=(const Turnstile&) = delete;

  // A call begins, once nobody holds it but this thread; and ends.
  void enter();
  void leave() { users_.fetch_sub(1); }
  // Calls under way, and all that have begun.
  std::uint32_t users() const { return users_.load(); }
  std::uint64_t epoch() const { return epoch_.load(); }
  // Others wait for who holds.
  bool waited_for() const { return waiting_.load(std::memory_order_relaxed) != 0; }
  // Somebody held it for so long that others went on: nobody holds it any more.
  bool broken() const { return broken_.load(std::memory_order_relaxed); }

  // Made by a call under way, outside the gate.
  class Held {
   public:
    explicit Held(Turnstile& turnstile);
    ~Held();
    Held(const Held&) = delete;
    Held& operator=(const Held&) = delete;
    // False: others are about to submit at this moment.
    bool ours() const { return alone_; }
    // False: others have waited too long, and went on.
    bool lasts() const { return turnstile_.held_.load(); }

   private:
    Turnstile& turnstile_;
    bool alone_ = false;
  };

 private:
  void await_holder();

  pager::Pager& pager_;
  std::atomic<std::uint32_t> users_{0};
  std::atomic<std::uint64_t> epoch_{0};
  std::atomic<bool> held_{false};
  std::atomic<std::uint32_t> waiting_{0};
  std::atomic<bool> broken_{false};
};

}  // namespace barswap::session

// A thread of ours in the program's process: it blocks every signal, does its work whenever its
// bell is rung or its rest is over, and is asked to end, and waited for, at the end of the process.
// Without a thread (the process has no room for one) running() stays false, and whoever owns it
// does the work elsewhere.
#pragma once
#include <pthread.h>

#include <atomic>
#include <cstdint>

namespace barswap {

class OwnThread {
 public:
  struct Work {
    const char* name = "";           // at most 15 characters, as tools show it
    void (*begin)(void*) = nullptr;  // once, on the thread
    std::uint64_t (*turn)(void*) = nullptr;  // answers how long to rest, in ns
    void* self = nullptr;
  };

  // The first call starts it; later ones ring.
  void start(const Work& work);
  void ring();
  // Waits for its end so long.
  void stop(int seconds);
  bool running() const { return running_.load(std::memory_order_acquire); }

 private:
  static void* main(void* self);

  Work work_;
  pthread_t thread_ = {};
  std::atomic<bool> started_{false}, running_{false}, ending_{false};
  std::atomic<std::uint32_t> bell_{0};
};

}  // namespace barswap

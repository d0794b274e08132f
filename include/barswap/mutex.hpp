// Mutex<Rank>: every lock of the shim names its place in one order, and a thread may only take a
// lock of higher rank than those it holds. docs/locking.md has a paragraph for each rank. Builds
// with BARSWAP_RANK_CHECK verify each acquisition.
#pragma once
#include <cstdint>
#include <mutex>

#if defined(__clang__)
#define BARSWAP_CAPABILITY(name) __attribute__((capability(name)))
#define BARSWAP_SCOPED __attribute__((scoped_lockable))
#define BARSWAP_GUARDED_BY(mutex) __attribute__((guarded_by(mutex)))
#define BARSWAP_REQUIRES(...) __attribute__((requires_capability(__VA_ARGS__)))
#define BARSWAP_ACQUIRE(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define BARSWAP_TRY_ACQUIRE(...) __attribute__((try_acquire_capability(__VA_ARGS__)))
#define BARSWAP_RELEASE(...) __attribute__((release_capability(__VA_ARGS__)))
#define BARSWAP_RETURNS(mutex) __attribute__((lock_returned(mutex)))
#define BARSWAP_NO_ANALYSIS __attribute__((no_thread_safety_analysis))
#else
#define BARSWAP_CAPABILITY(name)
#define BARSWAP_SCOPED
#define BARSWAP_GUARDED_BY(mutex)
#define BARSWAP_REQUIRES(...)
#define BARSWAP_ACQUIRE(...)
#define BARSWAP_TRY_ACQUIRE(...)
#define BARSWAP_RELEASE(...)
#define BARSWAP_RETURNS(mutex)
#define BARSWAP_NO_ANALYSIS
#endif

namespace barswap {

// In the order in which they may be taken. A lock is held across a driver call only where
// docs/locking.md says so.
enum class Rank : std::uint8_t {
  start,    // session: start and end of the process's life with us
  mover,    // pager: one drain at a time; a context's birth and death
  crossing,  // session: the buffers of copies between dies
  routing,  // session: the chain of launches that are sent to other dies
  graphs,   // session: the executable graphs that may run on several dies
  reach,    // session: what executable graphs name
  layouts,  // session: how many parameters functions have
  foresight,  // session: the learnt cycle
  stopwatch,  // session: the events around launches that are timed
  maps,     // memory: the handles that stand for memory the program maps itself
  ranges,   // memory: which addresses belong to which range
  pages,    // pager: which frame each page has
  frames,   // pager: the budget and the frames that are ready
  proofs,   // pager: contexts, live captures, idle proofs
  outside,  // memory: what the driver keeps for the program
  peers,    // session: who may reach whom
  stats,    // stats: the ring of recent events
  trace,    // trace: the buffer of records and their file
};

#ifdef BARSWAP_RANK_CHECK
void rank_acquired(Rank rank);
void rank_released(Rank rank);
#else
inline void rank_acquired(Rank) {}
inline void rank_released(Rank) {}
#endif

template <Rank R>
class BARSWAP_CAPABILITY("mutex") Mutex {
 public:
  constexpr Mutex() = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;
  void lock() BARSWAP_ACQUIRE() {
    rank_acquired(R);
    mutex_.lock();
  }
  bool try_lock() BARSWAP_TRY_ACQUIRE(true) {
    if (!mutex_.try_lock()) return false;
    rank_acquired(R);
    return true;
  }
  void unlock() BARSWAP_RELEASE() {
    mutex_.unlock();
    rank_released(R);
  }

 private:
  std::mutex mutex_;
};

template <class M>
class BARSWAP_SCOPED Lock {
 public:
  explicit Lock(M& mutex) BARSWAP_ACQUIRE(mutex) : mutex_(mutex) { mutex_.lock(); }
  ~Lock() BARSWAP_RELEASE() { mutex_.unlock(); }
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

 private:
  M& mutex_;
};

}  // namespace barswap

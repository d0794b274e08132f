// The stopwatch: how long launches take on their die, for the trace (BARSWAP_TRACE_TIMES=1) and, a
// few of each kernel, for foresight. Two events lie around a launch, on its stream, and are read
// when both have ended: after some wait of the program, or when foresight asks. Launches that a
// capture records are not timed, nor those for which no pair of events is to be had: a trace may
// lack times, and so may foresight.
//
// It owns the events and the times of samples that nobody has taken yet, guarded by
// Rank::stopwatch, under which the driver is not called.
#pragma once
#include <atomic>
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "policy/reuse.hpp"

namespace barswap::session {

// One launch of a kernel, as it was submitted.
struct Sample {
  std::uint64_t kernel = 0;  // its function, block and grid in one number
  policy::OnHost host;       // of what it names
};

// What a launch is timed for; neither: not at all.
struct Timing {
  std::optional<std::uint64_t> traced;  // its number in the trace
  std::optional<Sample> sampled;
};

class Stopwatch {
 public:
  explicit Stopwatch(const driver::Verbs& verbs) : verbs_(verbs) {}
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  struct Lap {
    driver::Event start = driver::Event::none, end = driver::Event::none;
    driver::Context context = driver::Context::none;
    driver::Stream stream = driver::Stream::none;
    Die die{0};
    Timing timing;
    std::uint64_t begun_ns = 0;
  };
  // Right before a launch on this stream, by its handle (never 0), and right after it.
  std::optional<Lap> begin(driver::Stream stream, const Timing& timing);
  void end(const Lap& lap);
  // Writes down what has ended.
  void collect();
  // Samples that are running or have not been taken: a look costs one relaxed load.
  bool samples() const { return samples_.load(std::memory_order_relaxed) != 0; }
  struct Timed {
    Sample sample;
    std::uint64_t elapsed_ns = 0;  // 0: it could not be timed
  };
  // The launch is not timed after all.
  void lose(const Timing& timing);
  // Those collected since the last time.
  std::vector<Timed> take();
  // The context is about to end: nobody asks for its events any more.
  void forget(driver::Context context);

 private:
  static constexpr std::size_t kLapsMax = 8192;  // begun and not collected
  static constexpr std::size_t kCollectEvery = 256;
  std::optional<Lap> pair_of(driver::Context context);
  void give_back(const Lap& lap);
  void drop(const Lap& lap);

  const driver::Verbs& verbs_;
  Mutex<Rank::stopwatch> mutex_;
  std::unordered_map<driver::Context, std::vector<Lap>> spare_ BARSWAP_GUARDED_BY(mutex_);
  std::deque<Lap> running_ BARSWAP_GUARDED_BY(mutex_);
  std::size_t out_ BARSWAP_GUARDED_BY(mutex_) = 0;
  bool collecting_ BARSWAP_GUARDED_BY(mutex_) = false;
  std::vector<Timed> timed_ BARSWAP_GUARDED_BY(mutex_);
  std::atomic<std::uint32_t> samples_{0};
  // Events that the driver did not take are never used again; nothing is timed any more before that
  // is many.
  static constexpr std::uint32_t kDropsMax = 16;
  std::uint32_t drops_ BARSWAP_GUARDED_BY(mutex_) = 0;
};

}  // namespace barswap::session

// The stopwatch: how long launches take on their die, for the trace (BARSWAP_TRACE_TIMES=1). Two
// events lie around a launch, on its stream, and are read after some wait of the program, when both
// have ended. Launches that a capture records are not timed, nor those for which no pair of events
// is to be had: a trace may lack times.
//
// It owns the events, guarded by Rank::stopwatch, under which the driver is not called.
#pragma once
#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"

namespace barswap::session {

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
    std::uint64_t launch = 0;  // its number in the trace
  };
  // Right before a launch on this stream, by its handle (never 0), and right after it.
  std::optional<Lap> begin(driver::Stream stream, std::uint64_t launch);
  void end(const Lap& lap);
  // Writes down what has ended.
  void collect();
  // The context is about to end: nobody asks for its events any more.
  void forget(driver::Context context);

 private:
  static constexpr std::size_t kLapsMax = 8192;  // begun and not collected
  static constexpr std::size_t kCollectEvery = 256;
  std::optional<Lap> pair_of(driver::Context context);
  void give_back(const Lap& lap);
  void drop();

  const driver::Verbs& verbs_;
  Mutex<Rank::stopwatch> mutex_;
  std::unordered_map<driver::Context, std::vector<Lap>> spare_ BARSWAP_GUARDED_BY(mutex_);
  std::deque<Lap> running_ BARSWAP_GUARDED_BY(mutex_);
  std::size_t out_ BARSWAP_GUARDED_BY(mutex_) = 0;
  bool collecting_ BARSWAP_GUARDED_BY(mutex_) = false;
};

}  // namespace barswap::session

#include "session/stopwatch.hpp"

#include <algorithm>

#include "base/clock.hpp"
#include "trace/trace.hpp"

namespace barswap::session {

std::optional<Stopwatch::Lap> Stopwatch::pair_of(driver::Context context) {
  {
    Lock lock(mutex_);
    if (out_ >= kLapsMax || drops_ >= kDropsMax) return std::nullopt;
    ++out_;
    auto& spare = spare_[context];
    if (!spare.empty()) {
      const Lap lap = spare.back();
      spare.pop_back();
      return lap;
    }
  }
  Lap lap;
  lap.context = context;
  if (auto start = verbs_.make_timing_event()) {
    lap.start = *start;
    if (auto end = verbs_.make_timing_event()) {
      lap.end = *end;
      return lap;
    }
    verbs_.destroy(lap.start);
  }
  Lock lock(mutex_);
  --out_;
  return std::nullopt;
}

void Stopwatch::give_back(const Lap& lap) {
  Lock lock(mutex_);
  --out_;
  spare_[lap.context].push_back(lap);
}

std::optional<Stopwatch::Lap> Stopwatch::begin(driver::Stream stream, const Timing& timing) {
  const driver::RelaxedCapture relaxed(verbs_);
  auto capturing = verbs_.capturing(stream);
  auto context = verbs_.current();
  auto die = verbs_.current_die();
  auto lap = capturing && !*capturing && context && *context != driver::Context::none && die
                 ? pair_of(*context)
                 : std::nullopt;
  if (!lap) {
    lose(timing);
    return std::nullopt;
  }
  lap->stream = stream;
  lap->die = *die;
  lap->timing = timing;
  if (timing.sampled) samples_.fetch_add(1, std::memory_order_relaxed);
  lap->begun_ns = now_ns();
  if (verbs_.record(lap->start, stream)) return lap;
  drop(*lap);
  return std::nullopt;
}

// The driver does not take the events, and they are left alone.
void Stopwatch::drop(const Lap& lap) {
  Lock lock(mutex_);
  --out_;
  ++drops_;
  if (lap.timing.sampled) timed_.push_back({*lap.timing.sampled, 0});
}

void Stopwatch::lose(const Timing& timing) {
  if (!timing.sampled) return;
  Lock lock(mutex_);
  samples_.fetch_add(1, std::memory_order_relaxed);
  timed_.push_back({*timing.sampled, 0});
}

// Between its two events a launch may have waited at the gate, or for memory: then its time is not
// that of its kernel.
void Stopwatch::end(const Lap& begun) {
  constexpr std::uint64_t kLaunchMostNs = 1'000'000;
  Lap lap = begun;
  const driver::RelaxedCapture relaxed(verbs_);
  if (lap.timing.sampled && now_ns() - lap.begun_ns > kLaunchMostNs) {
    // Where the die has not come to the first of them, nothing was lost.
    auto reached = verbs_.ready(lap.start);
    if (!reached || *reached) {
      Lock lock(mutex_);
      timed_.push_back({*lap.timing.sampled, 0});
      lap.timing.sampled.reset();
    }
  }
  if (!verbs_.record(lap.end, lap.stream)) return drop(lap);
  bool many = false;
  {
    Lock lock(mutex_);
    running_.push_back(lap);
    many = running_.size() % kCollectEvery == 0;
  }
  if (many) collect();  // a program may never wait by a call of its own
}

// One thread at a time; nothing here waits for the device.
void Stopwatch::collect() {
  std::deque<Lap> laps;
  {
    Lock lock(mutex_);
    if (collecting_ || running_.empty()) return;
    collecting_ = true;
    laps.swap(running_);
  }
  const driver::RelaxedCapture relaxed(verbs_);
  while (!laps.empty()) {
    const Lap lap = laps.front();
    auto ready = verbs_.ready(lap.end);
    if (ready && !*ready) break;
    laps.pop_front();
    if (!ready) {
      drop(lap);
      continue;
    }
    auto elapsed = verbs_.elapsed_ns(lap.start, lap.end);
    if (elapsed && lap.timing.traced) trace::timed(lap.die, *lap.timing.traced, *elapsed);
    if (lap.timing.sampled) {
      Lock lock(mutex_);
      // One that the driver cannot tell says nothing.
      timed_.push_back({*lap.timing.sampled, elapsed ? *elapsed : 0});
    }
    give_back(lap);
  }
  Lock lock(mutex_);
  collecting_ = false;
  running_.insert(running_.begin(), laps.begin(), laps.end());
}

std::vector<Stopwatch::Timed> Stopwatch::take() {
  std::vector<Timed> taken;
  Lock lock(mutex_);
  taken.swap(timed_);
  samples_.fetch_sub(static_cast<std::uint32_t>(taken.size()), std::memory_order_relaxed);
  return taken;
}

// The driver may read freed memory when it is asked for an event whose context has ended, so a
// thread that is collecting is waited for.
void Stopwatch::forget(driver::Context context) {
  std::vector<Lap> laps;
  for (;;) {
    {
      Lock lock(mutex_);
      if (!collecting_) {
        const auto spare = spare_.find(context);
        if (spare != spare_.end()) laps = std::move(spare->second);
        spare_.erase(context);
        const auto gone = std::stable_partition(
            running_.begin(), running_.end(),
            [&](const Lap& lap) { return lap.context != context; });
        laps.insert(laps.end(), gone, running_.end());
        out_ -= static_cast<std::size_t>(running_.end() - gone);
        for (auto lap = gone; lap != running_.end(); ++lap)
          if (lap->timing.sampled) timed_.push_back({*lap->timing.sampled, 0});
        running_.erase(gone, running_.end());
        break;
      }
    }
    sleep_ns(20'000);
  }
  const driver::RelaxedCapture relaxed(verbs_);
  for (const Lap& lap : laps) {
    verbs_.destroy(lap.start);
    verbs_.destroy(lap.end);
  }
}

}  // namespace barswap::session

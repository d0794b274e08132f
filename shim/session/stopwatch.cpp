#include "session/stopwatch.hpp"

#include "trace/trace.hpp"

namespace barswap::session {

std::optional<Stopwatch::Lap> Stopwatch::pair_of(driver::Context context) {
  {
    Lock lock(mutex_);
    if (out_ >= kLapsMax) return std::nullopt;
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
  drop(lap);
  return std::nullopt;
}

void Stopwatch::give_back(const Lap& lap) {
  Lock lock(mutex_);
  --out_;
  spare_[lap.context].push_back(lap);
}

std::optional<Stopwatch::Lap> Stopwatch::begin(driver::Stream stream, std::uint64_t launch) {
  const driver::RelaxedCapture relaxed(verbs_);
  auto capturing = verbs_.capturing(stream);
  auto context = verbs_.current();
  auto die = verbs_.current_die();
  if (!capturing || *capturing || !context || *context == driver::Context::none || !die)
    return std::nullopt;
  auto lap = pair_of(*context);
  if (!lap) return std::nullopt;
  lap->stream = stream;
  lap->die = *die;
  lap->launch = launch;
  if (verbs_.record(lap->start, stream)) return lap;
  drop(*lap);
  return std::nullopt;
}

// The driver does not take the events: they may have died with a context of the same address.
void Stopwatch::drop(const Lap&) {
  Lock lock(mutex_);
  --out_;
}

void Stopwatch::end(const Lap& lap) {
  const driver::RelaxedCapture relaxed(verbs_);
  if (!verbs_.record(lap.end, lap.stream)) return drop(lap);
  bool many = false;
  {
    Lock lock(mutex_);
    running_.push_back(lap);
    many = running_.size() % kCollectEvery == 0;
  }
  if (many) collect();  // a program may never wait by a call of its own
}

// One thread at a time. A lap whose context is forgotten meanwhile leaves an error, and is dropped.
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
    if (auto elapsed = verbs_.elapsed_ns(lap.start, lap.end))
      trace::timed(lap.die, lap.launch, *elapsed);
    give_back(lap);
  }
  Lock lock(mutex_);
  collecting_ = false;
  running_.insert(running_.begin(), laps.begin(), laps.end());
}

void Stopwatch::forget(driver::Context context) {
  Lock lock(mutex_);
  spare_.erase(context);
  const std::size_t before = running_.size();
  std::erase_if(running_, [&](const Lap& lap) { return lap.context == context; });
  out_ -= before - running_.size();
}

}  // namespace barswap::session

#include "policy/turns.hpp"

#include <algorithm>
#include <optional>

namespace barswap::policy {
namespace {

constexpr CycleLimits kLimits{16384, 65536, 4096};
// Launches that one exchange looks ahead at most, and ranges that one of them is taken to name.
constexpr std::size_t kAheadMax = 1024, kNamedMax = 64;

}  // namespace

Turns::Turns(Plan plan) : plan_(plan), cycle_(kLimits) {}

void Turns::launch(LaunchKey key, std::span<const RangeId> ranges, std::uint64_t host_bytes,
                   std::uint64_t now_ns) {
  const std::uint64_t position = cycle_.record(key, ranges);
  named_.assign(ranges.begin(), ranges.end());
  measure(position, host_bytes, now_ns);
}

// Cuts the run into whole cycles, from whichever launch one is first known at.
void Turns::measure(std::uint64_t position, std::uint64_t host_bytes, std::uint64_t now_ns) {
  const Sequence& sequence = cycle_.sequence();
  const Phases::Name name = cycle_.trusted() ? sequence.phase() : Phases::Name{0};
  const bool known = name != 0 && sequence.period() != 0;
  if (known && name == phase_ && position - begun_at_ >= launches_) {
    phase_of(name).trial.cycle({now_ns - begun_ns_, host_bytes_});
    phase_ = 0;
  }
  if (!known || name != phase_) {
    phase_ = known ? name : Phases::Name{0};
    begun_at_ = position;
    begun_ns_ = now_ns;
    launches_ = sequence.period();
    host_bytes_ = 0;
  }
  host_bytes_ += host_bytes;
}

Turns::Phase& Turns::phase_of(Phases::Name name) {
  Phase* oldest = phases_.data();
  for (Phase& phase : phases_) {
    if (phase.name == name) {
      phase.used = ++uses_;
      return phase;
    }
    if (phase.used < oldest->used) oldest = &phase;
  }
  *oldest = {name, ++uses_, {}};
  return *oldest;
}

const Trial* Turns::trial() const {
  const Phases::Name name = cycle_.sequence().phase();
  for (const Phase& phase : phases_)
    if (name != 0 && phase.name == name) return &phase.trial;
  return nullptr;
}

bool Turns::moving() const {
  if (plan_ == Plan::stream || !cycle_.trusted()) return false;
  if (plan_ == Plan::move) return true;
  const Trial* known = trial();
  return known != nullptr && known->moves();
}

Exchange Turns::choose(std::span<const RangeFacts> held, std::uint64_t most_bytes) {
  Exchange out;
  // What is needed soon must fit: what does not would only send away what is needed sooner.
  std::uint64_t room_bytes = 0, needed_bytes = 0;
  for (const RangeFacts& facts : held) room_bytes += facts.bytes - facts.host_bytes;
  std::vector<bool> needed(held.size());
  std::vector<std::size_t> latest;  // needed by the launch looked at
  const auto need = [&](RangeId id) {
    const auto found = std::lower_bound(
        held.begin(), held.end(), id,
        [](const RangeFacts& facts, RangeId wanted) { return facts.id < wanted; });
    if (found == held.end() || found->id != id) return;
    const auto index = static_cast<std::size_t>(found - held.begin());
    if (needed[index]) return;
    needed[index] = true;
    latest.push_back(index);
    needed_bytes += found->bytes;
    if (found->host_bytes == 0 || !found->movable) return;
    out.in.push_back(id);
    out.in_bytes += found->host_bytes;
  };
  for (const RangeId id : named_) need(id);
  std::vector<std::uint64_t> ahead(kAheadMax);
  ahead.resize(cycle_.sequence().foretell(ahead));
  std::array<RangeId, kNamedMax> named;
  for (const std::uint64_t position : ahead) {
    const std::size_t count = cycle_.named_at(position, named);
    const std::size_t before = out.in.size();
    const std::uint64_t before_bytes = out.in_bytes;
    latest.clear();
    for (std::size_t i = 0; i < count; ++i) need(named[i]);
    if (needed_bytes > room_bytes) {
      out.in.resize(before);
      out.in_bytes = before_bytes;
      for (const std::size_t index : latest) needed[index] = false;
    }
    if (needed_bytes > room_bytes || out.in_bytes >= most_bytes) break;
  }

  std::vector<Candidate> leaving;
  for (std::size_t i = 0; i < held.size(); ++i)
    if (!needed[i] && held[i].movable && held[i].host_bytes < held[i].bytes)
      leaving.push_back({held[i].id, 0, 0});
  cycle_.furthest(leaving);
  for (const Candidate& candidate : leaving) out.out.push_back(candidate.range);
  if (out.in.empty() || out.out.empty()) return {};
  return out;
}

void Turns::exchanged(bool made) {
  if (const Phases::Name name = cycle_.sequence().phase()) phase_of(name).trial.exchanged(made);
}

}  // namespace barswap::policy

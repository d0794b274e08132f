#include "policy/reuse.hpp"

#include <algorithm>

namespace barswap::policy {
namespace {

// With less on the host the time of the launch itself blurs the answer.
constexpr std::uint64_t kLeastBytes = std::uint64_t{8} << 20;
// What a launch that is not known yet is taken to miss.
constexpr std::uint64_t kUsualBytes = std::uint64_t{32} << 20;
// Times the link alone. Kernels that read once in place reach nine tenths of it, and most of their
// other work hides behind that.
constexpr double kOften = 1.8;
constexpr std::uint32_t kProof = 2;
// What bringing in costs, in bytes over the link for each byte: in; out in its place, where copies
// are not there yet; and, while nobody knows what is needed when, what another launch may then read
// from the host. And a drain, of one launch alone or of several.
constexpr double kMovingAlone = 2.5, kMovingBatched = 1.6;
constexpr double kDrainNs = 500'000, kDrainShare = 0.25;
// Launches of all kernels within which a time that was asked for comes.
constexpr std::uint64_t kPatience = 1024;
// Launches of a kernel after which it is timed once more, doubled each time: what it names may be
// the smaller part of a range.
constexpr std::uint64_t kLookAgain = 32;
// The same for one that is brought in, on trust or since it was timed twice; and as many times more
// as it took longer than a few times the link, which is what another look costs.
constexpr std::uint64_t kTrust = 16, kLookOften = 1024, kLookDear = 4096;
constexpr double kFewTimes = 4, kTimesMost = 64, kBeyondDoubt = 32;
// What was measured with little on the host says little of very much more.
constexpr double kShareMost = 4;
// A time that was lost may always be.
constexpr std::uint64_t kRetryAfter = 8;
constexpr std::uint64_t kRest = 16;
constexpr std::uint32_t kRestDoublings = 6;
constexpr std::size_t kKernelsMax = 4096;
// Of one kernel: three operands have seven.
constexpr std::size_t kPlacesMax = 8;
constexpr std::uint32_t kAny = ~std::uint32_t{0};

}  // namespace

bool Reuse::Kernel::expects(std::uint64_t now) const {
  return timing_from != 0 && now - timing_from < kPatience;
}

// In place, in times of the link alone.
double Reuse::Place::times(const Link& link) const {
  return static_cast<double>(in_place_ns) / link.ns(host_bytes);
}

bool Reuse::Place::settled() const { return samples != 0 && (often == 0 || often >= kProof); }

bool Reuse::Kernel::reads_often() const {
  return std::any_of(places.begin(), places.end(), [](const Place& one) { return one.often != 0; });
}

// Of those that were timed with the same operands on the host, or would count as such.
std::size_t Reuse::Kernel::index_of(std::uint32_t which) const {
  std::size_t index = 0;
  while (index < places.size() && places[index].which != which) ++index;
  return std::min(index, kPlacesMax - 1);
}

const Reuse::Place* Reuse::Kernel::at(std::uint32_t which) const {
  const std::size_t index = index_of(which);
  return index < places.size() ? &places[index] : nullptr;
}

Reuse::Place& Reuse::Kernel::add(std::uint32_t which) {
  const std::size_t index = index_of(which);
  if (index < places.size()) return places[index];
  Place place;
  place.which = places.size() + 1 == kPlacesMax ? kAny : which;
  return places.emplace_back(place);
}

// What says most of a launch with these on the host: its like, or the worst with one of them there.
const Reuse::Place* Reuse::Kernel::known(std::uint32_t which) const {
  const Place* like = at(which);
  if (like != nullptr && like->samples != 0 && (like->which != kAny || like->often != 0))
    return like;
  const Place* worst = nullptr;
  for (const Place& place : places)
    if (place.often != 0 && (place.which & which) != 0 &&
        (worst == nullptr ||
         place.in_place_ns * worst->often > worst->in_place_ns * place.often))
      worst = &place;
  return worst;
}

// Until the time in HBM is known, a launch that reads often is brought in on trust, to know it.
bool Reuse::Kernel::gains(const Place& place, std::uint64_t bytes, Turn turn,
                          const Link& link) const {
  if (place.often == 0) return false;
  if (resident_ns == 0) return true;
  const double saved = static_cast<double>(place.in_place_ns) -
                       static_cast<double>(place.often * resident_ns);
  const double share = std::min(kShareMost / place.often,
                                static_cast<double>(bytes) / static_cast<double>(place.host_bytes));
  if (turn == Turn::alone) return saved * share > kMovingAlone * link.ns(bytes) + kDrainNs;
  return saved * share > kMovingBatched * link.ns(bytes) + kDrainShare * kDrainNs;
}

bool Reuse::launch(std::uint64_t kernel, const OnHost& host, Turn turn) {
  ++launches_;
  auto found = kernels_.find(kernel);
  if (found == kernels_.end()) {
    if (host.bytes < kLeastBytes) return false;
    if (kernels_.size() >= kKernelsMax)
      std::erase_if(kernels_, [](const auto& entry) { return !entry.second.reads_often(); });
    if (kernels_.size() >= kKernelsMax) kernels_.clear();
    found = kernels_.try_emplace(kernel).first;
  }
  Kernel& known = found->second;
  ++known.launches;
  const bool expects = known.expects(launches_);
  if (!expects)
    for (Place& place : known.places) place.looking = false;
  if (host.bytes == 0 || known.launches < known.rest_until) return false;
  const Place* says = known.known(host.which);
  if (says == nullptr || !known.gains(*says, host.bytes, turn, link_)) return false;
  const double times = says->times(link_);
  Place& place = known.add(host.which);
  const std::uint64_t rest = times < kBeyondDoubt ? kTrust : kLookDear;
  if (place.look_at == 0) place.look_at = known.launches + rest;
  if (expects) return true;
  place.looking = known.launches >= place.look_at && host.bytes >= kLeastBytes &&
                  known.resident_ns != 0 && known.launches >= known.retry_at;
  // Should it not be timed after all, the next comes later.
  if (place.looking)
    place.look_at = known.launches + (rest << std::min(place.looks++, kRestDoublings));
  return !place.looking;
}

void Reuse::accepted(std::uint64_t kernel) {
  const auto found = kernels_.find(kernel);
  if (found != kernels_.end()) found->second.refusals = 0;
}

void Reuse::refused(std::uint64_t kernel) {
  const auto found = kernels_.find(kernel);
  if (found == kernels_.end()) return;
  Kernel& known = found->second;
  known.rest_until = known.launches + (kRest << std::min(known.refusals, kRestDoublings));
  ++known.refusals;
}

bool Reuse::wants_time(std::uint64_t kernel, const OnHost& host) const {
  const auto found = kernels_.find(kernel);
  if (found == kernels_.end()) return false;
  const Kernel& known = found->second;
  // The first launch of a function may wait for its code.
  if (known.launches < 2 || known.launches < known.retry_at || known.expects(launches_))
    return false;
  if (host.bytes == 0) return known.reads_often() && known.resident_ns == 0;
  if (host.bytes < kLeastBytes) return false;
  const Place* place = known.at(host.which);
  return place == nullptr || place->looking || !place->settled() ||
         known.launches >= place->look_at;
}

void Reuse::expect(std::uint64_t kernel) {
  const auto found = kernels_.find(kernel);
  if (found != kernels_.end()) found->second.timing_from = launches_;
}

void Reuse::timed(std::uint64_t kernel, const OnHost& host, std::uint64_t elapsed_ns) {
  const auto found = kernels_.find(kernel);
  if (found == kernels_.end()) return;
  Kernel& known = found->second;
  known.timing_from = 0;
  for (Place& place : known.places) place.looking = false;
  if (elapsed_ns == 0) {
    known.retry_at = known.launches + kRetryAfter;
    return;
  }
  if (host.bytes == 0) {
    known.resident_ns = elapsed_ns;
    return;
  }
  Place& place = known.add(host.which);
  ++place.samples;
  place.looks = 0;
  place.look_at = known.launches + std::max(kLookAgain, known.launches);
  const double times = static_cast<double>(elapsed_ns) / link_.ns(host.bytes);
  if (times <= kOften) {
    place.often = 0;
    place.host_bytes = place.in_place_ns = 0;
    return;
  }
  ++place.often;
  const std::uint64_t usual =
      place.often < kProof ? kTrust : std::max(kLookOften, known.launches);
  const std::uint64_t dear =
      static_cast<std::uint64_t>(std::clamp(times / kFewTimes, 1.0, kTimesMost));
  place.look_at = known.launches + std::max(usual * dear, times < kBeyondDoubt ? 0 : kLookDear);
  place.host_bytes += host.bytes;
  place.in_place_ns += elapsed_ns;
}

bool Reuse::gains(std::uint64_t kernel, const OnHost& host, Turn turn) const {
  const auto found = kernels_.find(kernel);
  if (found == kernels_.end()) return false;
  const Place* says = found->second.known(host.which);
  return says != nullptr && found->second.gains(*says, host.bytes, turn, link_);
}

bool Reuse::often(std::uint64_t kernel) const {
  const auto found = kernels_.find(kernel);
  if (found == kernels_.end()) return false;
  const Kernel& known = found->second;
  return std::any_of(known.places.begin(), known.places.end(), [&](const Place& place) {
    return known.gains(place, kUsualBytes, Turn::batched, link_);
  });
}

bool Reuse::undecided(std::uint64_t kernel, const OnHost& host) const {
  if (host.bytes < kLeastBytes) return false;
  const auto found = kernels_.find(kernel);
  if (found == kernels_.end() || !found->second.expects(launches_)) return false;
  const Kernel& known = found->second;
  return known.known(host.which) == nullptr ||
         std::any_of(known.places.begin(), known.places.end(),
                     [](const Place& place) { return place.looking; });
}

}  // namespace barswap::policy

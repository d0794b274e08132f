#include "policy/predict.hpp"

#include <algorithm>
#include <bit>

namespace barswap::policy {
namespace {

// Any odd factor does: sites are scattered first, and a match is compared site by site.
constexpr std::uint64_t kFactor = 0x9E3779B97F4A7C15;
// How far ahead an expected launch is looked for when those before it did not come.
constexpr std::uint64_t kWindow = 64;
// Occurrences in which a launch is looked for that the last one lacks.
constexpr int kEarlierMax = 4;
// How far back an occurrence is looked for that knows the one before it.
constexpr std::uint64_t kNearby = 8;
// Two steps in a row at the right site with the wrong instance, or every second one, mean that the
// cursor stands in a layer that looks the same. One alone is a launch whose addresses wander. Each
// weighs two, and a right instance takes back one.
constexpr std::uint32_t kWeak = 2, kWeakMax = 4;
// So many launches in a row that are found nowhere are no insertion any more: another place is
// looked for. If there is none the cursor waits some more, since among many edits four foreign
// launches in a row are common.
constexpr std::uint32_t kSkipsMax = 4;
constexpr std::uint32_t kLostMax = 16;
// Hits with one offset that make it the period.
constexpr std::uint32_t kAgreedMin = 3;
constexpr double kConfidenceShare = 1.0 / 32;
constexpr double kUnknownBelow = 0.5;
// Above the limit for unknown by more than its jitter over 32 launches, so that a cycle with noise
// does not change phase back and forth.
constexpr double kKnownFrom = 0.625;

constexpr std::size_t kCapacityMin = 256;  // twice the longest suffix
constexpr std::size_t kCapacityMax = std::size_t{1} << 31;

std::uint64_t power(std::size_t exponent) {
  std::uint64_t product = 1;
  for (; exponent > 0; --exponent) product *= kFactor;
  return product;
}

std::size_t rounded(std::size_t capacity) {
  return std::bit_ceil(std::clamp(capacity, kCapacityMin, kCapacityMax));
}

}  // namespace

// An instance may be noted for each launch; of suffixes a cycle has fewer than the ring has
// launches, and a lost one costs a later lock.
Sequence::Sequence(std::size_t capacity)
    : mask_(rounded(capacity) - 1),
      history_(mask_ + 1),
      last_(2 * (mask_ + 1), mask_ + 1),
      suffixes_(kSuffixes.size(), Recall(mask_ + 1, mask_ + 1)) {
  for (std::size_t i = 0; i < kSuffixes.size(); ++i) powers_[i] = power(kSuffixes[i]);
}

std::uint64_t Sequence::oldest() const {
  return recorded_ > history_.size() ? recorded_ - history_.size() : 0;
}

std::optional<LaunchKey> Sequence::at(std::uint64_t position) const {
  if (position >= recorded_ || position < oldest()) return std::nullopt;
  return of(position);
}

std::optional<std::uint64_t> Sequence::ahead(std::size_t distance) const {
  if (!cursor_ || distance == 0) return std::nullopt;
  const std::uint64_t known = recorded_ - 1 - *cursor_;
  return *cursor_ + 1 + (distance - 1) % known;
}

std::optional<std::uint64_t> Sequence::before(std::uint64_t position) const {
  if (position >= recorded_ || position < oldest()) return std::nullopt;
  const std::uint32_t back = history_[position & mask_].back;
  if (back == 0 || position - oldest() < back) return std::nullopt;
  return position - back;
}

// Reads an occurrence of the cycle together with the ones before it: where the later one jumped
// over launches, they are read from the earlier.
class Sequence::Teller {
 public:
  Teller(const Sequence& sequence, std::span<std::uint64_t> positions)
      : sequence_(sequence), positions_(positions) {}

  // Tells what comes after `from`, up to `last`, and looks `depth` occurrences back.
  void tell(std::uint64_t from, std::uint64_t last, int depth) {
    std::optional<std::uint64_t> earlier = sequence_.before(from);
    for (std::uint64_t back = 1; !earlier && back <= std::min(from, kNearby); ++back)
      earlier = sequence_.before(from - back);
    for (std::uint64_t position = from + 1; position <= last && !full(); ++position) {
      const auto twin = sequence_.before(position);
      if (depth > 0 && twin && earlier && *twin > *earlier && *twin - *earlier <= kWindow)
        tell(*earlier, *twin - 1, depth - 1);
      if (twin) earlier = twin;
      // In an older occurrence a launch that nobody knew was an insertion.
      const bool latest = depth == kDepth;
      if (!full() && (latest || sequence_.history_[position & sequence_.mask_].seen))
        positions_[told_++] = position;
    }
  }
  bool full() const { return told_ == positions_.size(); }
  std::size_t told() const { return told_; }

  static constexpr int kDepth = 2;

 private:
  const Sequence& sequence_;
  std::span<std::uint64_t> positions_;
  std::size_t told_ = 0;
};

std::size_t Sequence::foretell(std::span<std::uint64_t> positions) const {
  if (!cursor_) return 0;
  Teller teller(*this, positions);
  teller.tell(*cursor_, recorded_ - 1, Teller::kDepth);
  return teller.told();
}

std::optional<std::uint64_t> Sequence::last_of(LaunchKey key) {
  const auto last = last_.exchange(scatter(key.instance), recorded_);
  return last && of(*last).instance == key.instance ? last : std::nullopt;
}

// Where each suffix that ends with this launch was seen before, unproved.
Sequence::Matches Sequence::note_suffixes(LaunchKey key) {
  Matches matches;
  const auto sum_at = [&](std::uint64_t position) -> std::uint64_t& {
    return sums_[position % sums_.size()];
  };
  sum_at(recorded_ + 1) = sum_at(recorded_) * kFactor + scatter(key.site);
  std::array<std::uint64_t, kSuffixes.size()> hashes;
  std::size_t complete = 0;
  for (; complete < kSuffixes.size() && kSuffixes[complete] <= recorded_ + 1; ++complete) {
    const std::uint64_t before = sum_at(recorded_ + 1 - kSuffixes[complete]);
    hashes[complete] = scatter(sum_at(recorded_ + 1) - before * powers_[complete]);
    suffixes_[complete].expect(hashes[complete]);
  }
  for (std::size_t i = 0; i < complete; ++i)
    matches[i] = suffixes_[i].exchange(hashes[i], recorded_);
  return matches;
}

// Whether the last `length` launches, this one included, have the sites of those up to `position`.
bool Sequence::same_sites(std::uint64_t position, LaunchKey key, std::size_t length) const {
  if (position < oldest() + length - 1 || of(position).site != key.site) return false;
  for (std::size_t back = 1; back < length; ++back)
    if (of(position - back).site != of(recorded_ - back).site) return false;
  return true;
}

std::optional<std::uint64_t> Sequence::longest(const Matches& matches, LaunchKey key) const {
  for (std::size_t i = kSuffixes.size(); i-- > 0;)
    if (matches[i] && same_sites(*matches[i], key, kSuffixes[i])) return matches[i];
  return std::nullopt;
}

// The nearest occurrence ahead of the cursor. Without a later occurrence than the cursor there is
// none, so that a launch never seen costs no search.
std::optional<std::uint64_t> Sequence::in_window(LaunchKey key,
                                                 std::optional<std::uint64_t> last) const {
  if (!last || *last <= *cursor_) return std::nullopt;
  const std::uint64_t end = std::min(*cursor_ + kWindow, *last);
  for (std::uint64_t position = *cursor_ + 1; position <= end; ++position)
    if (of(position).instance == key.instance) return position;
  return std::nullopt;
}

// Whether the launch's last occurrence stands where the cursor would be in one of the occurrences
// before: then it was left out since, and is no sign of being lost.
bool Sequence::in_earlier(std::optional<std::uint64_t> last) const {
  if (!last || *last >= *cursor_) return false;
  auto earlier = before(*cursor_);
  for (int i = 1; earlier && i < kEarlierMax && *last <= *earlier; ++i) earlier = before(*earlier);
  return earlier && *last > *earlier && *last - *earlier <= kWindow;
}

// Where the cursor goes when it is lost: to the last occurrence of two known launches that came in
// this order before, which tells equal layers apart and survives edits; or else to the longest
// suffix of sites seen before.
std::optional<std::uint64_t> Sequence::found_again(const Matches& matches, LaunchKey key,
                                                   std::optional<std::uint64_t> last) const {
  if (last && witness_ && *last > *witness_ && *last - *witness_ <= kSkipsMax) return last;
  return longest(matches, key);
}

// The last time round, what followed a cycle was what the program did next. Where it returns to
// that cycle, it is expected to stay: the cursor goes to the last occurrence but one, until the
// cycle has come round.
void Sequence::return_to(std::uint64_t position) {
  cursor_ = position;
  returned_cycle_ = 0;
  const auto earlier = before(position);
  const Phases::Name phase = history_[position & mask_].phase;
  if (!earlier || phase == 0 || history_[*earlier & mask_].phase != phase) return;
  const std::uint64_t cycle = position - *earlier;
  if (recorded_ - position < 2 * cycle) return;  // it has not been left
  cursor_ = earlier;
  returned_cycle_ = cycle;
}

Sequence::Step Sequence::follow(LaunchKey key, std::optional<std::uint64_t> last) {
  if (!cursor_) return Step::loss;
  const LaunchKey& expected = of(*cursor_ + 1);
  if (expected.site == key.site) {
    ++*cursor_;
    skipped_ = strays_ = 0;
    const bool hit = expected.instance == key.instance;
    weak_ = hit ? weak_ - std::min(weak_, 1u) : std::min(weak_ + kWeak, kWeakMax);
    if (hit && returned_cycle_ != 0 && last && recorded_ - *last == returned_cycle_) {
      cursor_ = last;
      returned_cycle_ = 0;
    }
    if (hit || weak_ < kWeakMax || !last) return hit ? Step::hit : Step::weak_hit;
    return_to(*last);
    weak_ = 0;
    return Step::jump;
  }
  const auto found = in_window(key, last);
  if (!found && in_earlier(last)) {
    if (++strays_ < kSkipsMax) return Step::insertion;
    // The last occurrence was cut short; the earlier one goes on.
    cursor_ = last;
    returned_cycle_ = 0;
    skipped_ = strays_ = weak_ = 0;
    return Step::jump;
  }
  if (!found) return ++skipped_ < kSkipsMax ? Step::insertion : Step::loss;
  // What was skipped may have come in the place of what is jumped over now.
  const std::uint64_t missed = *found - *cursor_ - 1;
  const std::uint64_t replaced = std::min<std::uint64_t>(missed, skipped_);
  // From so many on they have been judged already.
  for (std::uint64_t i = 0; i < replaced && skipped_ < kSkipsMax; ++i) count(0);
  cursor_ = found;
  skipped_ = strays_ = weak_ = 0;
  if (missed > 1) return Step::jump;
  return missed == replaced ? Step::hit : Step::near_hit;
}

void Sequence::count(double hit) {
  confidence_ += (hit - confidence_) * kConfidenceShare;
}

// An insertion is judged when it is known to be one: by a loss, with those before it.
void Sequence::judge(Step step) {
  if (step == Step::insertion) return;
  count(step == Step::hit ? 1 : step == Step::near_hit ? 0.5 : 0);
  if (step == Step::loss && skipped_ == kSkipsMax)
    for (std::uint32_t i = 1; i < kSkipsMax; ++i) count(0);
  if (confidence_ >= kKnownFrom) {
    settled_ = true;
    phase_changed_ = false;
  } else if (settled_ && confidence_ < kUnknownBelow) {
    settled_ = false;
    phase_changed_ = true;
    phases_.leave();
  }
}

void Sequence::settle(Step step, LaunchKey key) {
  if (!cursor_) {
    period_ = 0;
    if (confidence_ < kUnknownBelow) phases_.leave();
  }
  if (step != Step::hit) {
    if (step != Step::insertion) agreed_ = 0;
    return;
  }
  const std::uint64_t offset = recorded_ - *cursor_;
  agreed_ = offset == offset_ ? agreed_ + 1 : 1;
  offset_ = offset;
  if (agreed_ < kAgreedMin) return;
  period_ = offset;
  const std::uint64_t pair = scatter(scatter(instance_before_) + key.instance);
  // As long as the program repeats what it did so many launches ago it is in one cycle, though
  // parts of that may have been named apart while it was learnt.
  const bool same = offset == named_offset_ && phases_.current() != 0;
  const Phases::Name seen_in = same ? phases_.current() : history_[*cursor_ & mask_].phase;
  named_offset_ = offset;
  if (phases_.follow(seen_in, pair, period_, settled_)) phase_changed_ = false;
}

std::uint64_t Sequence::record(LaunchKey key) {
  last_.expect(scatter(key.instance));
  const Matches matches = note_suffixes(key);
  const auto last = last_of(key);
  const Step step = follow(key, last);
  judge(step);
  bool aligned = step != Step::insertion;
  if (step == Step::loss) {
    const auto found = found_again(matches, key, last);
    aligned = found.has_value();
    if (aligned || skipped_ >= kLostMax) {
      cursor_ = found;
      returned_cycle_ = 0;
      if (found) return_to(*found);
      skipped_ = strays_ = weak_ = 0;
    }
  }
  settle(step, key);
  const auto back = static_cast<std::uint32_t>(aligned ? recorded_ - *cursor_ : 0);
  // Only what was expected belongs to a cycle: a new one begins while the old is still named, and
  // its layers look the same long before they are known.
  const bool expected = step == Step::hit || step == Step::near_hit;
  const Phases::Name phase = expected ? phases_.current() : Phases::Name{0};
  history_[recorded_ & mask_] = {key, back, phase, last.has_value()};
  instance_before_ = key.instance;
  if (last) witness_ = last;
  const std::uint64_t position = recorded_++;
  // What is expected next must not leave the ring.
  if (cursor_ && *cursor_ + 1 < oldest()) {
    cursor_.reset();
    returned_cycle_ = 0;
    period_ = 0;
  }
  return position;
}

}  // namespace barswap::policy

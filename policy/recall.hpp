// Where a hash was last noted: a table of fixed size that forgets the oldest when a bucket is full.
// Values in, values out; it takes no lock and allocates in the constructor only. It answers with a
// candidate, never with a proof: whoever asks compares what stands at the position.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace barswap::policy {

// Spreads the bits of a key, so that any of them can serve as an index (the finaliser of splitmix).
constexpr std::uint64_t scatter(std::uint64_t key) {
  key = (key ^ (key >> 30)) * 0xBF58476D1CE4E5B9;
  key = (key ^ (key >> 27)) * 0x94D049BB133111EB;
  return key ^ (key >> 31);
}

class Recall {
 public:
  // `slots` and the window are powers of two; the window has at most 2^31 positions. Only the last
  // `window` positions before the present one are ever answered.
  Recall(std::size_t slots, std::size_t window);

  // Asks the cache for what `exchange` will touch; several tables are then waited for at once.
  void expect(std::uint64_t hash) const { __builtin_prefetch(&buckets_[hash & bucket_mask_], 1); }

  // Notes `position` under the scattered hash and answers the position noted before it. Positions
  // must not fall from call to call.
  std::optional<std::uint64_t> exchange(std::uint64_t hash, std::uint64_t position) {
    Bucket& bucket = buckets_[hash & bucket_mask_];
    const auto tag = static_cast<std::uint32_t>(hash >> 32);
    const auto low = static_cast<std::uint32_t>(position);
    for (std::size_t way = 0; way < kWays; ++way) {
      if (bucket.tags[way] != tag) continue;
      const std::uint32_t age = low - std::exchange(bucket.lows[way], low);
      // A slot that was never written looks like position 0, which is why zero age is refused.
      if (age == 0 || age > window_ || age > position) return std::nullopt;
      return position - age;
    }
    replace_oldest(bucket, tag, low);
    return std::nullopt;
  }

 private:
  static constexpr std::size_t kWays = 8;
  // One cache line. The low half of a position is enough: what is older than the window has been
  // forgotten long before the half wraps, and a rare mistake is caught by the asker's comparison.
  struct alignas(64) Bucket {
    std::array<std::uint32_t, kWays> tags{};
    std::array<std::uint32_t, kWays> lows{};
  };

  static void replace_oldest(Bucket& bucket, std::uint32_t tag, std::uint32_t low);

  std::vector<Bucket> buckets_;
  std::uint64_t bucket_mask_;
  std::uint32_t window_;
};

}  // namespace barswap::policy

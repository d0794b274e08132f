#include "policy/recall.hpp"

#include <algorithm>

namespace barswap::policy {

Recall::Recall(std::size_t slots, std::size_t window)
    : buckets_(std::max(slots / kWays, std::size_t{1})),
      bucket_mask_(buckets_.size() - 1),
      window_(static_cast<std::uint32_t>(window)) {}

void Recall::replace_oldest(Bucket& bucket, std::uint32_t tag, std::uint32_t low) {
  std::size_t oldest = 0;
  std::uint32_t oldest_age = low - bucket.lows[0];
  for (std::size_t way = 1; way < kWays; ++way) {
    const std::uint32_t age = low - bucket.lows[way];
    oldest = age > oldest_age ? way : oldest;
    oldest_age = age > oldest_age ? age : oldest_age;
  }
  bucket.tags[oldest] = tag;
  bucket.lows[oldest] = low;
}

}  // namespace barswap::policy

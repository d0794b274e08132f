// How fast the link between a die and the host is taken to be: what a cycle or a kernel reads over
// it takes at least so long. What is reckoned here must be a bound from above, or cycles would look
// faster than they can be. Values in, a number out; it owns one.
#pragma once
#include <algorithm>
#include <cstdint>

namespace barswap::policy {

class Link {
 public:
  // The best rate, in bytes a nanosecond, that copies from the host have shown so far; 0: none yet.
  // Copies never come quite up to what the link can do, and until the first that had it to
  // themselves they show little more than half: hence the slack.
  void measured(double bytes_per_ns) {
    if (bytes_per_ns <= 0) return;
    bytes_per_ns_ = std::max(bytes_per_ns, std::min(bytes_per_ns * kSlack, kUnmeasured));
  }
  double bytes_per_ns() const { return bytes_per_ns_; }
  double ns(std::uint64_t bytes) const { return static_cast<double>(bytes) / bytes_per_ns_; }

 private:
  // PCIe 5 with 16 lanes.
  static constexpr double kUnmeasured = 55;
  static constexpr double kSlack = 1.1;
  double bytes_per_ns_ = kUnmeasured;
};

}  // namespace barswap::policy

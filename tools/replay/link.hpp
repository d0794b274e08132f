// The link of a die: one direction in, one out, each a queue in order. Where both are busy, who
// came later gets what is left of what they reach together.
#pragma once
#include <algorithm>
#include <cstdint>
#include <deque>

#include "scale.hpp"

namespace barswap::replay {

class Link {
 public:
  explicit Link(std::uint32_t duplex_permille)
      : beside_permille_(std::clamp<std::uint32_t>(duplex_permille, 1001, 2000) - 1000) {}

  // When `bytes` are through that may start at `ready_ns`, at `rate` bytes a second if alone.
  std::uint64_t in(std::uint64_t ready_ns, std::uint64_t bytes, std::uint64_t rate) {
    return pass(in_, out_, ready_ns, bytes, rate);
  }
  std::uint64_t out(std::uint64_t ready_ns, std::uint64_t bytes, std::uint64_t rate) {
    return pass(out_, in_, ready_ns, bytes, rate);
  }

 private:
  struct Busy {
    std::uint64_t from_ns, to_ns;
  };
  using Side = std::deque<Busy>;

  std::uint64_t pass(Side& own, const Side& other, std::uint64_t ready_ns, std::uint64_t bytes,
                     std::uint64_t rate) {
    if (bytes == 0) return ready_ns;
    std::uint64_t at = own.empty() ? ready_ns : std::max(ready_ns, own.back().to_ns);
    const std::uint64_t start = at;
    // Work in nanoseconds at full rate; beside the other direction it goes slower.
    std::uint64_t left = ns_of(bytes, rate);
    for (const Busy& busy : other) {
      if (busy.to_ns <= at) continue;
      if (busy.from_ns > at) {
        const std::uint64_t alone = std::min(left, busy.from_ns - at);
        at += alone;
        left -= alone;
      }
      if (left == 0) break;
      const std::uint64_t beside = busy.to_ns - at;
      const std::uint64_t done = beside * beside_permille_ / 1000;
      if (done >= left) {
        at += left * 1000 / beside_permille_;
        left = 0;
        break;
      }
      at = busy.to_ns;
      left -= done;
    }
    at += left;
    if (!own.empty() && own.back().to_ns == start) own.back().to_ns = at;
    else own.push_back({start, at});
    // Long past stretches meet nobody any more: everything later starts after them.
    if (own.size() > kKept) own.pop_front();
    return at;
  }

  static constexpr std::size_t kKept = 256;
  const std::uint32_t beside_permille_;
  Side in_, out_;
};

}  // namespace barswap::replay

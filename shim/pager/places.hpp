// Places: on which die each stretch of 2 MiB lies, found by address without a lock, for whoever has
// to know it at each launch. The pager writes it as pages are born and move; what has been freed
// keeps its last mark. It is advice: a page may move while it is read.
#pragma once
#include <atomic>
#include <cstdint>
#include <optional>

#include "pager/frames.hpp"
#include "pager/granules.hpp"

namespace barswap::pager {

class Places {
 public:
  using Word = std::atomic<std::uint8_t>;
  static constexpr std::uint64_t kGranuleBytes = Granules<Word>::kBytes;

  void cover(Address base, std::uint64_t bytes) { words_.cover(base, bytes); }
  void note(Address page, const Frame& frame) {
    const std::uint8_t word =
        frame.tier == Tier::host ? kHost : static_cast<std::uint8_t>(index_of(frame.die) + 1);
    for (std::uint64_t offset = 0; offset < frame.bytes; offset += kGranuleBytes)
      if (Word* at = words_.of(value_of(page) + offset)) at->store(word, std::memory_order_relaxed);
  }
  // Nothing: on the host, or not known.
  std::optional<Die> die_of(std::uint64_t address) const {
    const Word* at = words_.of(address);
    const std::uint8_t word = at ? at->load(std::memory_order_relaxed) : std::uint8_t{0};
    if (word == 0 || word == kHost) return std::nullopt;
    return Die{word - 1};
  }

 private:
  static constexpr std::uint8_t kHost = 0xff;
  Granules<Word> words_;
};

}  // namespace barswap::pager

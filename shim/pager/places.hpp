// Places: on which die each stretch of 2 MiB lies, found by address without a lock, for whoever has
// to know it at each launch. The pager writes it as pages are born and move; what has been freed
// keeps its last mark. It is advice: a page may move while it is read.
#pragma once
#include <atomic>
#include <cstdint>
#include <span>

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
  // Of so many granules from an address on: `take(i, die)` for each that lies on a die. What it
  // does not name is on the host, or not known.
  template <class Take>
  void each(std::uint64_t address, std::uint64_t count, Take take) const {
    const std::span<Word> words = words_.from(address);
    for (std::uint64_t i = 0; i < count && i < words.size(); ++i) {
      const std::uint8_t word = words[i].load(std::memory_order_relaxed);
      if (word != 0 && word != kHost) take(i, Die{word - 1});
    }
  }

 private:
  static constexpr std::uint8_t kHost = 0xff;
  Granules<Word> words_;
};

}  // namespace barswap::pager

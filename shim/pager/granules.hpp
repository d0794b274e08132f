// Granules: one word for each stretch of 2 MiB of our address space, found by address. It owns the
// words, which are zero until they are first written and then cost memory a page at a time. Finding
// one takes no lock and may run on any thread; covering more is ordered by the caller.
#pragma once
#include <sys/mman.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <span>

#include "barswap/units.hpp"

namespace barswap::pager {

template <class Word>
class Granules {
 public:
  static constexpr std::uint64_t kBytes = 2_MiB;

  Granules() = default;
  Granules(const Granules&) = delete;
  Granules& operator=(const Granules&) = delete;
  ~Granules() {
    for_each_window([](const Window& window) { munmap(window.words, bytes_of(window)); });
  }

  // Callers are ordered by the lock of those who hand out addresses. Without memory for words the
  // addresses have none.
  void cover(Address base, std::uint64_t bytes) {
    const std::size_t index = window_count_.load(std::memory_order_relaxed);
    if (index == kWindowsMax) return;
    Window& window = windows_[index];
    window.first.store(value_of(base), std::memory_order_relaxed);
    window.end.store(value_of(base) + bytes, std::memory_order_relaxed);
    void* room = mmap(nullptr, bytes_of(window), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED) return;
    window.words = static_cast<Word*>(room);
    window_count_.store(index + 1, std::memory_order_release);
  }

  // Null: not covered.
  Word* of(std::uint64_t address) const {
    const std::size_t count = window_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) {
      const Window& window = windows_[i];
      const std::uint64_t first = window.first.load(std::memory_order_relaxed);
      if (address >= first && address < window.end.load(std::memory_order_relaxed))
        return window.words + (address - first) / kBytes;
    }
    return nullptr;
  }

  // That one and those after it, as far as they were covered together. None: not covered.
  std::span<Word> from(std::uint64_t address) const {
    const std::size_t count = window_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) {
      const Window& window = windows_[i];
      const std::uint64_t first = window.first.load(std::memory_order_relaxed);
      if (address < first || address >= window.end.load(std::memory_order_relaxed)) continue;
      const std::uint64_t at = (address - first) / kBytes;
      return {window.words + at, bytes_of(window) / sizeof(Word) - at};
    }
    return {};
  }

  // Reading a word that was never written costs no memory; writing one does.
  template <class Take>
  void each(Take take) const {
    for_each_window([&](const Window& window) {
      const std::uint64_t count = bytes_of(window) / sizeof(Word);
      for (std::uint64_t n = 0; n < count; ++n) take(window.words[n]);
    });
  }

 private:
  struct Window {
    std::atomic<std::uint64_t> first{0}, end{0};
    Word* words = nullptr;
  };
  static constexpr std::size_t kWindowsMax = 64;

  static std::uint64_t bytes_of(const Window& window) {
    const std::uint64_t bytes =
        window.end.load(std::memory_order_relaxed) - window.first.load(std::memory_order_relaxed);
    return (bytes + kBytes - 1) / kBytes * sizeof(Word);
  }
  template <class Take>
  void for_each_window(Take take) const {
    const std::size_t count = window_count_.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i) take(windows_[i]);
  }

  std::array<Window, kWindowsMax> windows_;
  std::atomic<std::size_t> window_count_{0};
};

}  // namespace barswap::pager

// Layouts: of which kind a function's handle is, and how many parameters it has. The driver says so
// only by refusing a question, which takes it some microseconds (580.159), so what it said is kept
// until an image is unloaded or a context ends: then a handle may become another function's.
//
// It takes no lock; two functions that fall on one place are asked for anew each time.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

#include "driver/verbs.hpp"

namespace barswap::session {

class Layouts {
 public:
  struct Layout {
    driver::FunctionKind kind = driver::FunctionKind::kernel;
    std::size_t parameters = 0;
  };
  std::optional<Layout> of(driver::Function function) const {
    const std::uint64_t word = place(function).load(std::memory_order_relaxed);
    if (word >> kBits != key(function)) return std::nullopt;
    return Layout{(word & 1u) != 0 ? driver::FunctionKind::function : driver::FunctionKind::kernel,
                  static_cast<std::size_t>((word & kMask) >> 1)};
  }
  void keep(driver::Function function, const Layout& layout) {
    if (layout.parameters > kMask >> 1 || key(function) > ~std::uint64_t{0} >> kBits) return;
    const std::uint64_t kind = layout.kind == driver::FunctionKind::function ? 1 : 0;
    place(function).store(key(function) << kBits | layout.parameters << 1 | kind,
                          std::memory_order_relaxed);
  }
  void forget() {
    for (auto& word : words_) word.store(0, std::memory_order_relaxed);
  }

 private:
  static constexpr int kBits = 13;
  static constexpr std::uint64_t kMask = (std::uint64_t{1} << kBits) - 1;
  // Handles are addresses of at least eight bytes.
  static std::uint64_t key(driver::Function function) {
    return static_cast<std::uint64_t>(function) >> 3;
  }
  static std::size_t index(driver::Function function) {
    return (key(function) * 0x9e3779b97f4a7c15u) >> 54;
  }
  std::atomic<std::uint64_t>& place(driver::Function function) { return words_[index(function)]; }
  const std::atomic<std::uint64_t>& place(driver::Function function) const {
    return words_[index(function)];
  }
  std::array<std::atomic<std::uint64_t>, 1024> words_{};
};

}  // namespace barswap::session

// Outside: device memory that the driver keeps for the program (handles the program made itself,
// arrays, pools). It is counted, so that the budget leaves room for it, and never moved. Guarded by
// Rank::outside; calls no driver.
#pragma once
#include <atomic>
#include <cstdint>
#include <unordered_map>

#include "barswap/mutex.hpp"
#include "barswap/units.hpp"
#include "pager/pager.hpp"

namespace barswap::memory {

// What a key names: two kinds may share a value.
enum class OutsideKind : std::uint8_t { handle, array, mipmap, pool };

class Outside {
 public:
  explicit Outside(pager::Pager& pager) : pager_(pager) {}
  void grew(OutsideKind kind, std::uint64_t key, Die die, std::uint64_t bytes);
  // False if the key is not known.
  bool shrank(OutsideKind kind, std::uint64_t key);
  std::uint64_t held_bytes(Die die) const;
  // Of these: with addresses that kernels may use, which other dies do not reach. Takes no lock.
  bool addressed() const { return addressed_.load(std::memory_order_relaxed) != 0; }

 private:
  struct Entry {
    Die die;
    std::uint64_t bytes;
  };
  static bool has_address(OutsideKind kind) {
    return kind == OutsideKind::handle || kind == OutsideKind::pool;
  }
  std::atomic<std::uint64_t> addressed_{0};  // entries
  pager::Pager& pager_;
  mutable Mutex<Rank::outside> mutex_;
  std::unordered_map<std::uint64_t, Entry> entries_[4] BARSWAP_GUARDED_BY(mutex_);
  std::uint64_t held_bytes_[kDiesMax] BARSWAP_GUARDED_BY(mutex_) = {};
};

}  // namespace barswap::memory

#include "order.hpp"

namespace barswap::replay {

void Order::enter(std::uint32_t page, std::uint64_t next_use, bool by_use) {
  if (policy_ == Policy::min) {
    key_[page] = next_use + 1;
    by_next_.insert({key_[page], page});
    return;
  }
  bool cold = false;
  if (policy_ == Policy::bip && by_use) {
    // xorshift: chance without a clock, the same in every run.
    random_ ^= random_ << 13;
    random_ ^= random_ >> 17;
    random_ ^= random_ << 5;
    cold = random_ % 32 != 0;
  }
  slots_[page] = list_.insert(cold ? list_.begin() : list_.end(), page);
  marked_[page] = false;
}

void Order::use(std::uint32_t page, std::uint64_t next_use) {
  if (policy_ == Policy::min) {
    leave(page);
    enter(page, next_use, true);
    return;
  }
  marked_[page] = true;
  if (policy_ == Policy::lru || policy_ == Policy::bip)
    list_.splice(list_.end(), list_, *slots_[page]);
}

void Order::leave(std::uint32_t page) {
  if (policy_ == Policy::min) {
    by_next_.erase({key_[page], page});
    key_[page] = 0;
    return;
  }
  list_.erase(*slots_[page]);
  slots_[page].reset();
}

}  // namespace barswap::replay

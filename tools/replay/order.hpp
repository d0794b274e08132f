// Who leaves: the pages in HBM in the order of one replacement policy. Pages that the step in hand
// has asked for are locked.
#pragma once
#include <cstdint>
#include <list>
#include <optional>
#include <set>
#include <vector>

#include "engine.hpp"

namespace barswap::replay {

class Order {
 public:
  Order(Policy policy, std::size_t pages)
      : policy_(policy), slots_(pages), key_(pages, 0), marked_(pages, false) {}

  // `next_use`: the step that uses it again; only MIN looks at it.
  void enter(std::uint32_t page, std::uint64_t next_use, bool by_use);
  void use(std::uint32_t page, std::uint64_t next_use);
  void leave(std::uint32_t page);
  bool has(std::uint32_t page) const { return slots_[page].has_value() || key_[page] != 0; }
  // The page that should go first and is not `locked`.
  template <class Locked>
  std::optional<std::uint32_t> victim(Locked locked) {
    if (policy_ == Policy::min) {
      for (auto entry = by_next_.rbegin(); entry != by_next_.rend(); ++entry)
        if (!locked(entry->second)) return entry->second;
      return std::nullopt;
    }
    std::size_t left = 2 * list_.size();
    for (auto at = list_.begin(); at != list_.end() && left > 0; --left) {
      const std::uint32_t page = *at;
      if (locked(page)) {
        ++at;
      } else if (policy_ == Policy::clock && marked_[page]) {
        // The hand passes over it once.
        marked_[page] = false;
        auto next = std::next(at);
        list_.splice(list_.end(), list_, at);
        at = next == list_.end() ? list_.begin() : next;
      } else {
        return page;
      }
      if (at == list_.end() && policy_ == Policy::clock) at = list_.begin();
    }
    return std::nullopt;
  }

 private:
  using List = std::list<std::uint32_t>;  // the first goes first
  const Policy policy_;
  List list_;
  std::vector<std::optional<List::iterator>> slots_;
  std::set<std::pair<std::uint64_t, std::uint32_t>> by_next_;
  std::vector<std::uint64_t> key_;  // in by_next_, counted from 1; 0: not there
  std::vector<bool> marked_;
  std::uint32_t random_ = 0x2545f491;
};

}  // namespace barswap::replay

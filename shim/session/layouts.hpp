// Layouts: of which kind a function's handle is, and how many parameters it has. The driver says so
// only by refusing a question, which takes it some microseconds (580.159), so what it said is kept
// until an image is unloaded or a context ends: then a handle may become another function's.
//
// It owns what it keeps, guarded by Rank::layouts, and calls nobody.
#pragma once
#include <cstddef>
#include <optional>
#include <unordered_map>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"

namespace barswap::session {

class Layouts {
 public:
  struct Layout {
    driver::FunctionKind kind = driver::FunctionKind::kernel;
    std::size_t parameters = 0;
  };
  std::optional<Layout> of(driver::Function function) const {
    Lock lock(mutex_);
    const auto found = known_.find(function);
    if (found == known_.end()) return std::nullopt;
    return found->second;
  }
  void keep(driver::Function function, const Layout& layout) {
    Lock lock(mutex_);
    known_.insert_or_assign(function, layout);
  }
  void forget() {
    Lock lock(mutex_);
    known_.clear();
  }

 private:
  mutable Mutex<Rank::layouts> mutex_;
  std::unordered_map<driver::Function, Layout> known_ BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

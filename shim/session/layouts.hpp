// Layouts: of which kind a function's handle is, and where its parameters lie. The driver says how
// many there are only by refusing a question, and a launch would have to ask for each of them. So
// what it said is kept until an image is unloaded or a context ends: then a handle may become
// another function's. Should one be unloaded through a door that we do not see, whoever uses a
// layout asks for the last parameter again.
//
// It owns what it keeps, guarded by Rank::layouts, and calls nobody.
#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"

namespace barswap::session {

struct Layout {
  driver::FunctionKind kind = driver::FunctionKind::kernel;
  std::vector<driver::Verbs::Parameter> parameters;
};

class Layouts {
 public:
  std::shared_ptr<const Layout> of(driver::Function function) const {
    Lock lock(mutex_);
    const auto found = known_.find(function);
    return found == known_.end() ? nullptr : found->second;
  }
  void keep(driver::Function function, std::shared_ptr<const Layout> layout) {
    Lock lock(mutex_);
    known_.insert_or_assign(function, std::move(layout));
  }
  void forget() {
    Lock lock(mutex_);
    known_.clear();
  }

 private:
  mutable Mutex<Rank::layouts> mutex_;
  std::unordered_map<driver::Function, std::shared_ptr<const Layout>> known_
      BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

// Where a turn spends its time, for the debug log. Private to this room.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "base/clock.hpp"
#include "pager/pager.hpp"

namespace barswap::pager {

class Pager::Steps {
 public:
  // Ends the step under way; names are literals. More than fit are left out.
  void done(const char* name) {
    const std::uint64_t ns = now_ns();
    if (count_ < steps_.size()) steps_[count_++] = {name, ns - last_ns_};
    last_ns_ = ns;
  }
  // Names and microseconds.
  std::string text() const {
    std::string out;
    for (std::size_t i = 0; i < count_; ++i)
      out += std::string(i > 0 ? ", " : "") + steps_[i].name + " " +
             std::to_string(steps_[i].ns / 1000);
    return out;
  }

 private:
  struct Step {
    const char* name = nullptr;
    std::uint64_t ns = 0;
  };
  std::array<Step, 20> steps_{};
  std::size_t count_ = 0;
  std::uint64_t last_ns_ = now_ns();
};

}  // namespace barswap::pager

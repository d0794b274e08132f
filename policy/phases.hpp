// The cycles that a program has run, by name: prefill and decode, training and evaluation, one
// model and the next. A cycle that returns gets its old name, so that a plan made for it can be
// taken up again. It keeps a few numbers for each of the last eight cycles and nothing else; it
// takes no lock and allocates nothing.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>

namespace barswap::policy {

class Phases {
 public:
  // Names are 1, 2, 3 and so on; 0 is none. They come round after 2^16 - 1 new cycles.
  using Name = std::uint16_t;
  static constexpr std::size_t kMax = 8;

  Name current() const { return current_; }

  // An expected launch came in a cycle of `period` launches. `seen_in` is the name that was current
  // at the launch's last occurrence, `pair` a hash of the launch and the one before it. A new name
  // is given only if `sure`. True when a known cycle has been recognised by this.
  bool follow(Name seen_in, std::uint64_t pair, std::uint64_t period, bool sure);
  // The program does something else now.
  void leave() { current_ = 0; }

 private:
  static constexpr std::size_t kAnchors = 4;
  struct Phase {
    Name name = 0;
    bool compared = false;       // with the others, after a whole cycle
    std::uint64_t used = 0;      // the clock when it was last current
    std::uint64_t launches = 0;  // expected ones since it was made
    // The smallest pairs of the cycle, one for each value of the top bits. They are the same
    // wherever in the cycle one begins to look, and an inserted launch changes none of them for
    // good. That is how a cycle is known after its launches have been forgotten.
    std::array<std::uint64_t, kAnchors> anchors{};
  };

  Phase* find(Name name);
  Phase& make();
  bool recognise(Phase& phase);

  // One more for a new cycle, which may turn out to be a known one.
  std::array<Phase, kMax + 1> phases_{};
  Name current_ = 0;
  Name last_name_ = 0;
  std::uint64_t clock_ = 0;
  std::uint32_t strangers_ = 0;  // expected launches in a row that belong to no known cycle
};

}  // namespace barswap::policy

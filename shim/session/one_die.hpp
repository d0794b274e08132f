// One die of several: a program sees the die alone that is chosen when it starts (dies.present =
// "one"). The driver reads in cuInit, and there only, which dies a process has; so it is shown one
// for the length of that call, and the program's environment is as it was before and after.
//
// Whoever was started by `barswap run` has his die already, and is shown nothing
// (dies/launched.hpp).
#pragma once
#include <optional>
#include <vector>

#include "dies/sights.hpp"

namespace barswap::session {

// All dies of the machine (dies::sights). It may take the loader's lock and is called without any
// of ours.
using Look = std::vector<dies::Sight> (*)();

// Lives around a call of cuInit. Only those before the first success show anything; threads that
// come together are shown the same.
class OneDie {
 public:
  explicit OneDie(Look look) noexcept;
  ~OneDie() { leave(); }
  OneDie(const OneDie&) = delete;
  OneDie& operator=(const OneDie&) = delete;

  // The driver has started; what follows is shown nothing.
  void started() noexcept;
  // The driver does not have the die that was chosen: from now on it sees what the user gave, and
  // may be asked once more. False: none was.
  bool give_up() noexcept;

  // The number that the chosen die had among those that the program was given. None: none was.
  static std::optional<int> number() noexcept;

 private:
  void leave() noexcept;

  bool launched_ = false;
  bool inside_ = false;
};

}  // namespace barswap::session

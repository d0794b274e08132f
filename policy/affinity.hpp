// Which data should lie on another die than it does, since it is used beside what lies there: the
// second decider behind routing.kernels = "data" (route.hpp is the first). Values in, advice out;
// no lock, no clock. Wrong advice costs one move, never bytes.
//
// A chain of launches that changes dies for a little data and then comes back pays two changes, and
// a move of all that it hands on, for that data alone; in each pass over the program's data anew,
// as with a gradient that lies elsewhere than its weights. Seen in a second pass, the data goes
// where the chain came from, if there is room. Two neighbours that each draw the chain must not
// change places: for some launches all that moves goes one way, at first to where most room is.
#pragma once
#include <array>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "barswap/units.hpp"
#include "policy/stretch.hpp"

namespace barswap::policy {

// Bytes that are free, by die.
using Room = std::array<std::uint64_t, kDiesMax>;

class Affinity {
 public:
  // The launch of this number is on `to`. What should come there and stay.
  std::vector<Stretch> changes(std::uint64_t launch, Die from, Die to, const Room& room);
  // A launch names it as data, where the chain is.
  void names(const Stretch& stretch);
  // It was to come, and could not: that does not count.
  void stayed(const Stretch& stretch);

 private:
  struct Known {
    std::uint64_t launch = 0;  // when the chain last changed for it
    std::uint8_t detours = 0, moves = 0;
  };
  static constexpr std::size_t kKnownMost = 4096;
  static constexpr std::uint64_t kLittle = 256_MiB, kSpare = 128_MiB;
  static constexpr std::uint64_t kPass = 64;     // launches; more than that is another pass
  static constexpr std::uint64_t kOneWay = 256;  // launches
  static constexpr std::uint8_t kDetours = 2, kMovesMost = 2;

  bool ripe(std::uint64_t launch, const Stretch& stretch);

  std::uint64_t moved_ = 0;  // the launch before which the last ones went
  Die way_{0};               // and where
  // Since the last change.
  Die from_{0}, at_{0};
  std::vector<Stretch> data_;
  std::uint64_t bytes_ = 0;
  std::unordered_map<std::uint64_t, Known> known_;  // by the stretch's first address
};

}  // namespace barswap::policy

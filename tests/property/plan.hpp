// What one seed stands for: a machine, a policy and the odds of a program. Values only.
#pragma once
#include <cstdint>
#include <string>

#include "sim/random.hpp"
#include "support/life.hpp"

namespace barswap::property {

enum class Mode { plain, tight, chaos };
const char* name_of(Mode mode);

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : random_(seed) {}
  std::uint64_t below(std::uint64_t bound) { return random_.below(bound); }
  std::uint64_t between(std::uint64_t least, std::uint64_t most) {
    return least + random_.below(most - least + 1);
  }
  bool percent(unsigned share) { return random_.below(100) < share; }
  template <class T, std::size_t N>
  T one_of(const T (&values)[N]) {
    return values[random_.below(N)];
  }
  std::uint64_t next() { return random_.next(); }

 private:
  sim::Random random_;
};

struct Plan {
  std::uint64_t seed = 0;
  Mode mode = Mode::plain;
  support::Setting setting;
  std::uint64_t tick_ns = 2'000;
  unsigned operations = 100;
  bool hides = true;    // kernels follow pointers that they do not name
  bool sweeps = false;  // now and then the same ranges in the same order, several times
  bool routed = false;  // launches may go to other dies than the program's
  bool opened = false;  // and all dies are ready for that from the start
  bool graphs = false;  // many, launched often enough to be launched in parts
  int program_dies() const { return routed ? 1 : setting.machine.dies; }
  std::uint64_t held_bytes_max = 64_MiB;  // what the program aims to hold
  // A driver call fails: the program may see its code, and goes on.
  bool faulty = false;
  CUresult fault_code = CUDA_SUCCESS;
  bool books_hold = true;  // but where a driver does not take a frame back
  std::string text;        // one line for a person
};

Plan draw_plan(std::uint64_t seed);
// One die, a few operations of every kind: for runs that fail one driver call each.
Plan draw_small_plan(std::uint64_t seed);

}  // namespace barswap::property

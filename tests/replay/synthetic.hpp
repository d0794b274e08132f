// Traces of made-up programs, with times of their own: for the simulator's tests and for the stored
// traces beside this file. Everything follows from the arguments; nothing asks a clock.
#pragma once
#include <cstdint>
#include <vector>

#include "trace/encode.hpp"

namespace barswap::synthetic {

constexpr std::uint64_t kMib = 1 << 20;

// A trace in the making. The die works on one launch after the other; a launch takes its time, or,
// if that is more, the time in which its bytes on the host cross the link.
class Recorder {
 public:
  explicit Recorder(const char* program, std::uint64_t budget_bytes, std::uint64_t page_bytes);

  // A range with a share of its pages on the host, spread evenly. The answer is its number.
  std::uint64_t allocate(std::uint64_t bytes, double host_share);
  void free(std::uint64_t range);
  struct Use {
    std::uint64_t range;
    std::uint32_t flags;
  };
  // `touched`: the part of its reach that a launch really reads, for what lies on the host.
  void launch(std::uint64_t site, std::uint64_t variant, std::uint64_t compute_ns,
              const std::vector<Use>& uses, double touched = 1, bool timed = false);
  void think(std::uint64_t ns) { host_ns_ += ns; }
  void sync();
  std::uint64_t now_ns() const { return host_ns_; }
  std::vector<std::uint8_t> finish();

  static constexpr std::uint64_t kInPlaceRate = 51'300'000'000;
  static constexpr std::uint64_t kLaunchNs = 4'000;  // of the program's time

 private:
  struct Sink {
    std::vector<std::uint8_t> bytes;
    void append(const void* from, std::size_t size);
  };
  struct Range {
    std::uint64_t bytes = 0, host_bytes = 0;
  };
  barswap_trace_record head() const;

  Sink sink_;
  const std::uint64_t page_bytes_;
  std::vector<Range> ranges_;  // by number less one
  std::uint64_t host_ns_ = 0, die_ns_ = 0;
  std::uint64_t launches_ = 0;
};

struct Shape {
  int cycles = 4;
  std::uint64_t budget_bytes = 256 * kMib;
  double ratio = 2;  // of what the program holds to the budget
};
// Each range read once a cycle.
std::vector<std::uint8_t> cycle(const Shape& shape);
// Forward, backward, optimiser: weights three times, gradients and moments written.
std::vector<std::uint8_t> training(const Shape& shape);
// Layers of weights read once a token, a small hot range in each.
std::vector<std::uint8_t> decode(const Shape& shape);
// Kernels that reach a large table and touch a hundredth of it.
std::vector<std::uint8_t> gather(const Shape& shape);

}  // namespace barswap::synthetic

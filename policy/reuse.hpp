// Reuse: which kernels read more than once what lies on the host. A byte that is read once in place
// costs what the link costs, and is best left there. A product of large matrices reads each again
// for every tile, ten times and more, and should find its operands in HBM even if nothing else ever
// needs them there. No formula tells the two apart, so some launches are timed: those that name
// much on the host, and, where that took much longer than the link alone, one more with all of it
// in HBM. What the difference is worth is then known before any cycle is.
//
// Values in, advice out. It owns a few numbers for each kernel, a kernel being a function, its
// block and its grid; it takes no lock and knows no clock. Times of launches that run beside others
// are too long, so one alone proves nothing. What is brought in is not timed in place again: a
// launch that were left there for that would be one of many by the time it ended, since programs
// submit ahead.
#pragma once
#include <cstdint>
#include <unordered_map>

namespace barswap::policy {

class Reuse {
 public:
  // How what a launch misses would come in. alone: in a turn of its own, and who can say what will
  // be missed in its place. batched: with what is needed after it, for what is needed last.
  enum class Turn : std::uint8_t { alone, batched };
  // The next launch of a kernel, of whose ranges so many bytes lie on the host. True: they should
  // be in HBM when it starts.
  bool launch(std::uint64_t kernel, std::uint64_t host_bytes, Turn turn);
  // Whether to time that launch, submitted with so much on the host.
  bool wants_time(std::uint64_t kernel, std::uint64_t host_bytes) const;
  // It is timed: its time is expected, until too many launches have passed.
  void expect(std::uint64_t kernel);
  // 0: that time is lost.
  void timed(std::uint64_t kernel, std::uint64_t host_bytes, std::uint64_t elapsed_ns);
  // What a launch misses did come in, or found no room, as was advised.
  void accepted(std::uint64_t kernel);
  void refused(std::uint64_t kernel);
  // As far as is known now, its ranges are worth a place in a turn for several.
  bool often(std::uint64_t kernel) const;
  // A time is expected that would say whether a launch with so much on the host is to wait for it.
  bool undecided(std::uint64_t kernel, std::uint64_t host_bytes) const;

 private:
  struct Kernel {
    std::uint64_t launches = 0;
    std::uint64_t timing_from = 0;  // launches of all kernels when it was asked for; 0: none
    std::uint32_t samples = 0;      // with something on the host
    // Of these, how many in a row took as long as reading often; and their sums. Which operand is
    // on the host makes a great difference, so that the mean says more than the least.
    std::uint32_t often = 0;
    std::uint64_t host_bytes = 0, in_place_ns = 0;
    std::uint64_t resident_ns = 0;  // with all in HBM; 0: not known
    std::uint64_t look_at = 0;      // launches, to be timed once more
    std::uint64_t retry_at = 0;     // launches, after a time was lost
    std::uint64_t rest_until = 0;   // launches, after it was refused
    std::uint32_t refusals = 0;     // in a row
    bool expects(std::uint64_t now) const;
    bool proven() const;
    bool settled() const;
    bool gains(std::uint64_t bytes, Turn turn) const;
  };

  std::unordered_map<std::uint64_t, Kernel> kernels_;
  std::uint64_t launches_ = 0;
};

}  // namespace barswap::policy

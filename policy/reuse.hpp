// Reuse: which kernels read more than once what lies on the host. A byte that is read once in place
// costs what the link costs, and is best left there. A product of large matrices reads each again
// for every tile, ten times and more, and should find its operands in HBM even if nothing else ever
// needs them there. No formula tells the two apart, so some launches are timed: those that name
// much on the host, and, where that took much longer than the link alone, one more with all of it
// in HBM. What the difference is worth is then known before any cycle is.
//
// Which of its operands lie on the host makes all the difference: a product reads one of them ten
// times and another once. So what is learnt is kept for those that were there. Others are brought
// in on trust if one of them was among these: that costs a few times what the link does, and
// reading them in place may cost a hundred times as much.
//
// Values in, advice out. It owns a few numbers for each kernel, a kernel being a function, its
// block and its grid; it takes no lock and knows no clock. Times of launches that run beside others
// are too long. So what is brought in is looked at again: one launch is left in place for that,
// while what is known counts for those that the program submits behind it.
#pragma once
#include <cstddef>
#include <cstdint>
#include <unordered_map>
#include <vector>

#include "policy/link.hpp"

namespace barswap::policy {

// What a launch names on the host: a bit for each large range that it names, in the order in which
// its parameters name them first. The last bit is for all from there on.
struct OnHost {
  std::uint64_t bytes = 0;
  std::uint32_t which = 0;
  void add(std::size_t index, std::uint64_t range_bytes) {
    if (range_bytes == 0) return;
    bytes += range_bytes;
    which |= 1u << (index < 32 ? index : 31);
  }
};

class Reuse {
 public:
  // How what a launch misses would come in. alone: in a turn of its own, and who can say what will
  // be missed in its place. batched: with what is needed after it, for what is needed last.
  enum class Turn : std::uint8_t { alone, batched };
  void link(const Link& link) { link_ = link; }
  // The next launch of a kernel. True: its ranges should be in HBM when it starts.
  bool launch(std::uint64_t kernel, const OnHost& host, Turn turn);
  // That it is worth such a turn, as far as is known.
  bool gains(std::uint64_t kernel, const OnHost& host, Turn turn) const;
  // Whether to time that launch, submitted with so much on the host.
  bool wants_time(std::uint64_t kernel, const OnHost& host) const;
  // It is timed: its time is expected, until too many launches have passed.
  void expect(std::uint64_t kernel);
  // 0: that time is lost.
  void timed(std::uint64_t kernel, const OnHost& host, std::uint64_t elapsed_ns);
  // What a launch misses did come in, or found no room, as was advised.
  void accepted(std::uint64_t kernel);
  void refused(std::uint64_t kernel);
  // As far as is known now, its ranges are worth a place in a turn for several.
  bool often(std::uint64_t kernel) const;
  // A time is expected that would say whether what such a launch misses should come in; or is that
  // of a launch left in place, behind which a drain would wait for as long.
  bool undecided(std::uint64_t kernel, const OnHost& host) const;

 private:
  // With the same operands on the host.
  struct Place {
    std::uint32_t which = 0;
    std::uint32_t samples = 0;
    // Of these, how many in a row took as long as reading often; and their sums.
    std::uint32_t often = 0;
    std::uint64_t host_bytes = 0, in_place_ns = 0;
    std::uint64_t look_at = 0;  // launches, to be timed once more
    bool looking = false;       // a launch is left in place for that
    std::uint32_t looks = 0;    // of which nothing came, in a row
    double times(const Link& link) const;
    bool settled() const;
  };
  struct Kernel {
    std::uint64_t launches = 0;
    std::uint64_t timing_from = 0;  // launches of all kernels when it was asked for; 0: none
    std::uint64_t resident_ns = 0;  // with all in HBM; 0: not known
    std::uint64_t retry_at = 0;     // launches, after a time was lost
    std::uint64_t rest_until = 0;   // launches, after it was refused
    std::uint32_t refusals = 0;     // in a row
    std::vector<Place> places;      // a few; the last is for all that are none of the others
    bool expects(std::uint64_t now) const;
    bool reads_often() const;
    std::size_t index_of(std::uint32_t which) const;
    const Place* at(std::uint32_t which) const;
    Place& add(std::uint32_t which);
    const Place* known(std::uint32_t which) const;
    bool gains(const Place& place, std::uint64_t bytes, Turn turn, const Link& link) const;
  };

  Link link_;
  std::unordered_map<std::uint64_t, Kernel> kernels_;
  std::uint64_t launches_ = 0;
};

}  // namespace barswap::policy

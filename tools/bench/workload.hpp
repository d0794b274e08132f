// The workloads of the suite as data: ranges, and the steps of one cycle over them. A workload says
// nothing of where its ranges lie; a keeper (keeper.hpp) does. No driver is needed to know one.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace barswap::bench {

constexpr std::uint32_t kNoRange = ~0u;

struct Step {
  enum class Kind : std::uint8_t {
    fill,    // writes all of `io`
    read,    // reads `in`, `times` times
    wave,    // reads `in` and `io`, writes `io`
    gather,  // reads a share of the rows of `in`, at random
    churn,   // asks for `bytes` of memory, writes and reads it, and gives it back
  };
  Kind kind = Kind::read;
  std::uint32_t in = kNoRange, io = kNoRange;
  std::uint32_t times = 1;
  std::uint64_t bytes = 0;  // 0: all of the range
};

// What must cross the link in a cycle, in multiples of the bytes that lie over the budget.
struct Crossing {
  double moved_in = 0, moved_out = 0;  // by a plan that moves pages
  double read = 0, written = 0;        // by one that leaves them where they are
};

struct Workload {
  std::string name;
  double ratio = 0;  // of what it holds, to the cap
  std::uint64_t range_bytes = 0;
  std::uint32_t ranges = 0;
  std::vector<Step> cycle;
  Crossing crossing;
  // Whether a cycle changes what the next one reads: then all runs do the same number of cycles.
  bool carries = false;
  // A range is a layer of a model whose tokens a program of Python generates (decode.hpp), and
  // there are no steps.
  bool decodes = false;

  // What the bare run says that it held, if it does.
  std::uint64_t held_bytes = 0;

  std::uint64_t bytes() const { return held_bytes != 0 ? held_bytes : range_bytes * ranges; }
};

constexpr std::string_view kWorkloads[] = {"fits",   "sweep",  "reread", "stencil",
                                           "gather", "phases", "decode"};
// That which lies inside the cap; it has no ratio to choose.
constexpr std::string_view kFits = kWorkloads[0];
constexpr double kFitsRatio = 0.9;
// That which needs Python and its libraries.
constexpr std::string_view kDecode = kWorkloads[6];
// A gather draws one in so many rows of each range.
constexpr std::uint64_t kRowsOfDraw = 16;

// Sixteen ranges fill the cap, which is a multiple of 32 MiB. `quick` makes fewer steps.
Workload make_workload(std::string_view name, std::uint64_t cap_bytes, double ratio, bool quick);

}  // namespace barswap::bench

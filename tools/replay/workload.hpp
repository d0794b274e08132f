// What a program did, as the simulator runs it: pages that are born and die, pieces of work that
// reach them, copies, waits, and the time the program itself took in between. Made from a trace by
// workload_of(), or by hand in tests. Times are whole nanoseconds.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "reader.hpp"

namespace barswap::replay {

// Bytes a second.
struct Rates {
  std::uint64_t copy_in = 55'200'000'000, copy_out = 55'200'000'000;
  std::uint64_t in_place = 51'300'000'000, in_place_out = 52'600'000'000;
  std::uint64_t local = 4'300'000'000'000;
  // What both directions reach together, in thousandths of one alone.
  std::uint32_t duplex_permille = 1826;
};

struct RunInfo {
  int die = 0;
  std::uint8_t kind = BARSWAP_TRACE_LARGE;
  std::uint8_t place = 0;
  std::uint64_t bytes = 0;
  std::uint64_t page_bytes = 0;          // of all pages but perhaps the last
  std::vector<std::uint8_t> born_tiers;  // as recorded
  std::uint32_t first_page = 0;          // in Workload's numbering of pages
  std::uint32_t pages() const { return static_cast<std::uint32_t>(born_tiers.size()); }
  std::uint64_t bytes_of_page(std::uint32_t i) const {
    const std::uint64_t before = std::uint64_t{i} * page_bytes;
    return before >= bytes ? 0 : (bytes - before < page_bytes ? bytes - before : page_bytes);
  }
};

struct Use {
  std::uint32_t run = 0;
  bool reads = true, writes = true;
  bool surely_writes = false;  // else nobody knows whether it does
};

struct Step {
  enum class Kind : std::uint8_t { birth, death, work, copy_in, copy_out, wait, move, drain };
  Kind kind = Kind::work;
  int die = 0;  // negative: all
  std::uint32_t stream = 0;
  std::uint64_t think_ns = 0;             // the program's own time before it
  std::uint32_t run = 0;                  // of birth, death, move
  std::uint32_t page = 0;                 // of move, in its run
  std::uint8_t to = 0;                    // tier, of move
  std::uint32_t first_use = 0, uses = 0;  // of work, and of copies that cover whole runs
  std::uint64_t site = 0, variant = 0;    // of launches; 0: another kind of work
  std::uint64_t compute_ns = 0;           // of work with all its pages in HBM
  // How many bytes cross the link for a byte that lies on the host, in thousandths: more than 1000
  // for data that is read again, less where a piece of work touches a part of what it reaches.
  std::uint32_t reread_permille = 1000;
  std::uint64_t bytes = 0;      // of copies
  bool blocking = false;        // a copy that the program waits for
  std::uint64_t closed_ns = 0;  // of drain
};

struct Workload {
  std::vector<RunInfo> runs;
  std::vector<Use> uses;
  std::vector<Step> steps;
  int dies = 1;
  std::vector<std::uint64_t> budget_bytes;  // of each die, as recorded
  std::uint64_t pages = 0;
  std::uint64_t recorded_ns = 0;  // from the first record to the last
  std::uint64_t launches = 0, opaque = 0, timed = 0;
  std::uint64_t on_peers = 0;  // pages that came to lie in the HBM of another die
  std::uint64_t unseen = 0;  // waits for work that the trace does not have
  std::uint32_t add_run(RunInfo run);
  std::uint64_t peak_bytes(int die) const;
};

// How the times of work were found; what replay can promise depends on it.
Workload workload_of(const Trace& trace, const Rates& rates);
// The rates that the trace knows, over those given.
Rates rates_in(const Trace& trace, Rates rates);

}  // namespace barswap::replay

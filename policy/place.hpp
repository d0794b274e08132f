// Who is resident: the decider of the pager's mover. Values in, advice out; it owns nothing, keeps
// nothing between calls, takes no lock and knows no clock. Advice may be ignored: that costs time,
// never bytes.
//
// What is small and hot must never be what spills (one measured program ran five times slower when
// its late small allocations fell on the host), so the order of leaving is: what the policy
// streams; large ranges, spread evenly so that every kernel reads the same small share from the
// host; small ranges; packed pages; and last what the policy wants resident. Coming back is the
// reverse. Among large pages those that work names rarely leave first: a workspace that every
// launch reads is worth more HBM than weights that are read once a pass.
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "policy/options.hpp"

namespace barswap::policy {

// A range from this size on is large.
constexpr std::uint64_t kLargeBytes = 32_MiB;

// The pages of a range: as the policy says, twice that from eight of them on, four times from
// sixteen on, but 64 MiB at most. Much of what a page costs the driver does not depend on its
// size, and a quarter of a range is fine enough to spread it.
std::uint64_t page_bytes_of(std::uint64_t range_bytes, std::uint64_t page_bytes);

struct PageFacts {
  std::uint64_t range_order = 0;  // the range's number in order of allocation
  std::uint32_t page_index = 0;   // in its range
  std::uint32_t pages_in_range = 1;
  std::uint64_t bytes = 0;
  bool large = false;         // its range has kLargeBytes or more
  bool packed = false;        // shared by small allocations
  bool resident = false;      // in its die's HBM
  bool peer = false;          // in another die's
  bool pinned = false;        // must stay where it is
  bool wants_hbm = false;     // a rule says resident
  bool wants_stream = false;  // a rule says stream
  // How often submitted work named it lately; all 0 while nobody counts.
  std::uint32_t heat = 0;
};

// Indices of resident, unpinned pages that should leave HBM to free `bytes_needed`, in the order in
// which they should go. No page of the answer could be left out; if all of them together are not
// enough, all are named. `pages` should hold every page of the die, also those on the host: an even
// spread is counted over both.
// With Large::whole a large range leaves before the next one begins to: what is named least, then
// one that has begun to leave, then the youngest, so that what was allocated together stays
// together.
enum class Large : std::uint8_t { spread, whole };
std::vector<std::size_t> victims(std::span<const PageFacts> pages, std::uint64_t bytes_needed,
                                 Large large = Large::spread);

// Indices of pages elsewhere that should come into `bytes_free` of HBM, most wanted first: of
// equals what is on the host before what a peer has.
std::vector<std::size_t> promotions(std::span<const PageFacts> pages, std::uint64_t bytes_free);

struct Swap {
  std::vector<std::size_t> out, in;  // indices of pages
  bool empty() const { return in.empty(); }
};

// Heat in coarse steps around the usual, which is 0: what differs by chance, or because a cycle was
// seen in part, is equal.
int heat_step(std::uint32_t heat, std::uint32_t usual);

// Hot large pages on the host and cold large ones that make place for them: at most `bytes_free` in
// at once, and as much out. A page comes in only if it is several times as hot as what leaves for
// it, so that equals never change places and a cycle that was seen in part moves nothing.
Swap swaps(std::span<const PageFacts> pages, std::uint64_t bytes_free);

// What was allocated of late: it counts half after half a second, and half of that each time as
// much has passed again.
class Recent {
 public:
  void add(std::uint64_t bytes, std::uint64_t now_ns);
  std::uint64_t bytes(std::uint64_t now_ns) const;

 private:
  std::uint64_t halvings(std::uint64_t now_ns) const;
  std::uint64_t bytes_ = 0, since_ns_ = 0;
};

// How much of `budget_bytes` to keep free. Automatic: what was allocated recently, at least 64 MiB,
// at most an eighth of the budget. A size or share of the policy is taken as it stands, up to half.
std::uint64_t headroom_bytes(const Amount& headroom, std::uint64_t budget_bytes,
                             std::uint64_t recent_allocated_bytes);

// What a refill leaves free, where so much is to be kept: hardly more, since a page that is left
// out is read over the link for as long as the program goes on; and more than twice what is free
// when a spill begins, which is half of it, so that a die does not waver between the two.
constexpr std::uint64_t refilled_bytes(std::uint64_t keep_bytes) {
  return keep_bytes + keep_bytes / 8;
}

// For how long a free moment may move pages, by the time since the last one: a program that
// computes for long can spare more.
std::uint64_t moment_ns(std::uint64_t since_ns);

}  // namespace barswap::policy

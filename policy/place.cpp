#include "policy/place.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <queue>

#include "policy/median.hpp"

namespace barswap::policy {
namespace {

constexpr std::uint64_t kHalfLifeNs = 500'000'000;  // of what was allocated
constexpr std::uint32_t kHeatMin = 4;
constexpr std::uint32_t kTimesAsHot = 4;

// In the order of leaving.
enum class Rank : std::uint8_t { streamed, large, small, packed, wanted };
constexpr int kRanks = 5;

Rank rank_of(const PageFacts& page) {
  if (page.wants_stream) return Rank::streamed;
  if (page.wants_hbm) return Rank::wanted;
  if (page.packed) return Rank::packed;
  return page.large ? Rank::large : Rank::small;
}

// The turn of a page in its range: the bits of its index reversed. Those whose turn came first lie
// at an even stride, 2^k or 2^(k+1), whatever their number is; and the set for a larger share
// contains the set for a smaller one, so that a growing need never moves a page for evenness alone.
std::uint32_t turn_of(const PageFacts& page) {
  const int bits = std::bit_width(std::max(page.pages_in_range, page.page_index + 1) - 1);
  std::uint32_t turn = 0;
  for (int bit = 0; bit < bits; ++bit) turn |= (page.page_index >> bit & 1U) << (bits - 1 - bit);
  return turn;
}

bool older(const PageFacts& left, const PageFacts& right) {
  return left.range_order != right.range_order ? left.range_order < right.range_order
                                               : left.page_index < right.page_index;
}

// A large range: the share of its bytes that is out of HBM, and its pages that may change side.
struct Spread {
  std::uint64_t order = 0;
  std::uint64_t total_bytes = 0;
  std::uint64_t out_bytes = 0;
  std::vector<std::size_t> candidates;  // in the order in which they change side
  std::size_t next = 0;
  double share_out() const {
    return static_cast<double>(out_bytes) / static_cast<double>(total_bytes);
  }
};

enum class Direction : std::uint8_t { out, in };

bool may_move(const PageFacts& page, Direction direction) {
  return !page.pinned && page.bytes > 0 && page.resident == (direction == Direction::out);
}

// Every large range with its candidates; ranges in order of allocation.
std::vector<Spread> spreads_of(std::span<const PageFacts> pages, Direction direction) {
  std::vector<std::size_t> large;
  for (std::size_t i = 0; i < pages.size(); ++i)
    if (rank_of(pages[i]) == Rank::large) large.push_back(i);
  std::sort(large.begin(), large.end(), [&](std::size_t left, std::size_t right) {
    if (pages[left].range_order != pages[right].range_order)
      return pages[left].range_order < pages[right].range_order;
    const std::uint32_t left_turn = turn_of(pages[left]), right_turn = turn_of(pages[right]);
    if (left_turn != right_turn)
      return direction == Direction::out ? left_turn < right_turn : left_turn > right_turn;
    return left < right;
  });
  std::vector<Spread> spreads;
  for (const std::size_t i : large) {
    const PageFacts& page = pages[i];
    if (spreads.empty() || spreads.back().order != page.range_order)
      spreads.push_back({page.range_order, 0, 0, {}, 0});
    spreads.back().total_bytes += page.bytes;
    if (!page.resident) spreads.back().out_bytes += page.bytes;
    if (may_move(page, direction)) spreads.back().candidates.push_back(i);
  }
  return spreads;
}

// The candidates of all large ranges in turn: out of the range that has the least share out, into
// the range that has the most; on ties the older goes first and comes back last.
std::vector<std::size_t> spread_order(std::span<const PageFacts> pages, Direction direction) {
  std::vector<Spread> spreads = spreads_of(pages, direction);
  const auto later = [&](const Spread* left, const Spread* right) {
    const double left_share = left->share_out(), right_share = right->share_out();
    const bool out = direction == Direction::out;
    if (left_share != right_share) return out == (left_share > right_share);
    return out == (left->order > right->order);
  };
  std::priority_queue<Spread*, std::vector<Spread*>, decltype(later)> queue(later);
  for (Spread& spread : spreads)
    if (!spread.candidates.empty()) queue.push(&spread);
  std::vector<std::size_t> order;
  while (!queue.empty()) {
    Spread* spread = queue.top();
    queue.pop();
    const std::size_t page = spread->candidates[spread->next++];
    order.push_back(page);
    if (direction == Direction::out) spread->out_bytes += pages[page].bytes;
    else spread->out_bytes -= pages[page].bytes;
    if (spread->next < spread->candidates.size()) queue.push(spread);
  }
  return order;
}

// What most large pages have, weighted by nothing: the ground that hot and cold are told from.
std::uint32_t usual_heat(std::span<const PageFacts> pages) {
  std::vector<std::uint32_t> heats;
  for (const PageFacts& page : pages)
    if (page.large) heats.push_back(page.heat);
  return std::max(median_or(heats, 1), 1u);
}

// Reading it costs less.
bool nearer(std::span<const PageFacts> pages, std::size_t left, std::size_t right) {
  return pages[left].peer && !pages[right].peer;
}

// Large candidates: cold ones leave first and hot ones come first; equals are spread evenly.
std::vector<std::size_t> large_order(std::span<const PageFacts> pages, Direction direction) {
  std::vector<std::size_t> order = spread_order(pages, direction);
  const std::uint32_t usual = usual_heat(pages);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    const int left_step = heat_step(pages[left].heat, usual);
    const int right_step = heat_step(pages[right].heat, usual);
    if (left_step == right_step) return direction == Direction::in && nearer(pages, right, left);
    return direction == Direction::out ? left_step < right_step : left_step > right_step;
  });
  return order;
}

// The candidates of one rank, in the order in which they change side.
std::vector<std::size_t> order_of(std::span<const PageFacts> pages, Rank rank,
                                  Direction direction) {
  if (rank == Rank::large) return large_order(pages, direction);
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < pages.size(); ++i)
    if (rank_of(pages[i]) == rank && may_move(pages[i], direction)) order.push_back(i);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t left, std::size_t right) {
    if (direction == Direction::out) return older(pages[left], pages[right]);
    if (pages[left].peer != pages[right].peer) return nearer(pages, right, left);
    return older(pages[right], pages[left]);
  });
  return order;
}

// What is named least goes first; of equals, ranges of which the larger share is out, then the
// youngest.
std::vector<std::size_t> whole_order(std::span<const PageFacts> pages) {
  std::vector<Spread> spreads = spreads_of(pages, Direction::out);
  const std::uint32_t usual = usual_heat(pages);
  const auto step = [&](const Spread& spread) {
    std::uint32_t heat = 0;
    for (const std::size_t page : spread.candidates) heat = std::max(heat, pages[page].heat);
    return heat_step(heat, usual);
  };
  std::stable_sort(spreads.begin(), spreads.end(), [&](const Spread& left, const Spread& right) {
    if (step(left) != step(right)) return step(left) < step(right);
    if (left.share_out() != right.share_out()) return left.share_out() > right.share_out();
    return left.order > right.order;
  });
  std::vector<std::size_t> order;
  for (const Spread& spread : spreads)
    order.insert(order.end(), spread.candidates.begin(), spread.candidates.end());
  return order;
}

std::uint64_t sum_of(std::span<const PageFacts> pages, const std::vector<std::size_t>& chosen) {
  return std::accumulate(chosen.begin(), chosen.end(), std::uint64_t{0},
                         [&](std::uint64_t sum, std::size_t i) { return sum + pages[i].bytes; });
}

// A large page chosen late may have made small tails before it needless. Those that are dearest,
// that is, chosen last, are let go first.
void drop_needless(std::span<const PageFacts> pages, std::uint64_t bytes_needed,
                   std::vector<std::size_t>& chosen) {
  std::uint64_t excess = sum_of(pages, chosen) - bytes_needed;
  std::vector<std::size_t> kept;
  for (auto page = chosen.rbegin(); page != chosen.rend(); ++page) {
    if (pages[*page].bytes <= excess) excess -= pages[*page].bytes;
    else kept.push_back(*page);
  }
  chosen.assign(kept.rbegin(), kept.rend());
}

}  // namespace

std::uint64_t page_bytes_of(std::uint64_t range_bytes, std::uint64_t page_bytes) {
  constexpr std::uint64_t kMostBytes = 64_MiB;
  std::uint64_t bytes = page_bytes;
  for (const std::uint64_t pages : {2, 16})
    if (range_bytes / pages >= page_bytes && 2 * bytes <= kMostBytes) bytes *= 2;
  return bytes;
}

std::uint64_t moment_ns(std::uint64_t since_ns) {
  constexpr std::uint64_t kShare = 16, kMostNs = 50'000'000;
  return std::min(since_ns / kShare, kMostNs);
}

int heat_step(std::uint32_t heat, std::uint32_t usual) {
  if (heat < usual / kTimesAsHot) return -1;
  if (heat < kHeatMin) return 0;
  // Some libraries answer an unsigned number here, of which one may not be taken (LWG 3656).
  return (static_cast<int>(std::bit_width(heat / std::max(usual, 1u))) - 1) / 2;
}

std::vector<std::size_t> victims(std::span<const PageFacts> pages, std::uint64_t bytes_needed,
                                 Large large) {
  std::vector<std::size_t> chosen;
  std::uint64_t freed_bytes = 0;
  for (int rank = 0; rank < kRanks && freed_bytes < bytes_needed; ++rank) {
    const bool whole = large == Large::whole && static_cast<Rank>(rank) == Rank::large;
    for (const std::size_t page :
         whole ? whole_order(pages) : order_of(pages, static_cast<Rank>(rank), Direction::out)) {
      if (freed_bytes >= bytes_needed) break;
      chosen.push_back(page);
      freed_bytes += pages[page].bytes;
    }
  }
  if (freed_bytes > bytes_needed) drop_needless(pages, bytes_needed, chosen);
  return chosen;
}

std::vector<std::size_t> promotions(std::span<const PageFacts> pages, std::uint64_t bytes_free) {
  constexpr Rank kWanted[] = {Rank::packed, Rank::wanted, Rank::small, Rank::large};
  std::vector<std::size_t> chosen;
  for (const Rank rank : kWanted) {
    for (const std::size_t page : order_of(pages, rank, Direction::in)) {
      if (pages[page].bytes > bytes_free) continue;
      chosen.push_back(page);
      bytes_free -= pages[page].bytes;
    }
  }
  return chosen;
}

Swap swaps(std::span<const PageFacts> pages, std::uint64_t bytes_free) {
  const std::vector<std::size_t> hot = large_order(pages, Direction::in);
  if (hot.empty() || pages[hot.front()].heat < kHeatMin) return {};
  const std::vector<std::size_t> cold = large_order(pages, Direction::out);
  Swap swap;
  std::uint64_t in_bytes = 0, out_bytes = 0;
  std::size_t next = 0;
  for (const std::size_t page : hot) {
    if (pages[page].heat < kHeatMin || in_bytes + pages[page].bytes > bytes_free) break;
    // Everything that leaves for it has to be colder, or it stays where it is.
    std::size_t last = next;
    std::uint64_t leaving_bytes = out_bytes;
    while (leaving_bytes < in_bytes + pages[page].bytes && last < cold.size() &&
           pages[cold[last]].heat <= pages[page].heat / kTimesAsHot)
      leaving_bytes += pages[cold[last++]].bytes;
    if (leaving_bytes < in_bytes + pages[page].bytes) break;
    for (; next < last; ++next) swap.out.push_back(cold[next]);
    out_bytes = leaving_bytes;
    in_bytes += pages[page].bytes;
    swap.in.push_back(page);
  }
  return swap;
}

std::uint64_t Recent::halvings(std::uint64_t now_ns) const {
  return (now_ns - std::min(now_ns, since_ns_)) / kHalfLifeNs;
}

std::uint64_t Recent::bytes(std::uint64_t now_ns) const {
  const std::uint64_t times = halvings(now_ns);
  return times < 64 ? bytes_ >> times : 0;
}

// By whole halvings, so that what comes often does not keep all from growing old.
void Recent::add(std::uint64_t bytes, std::uint64_t now_ns) {
  const std::uint64_t left = this->bytes(now_ns);
  since_ns_ = left == 0 ? std::max(since_ns_, now_ns)
                        : since_ns_ + halvings(now_ns) * kHalfLifeNs;
  bytes_ = left + bytes;
}

std::uint64_t headroom_bytes(const Amount& headroom, std::uint64_t budget_bytes,
                             std::uint64_t recent_allocated_bytes) {
  constexpr std::uint64_t kFloorBytes = 64_MiB;
  if (headroom.kind == Amount::Kind::bytes) return std::min(headroom.bytes, budget_bytes / 2);
  if (headroom.kind == Amount::Kind::share)
    return std::min(static_cast<std::uint64_t>(static_cast<double>(budget_bytes) * headroom.share),
                    budget_bytes / 2);
  return std::min(std::max(recent_allocated_bytes, kFloorBytes), budget_bytes / 8);
}

}  // namespace barswap::policy

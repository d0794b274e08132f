#include "session/slicer.hpp"

#include <algorithm>
#include <unordered_set>

#include "barswap/log.hpp"
#include "barswap/units.hpp"
#include "session/session.hpp"

namespace barswap::session {
namespace {

// What a slice names, more where there would be many; and of what the whole names, on the host:
// less is read in place.
constexpr std::uint64_t kSliceBytes = 64_MiB, kHostBytes = 64_MiB;
// Each slice is made from a clone of the whole.
constexpr std::size_t kNodesMost = 8192, kClonedMost = 400'000;

// What the slice is timed for that this thread launches next.
thread_local constinit Timing pending;

}  // namespace

Slicer::~Slicer() {
  counting.store(false);
  lost_away.store(0);
}

// A process that is verified counts from the start, so that none of its graphs is launched as one.
Slicer::Slicer(Session& session, bool verifies) : session_(session), verifies_(verifies) {
  if (verifies_) counting.store(true);
}

bool Slicer::parts() const {
  if (stopped_.load(std::memory_order_relaxed)) return false;
  return verifies_ ? pager::Veil::current() != nullptr : session_.pager().may_move();
}

bool Slicer::may_part(driver::Stream stream) {
  if (!parts() || turnstile().broken() || !session_.reach().wanted()) return false;
  if (stream == driver::kPerThreadStream || session_.pager().contexts().capturing()) return false;
  return session_.ordered_here(stream);
}

Turnstile& Slicer::turnstile() { return session_.turnstile(); }

// Calls are counted long before the first graph in parts, so that none is under way uncounted.
GraphPlan Slicer::plan(std::span<const driver::GraphNode> nodes) {
  GraphPlan plan = GraphPlan::whole(nodes.size(), home());
  if (nodes.size() > kNodesMost) return plan;
  auto where = cuts(nodes);
  if (where.empty()) return plan;
  if (counting.exchange(true)) plan.cuts = std::move(where);
  else ++judged_;  // the next launch asks again
  return plan;
}

std::vector<GraphCut> Slicer::cuts(std::span<const driver::GraphNode> nodes) const {
  auto die = session_.verbs().current_die();
  if (!die) return {};
  const auto held = session_.pager().survey(*die, pager::Pager::With::places);
  std::vector<Names> named;
  std::uint64_t host_bytes = 0;
  std::unordered_set<policy::RangeId> seen;
  for (const driver::GraphNode& node : nodes) {
    auto work = session_.verbs().work_of(node.node);
    if (!work) return {};
    named.emplace_back();
    for (const policy::RangeId id : session_.reach().large_ranges(*work)) {
      const policy::RangeFacts* facts = policy::find(held, id);
      if (!facts) continue;
      named.back().push_back({id, facts->bytes});
      if (seen.insert(id).second) host_bytes += facts->host_bytes;
    }
  }
  const bool each = verifies_ || session_.pager().settings().chaos;  // node is a slice
  if (host_bytes < kHostBytes && !each) return {};
  for (std::uint64_t slice_bytes = each ? 0 : kSliceBytes;; slice_bytes = 2 * slice_bytes + 1_MiB) {
    auto cuts = cuts_at(nodes, named, slice_bytes);
    if (cuts.size() < kSlicesMost && cuts.size() * nodes.size() <= kClonedMost) return cuts;
  }
}

// A cut comes before a kernel with which a slice would name more; at 0 before each that may be cut.
std::vector<GraphCut> Slicer::cuts_at(std::span<const driver::GraphNode> nodes,
                                      std::span<const Names> named, std::uint64_t slice_bytes) {
  std::vector<GraphCut> cuts;
  std::unordered_set<policy::RangeId> in_slice;
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    std::uint64_t more_bytes = 0;
    for (const auto& [id, range_bytes] : named[i])
      if (!in_slice.contains(id)) more_bytes += range_bytes;
    const bool full = bytes > 0 && more_bytes > 0 && bytes + more_bytes > slice_bytes;
    if (i > 0 && !nodes[i].follows && (full || slice_bytes == 0)) {
      cuts.push_back({i, {}});
      in_slice.clear();
      bytes = 0;
    }
    for (const auto& [id, range_bytes] : named[i])
      if (in_slice.insert(id).second) bytes += range_bytes;
  }
  return cuts;
}

std::optional<Parting::There> Slicer::there(driver::Function, Die) { return std::nullopt; }

// The first one waits here as a single launch would, the others while calls of other threads wait
// for them: foresight is through soon where it is hurried.
bool Slicer::prepare(const GraphPart&, std::span<const driver::GraphNode> nodes,
                     driver::Stream stream) {
  session_.stopwatch().lose(pending);
  Reach::Together together;
  for (const driver::GraphNode& node : nodes) {
    auto work = session_.verbs().work_of(node.node);
    if (work) together.work.push_back(*work);
    else together.known = false;
  }
  pending = session_.reach().launch_together(together, static_cast<std::uintptr_t>(stream));
  return true;
}

Result<void> Slicer::upload(const GraphPart& part, driver::Stream there) {
  const Submission inside(false);
  return session_.verbs().upload(part.exec, there);
}

Result<void> Slicer::launch(const GraphPart& part, driver::Stream there, driver::Stream) {
  const auto lap = session_.begin_lap(there, std::exchange(pending, {}));
  Result<void> launched;
  {
    const Submission inside(false, Says::declared);
    launched = session_.verbs().launch(part.exec, there);
  }
  declared_names.forget();
  declared_function = driver::Function::none;
  if (lap) session_.end_lap(*lap);
  return launched;
}

void Slicer::lost_order() {
  if (stopped_.exchange(true)) return;
  BARSWAP_LOG(info, "session", "graphs are launched as they are from now on: a part was refused");
}

// Whoever goes on without the rest would compute with what is not there.
int Slicer::lost(Error error) {
  constexpr int kUnspecific = 999;  // CUDA_ERROR_UNKNOWN
  lost_order();
  lost_away.store(error.fault == Fault::driver ? error.driver_code : kUnspecific);
  return lost_away.load();
}

}  // namespace barswap::session

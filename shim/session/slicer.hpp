// Slicer: cuts graphs on one die where ranges of the next nodes may have to take turns with others,
// so that each slice is foreseen, timed and waited for as single launches are (foresight.hpp).
// Nothing can come into HBM in the midst of a graph; between two slices it can.
//
// A slice names so much that a turn for it weighs little against its launch. A graph of which
// little lies on the host, or that has branches, stays one. It owns nothing but a wish to stop.
#pragma once
#include <atomic>

#include "policy/turns.hpp"
#include "session/parting.hpp"

namespace barswap::session {

class Session;

class Slicer final : public Parting {
 public:
  // `verifies`: for `barswap verify`, which looks at each kernel by itself.
  Slicer(Session& session, bool verifies);
  ~Slicer() override;

  bool parts() const override;
  Die home() const override { return Die{0}; }  // a name for where the program launches, whichever
  bool may_part(driver::Stream stream) override;
  GraphPlan plan(std::span<const driver::GraphNode> nodes) override;
  std::size_t most_parts() const override { return kSlicesMost; }
  std::size_t most_ahead() const override { return 2 * kSlicesMost; }
  std::uint64_t from_launch() const override { return verifies_ ? 1 : 2; }
  std::uint64_t judged() const override { return judged_.load(); }
  std::optional<There> there(driver::Function function, Die die) override;
  bool may_run(const driver::KernelChange&, Die) override { return true; }
  Turnstile& turnstile() override;
  bool begin() override { return parts(); }
  void end() override {}
  void await_room(Die) override {}
  bool can_hop(driver::Stream, std::uint32_t) override { return true; }
  Result<driver::Stream> hop(driver::Stream stream, Die, Die) override { return stream; }
  bool prepare(const GraphPart& part, std::span<const driver::GraphNode> nodes,
               driver::Stream stream) override;
  Result<void> upload(const GraphPart& part, driver::Stream there) override;
  Result<void> launch(const GraphPart& part, driver::Stream there, driver::Stream stream) override;
  void ended(driver::Stream, driver::Event, std::span<const Die>, std::uint64_t) override {}
  void launched_on(driver::Stream) override {}
  void lost_order() override;
  int lost(Error error) override;

 private:
  static constexpr std::size_t kSlicesMost = 256;
  // The large ranges that a node names, and their bytes.
  using Names = std::vector<std::pair<policy::RangeId, std::uint64_t>>;
  std::vector<GraphCut> cuts(std::span<const driver::GraphNode> nodes) const;
  static std::vector<GraphCut> cuts_at(std::span<const driver::GraphNode> nodes,
                                       std::span<const Names> named, std::uint64_t slice_bytes);

  Session& session_;
  const bool verifies_;
  std::atomic<std::uint64_t> judged_{0};
  std::atomic<bool> stopped_{false};
};

}  // namespace barswap::session

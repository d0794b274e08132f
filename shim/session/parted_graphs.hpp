// Graphs in parts: executable graphs whose nodes are launched a few at a time, with something of
// ours between. The program's own executable graph is made as it asks for and takes all its
// updates. Beside it stand some of ours, made from a clone of the same graph; they are launched in
// its place, on the program's stream, from the second launch on. Where they are cut, and what for,
// says `Parting`.
//
// Only chains: nodes one after another, kernels, copies and fills. So kernels of the device run on
// one die at a time. Nothing of the program's comes between two parts. A graph that would have too
// many is one, whose edges order the dies. It owns the clones and our executable graphs.
// Rank::graphs guards the list and the streams that were launched on, and is held while one of
// these is asked after; for the rest a program does not use one executable graph from two threads
// at once.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "session/parting.hpp"

namespace barswap::session {

class PartedGraphs {
 public:
  PartedGraphs(const driver::Verbs& verbs, Parting& parting) : verbs_(verbs), parting_(parting) {}
  PartedGraphs(const PartedGraphs&) = delete;
  PartedGraphs& operator=(const PartedGraphs&) = delete;

  // False: it knows of none, and there is nothing to ask.
  bool any() const { return any_.load(std::memory_order_relaxed); }
  // A graph was made executable, or updated from `graph`.
  void made(driver::Exec exec, driver::Graph graph, std::uint64_t flags);
  void updated(driver::Exec exec, driver::Graph graph);
  // One kernel of it was given new parameters.
  void changed(driver::Exec exec, driver::Node node, const driver::KernelChange& change);
  // Another change, which ours does not follow.
  void left(driver::Exec exec);
  void gone(driver::Exec exec);
  // With their context: what is destroyed after it would be another's.
  void context_gone(driver::Context context);
  void forget(driver::Stream stream);  // before it is destroyed

  // Whether ours is to be launched on the stream in its place. Called outside the gate, while the
  // caller is at home.
  bool choose(driver::Exec exec, driver::Stream stream);
  // Ours, if so: the driver's code. Nothing: the program's own is to be launched after all.
  std::optional<int> launch(driver::Exec exec, driver::Stream stream);
  // The program's own was launched.
  void launched(driver::Exec exec, driver::Stream stream);

 private:
  struct Entry {
    driver::Graph clone = driver::Graph::none;
    driver::Context context = driver::Context::none;  // the program's, when it was made
    std::uint64_t flags = 0;
    std::vector<driver::GraphNode> nodes;                  // of the clone, in their order
    std::unordered_map<driver::Node, std::size_t> places;  // of the program's nodes
    std::vector<Die> dies;                                 // where each is in the clone
    std::vector<GraphCut> cuts;
    std::vector<GraphPart> parts;              // ours; none: it runs as the program's own
    std::vector<driver::Node> placed;          // each node in the graph of its part
    driver::Event done = driver::Event::none;  // after the last launch of ours
    std::size_t ahead = 0;                     // parts of ours that may not have ended
    std::uint64_t launches = 0, next_look = 1, updates = 0;
    std::uint64_t away = 0;                      // kernels on other dies
    int missed = 0;                              // what was to be carried was not, so often in turn
    std::uint64_t changes = 0;                   // of kernels, while there was none of ours
    std::uint64_t moved = 0, judged = 0;         // drains, and Parting::judged, by the last look
    driver::Stream last = driver::Stream::none;  // guarded
    bool last_ours = false;
    bool looked = false;
    bool uploaded = false;
    bool captured = false;  // this launch is, into another graph
    bool home = false;      // for good
  };
  // Graphs that are updated more often would be made anew all the time.
  static constexpr std::uint64_t kUpdatesMost = 2, kChangesMost = 256;
  static constexpr std::size_t kNodesMost = 100'000;
  static constexpr int kMissedMost = 8;

  std::shared_ptr<Entry> find(driver::Exec exec);
  void take(Entry& entry, driver::Graph graph);
  void look(Entry& entry);
  bool make(Entry& entry, const std::vector<Die>& dies);
  bool make_part(Entry& entry, GraphPart part);
  GraphPart& part_of(Entry& entry, std::size_t node);
  bool change(Entry& entry, std::size_t node, const driver::KernelChange& change);
  std::vector<GraphPart> parts_of(const Entry& entry) const;
  bool prepare_parts(Entry& entry, driver::Stream stream);
  void prepare(Entry& entry, const GraphPart& part, driver::Stream stream);
  std::optional<int> launch_parts(Entry& entry, driver::Stream stream);
  void ended_with(Entry& entry, driver::Stream stream);
  void drop(Entry& entry);
  void drop_ours(Entry& entry);
  bool has_event(Entry& entry);
  bool has_room(Entry& entry);
  bool follows_on(Entry& entry, driver::Stream stream, bool ours);

  const driver::Verbs& verbs_;
  Parting& parting_;
  std::atomic<bool> any_{false};
  Mutex<Rank::graphs> mutex_;
  std::unordered_map<driver::Exec, std::shared_ptr<Entry>> entries_ BARSWAP_GUARDED_BY(mutex_);
  // Never destroyed: who waits for a graph may still ask after one.
  struct Spare {
    driver::Context context;
    driver::Event event;
  };
  std::vector<Spare> spare_ BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

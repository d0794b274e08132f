// Far graphs: executable graphs whose kernels run on the dies that hold their bytes. The program's
// own executable graph is made as it asks for, runs at home and takes all its updates. Beside it
// stands one of ours, made from a clone of the same graph in which kernels belong to the contexts
// of other dies; it is launched in its place, on the program's stream, from the second launch on.
//
// Only chains: nodes one after another, kernels, copies and fills. So kernels of the device run on
// one die at a time. Ours are several, the legs: the nodes that run on one die, launched on a
// stream there, with an event between; what the chain hands on is carried before, if that is worth
// it. Nothing of the program's comes between. A graph that changes dies too often for that is one,
// whose edges order the dies. It owns the clones and our executable graphs. Rank::graphs guards the
// list and the streams that were launched on, and is held while one of these is asked after; for
// the rest a program does not use one executable graph from two threads at once.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "session/graph_plan.hpp"

namespace barswap::session {

class Reach;
class Router;

class FarGraphs {
 public:
  FarGraphs(const driver::Verbs& verbs, Router& router) : verbs_(verbs), router_(router) {}
  FarGraphs(const FarGraphs&) = delete;
  FarGraphs& operator=(const FarGraphs&) = delete;

  // A graph was made executable, or updated from `graph`.
  void made(driver::Exec exec, driver::Graph graph, std::uint64_t flags);
  void updated(driver::Exec exec, driver::Graph graph);
  // One kernel of it was given new parameters.
  void changed(driver::Exec exec, driver::Node node, const driver::KernelChange& change,
               Reach& reach);
  // Another change, which ours does not follow.
  void left(driver::Exec exec);
  void gone(driver::Exec exec);
  void all_gone();  // with their context: what is destroyed after it would be another's
  void forget(driver::Stream stream);  // before it is destroyed

  // Whether ours is to be launched on the stream in its place. Called outside the gate, while the
  // caller is at home.
  bool choose(driver::Exec exec, driver::Stream stream, Reach& reach);
  // Ours, if so: the driver's code. Nothing: the program's own is to be launched after all.
  std::optional<int> launch(driver::Exec exec, driver::Stream stream);
  // The program's own was launched.
  void launched(driver::Exec exec, driver::Stream stream);

 private:
  // Nodes that are launched together.
  struct Leg {
    std::size_t first = 0, count = 0;
    driver::Graph graph = driver::Graph::none;  // none: it is the whole clone
    driver::Exec exec = driver::Exec::none;
    Die die{0};                          // where it is launched
    std::vector<policy::Stretch> along;  // carried there before
  };
  struct Entry {
    driver::Graph clone = driver::Graph::none;
    std::uint64_t flags = 0;
    std::vector<driver::GraphNode> nodes;                  // of the clone, in their order
    std::unordered_map<driver::Node, std::size_t> places;  // of the program's nodes
    std::vector<Die> dies;                                 // where each is in the clone
    std::vector<GraphCut> cuts;
    std::vector<Leg> legs;                     // ours; none: it runs at home
    std::vector<driver::Node> placed;          // each node in the graph of its leg
    driver::Event done = driver::Event::none;  // after the last launch of ours
    std::uint64_t launches = 0, next_look = 1, updates = 0;
    std::uint64_t away = 0;                      // kernels on other dies
    int missed = 0;                              // what was to be carried was not, so often in turn
    std::uint64_t changes = 0;                   // of kernels, while there was none of ours
    std::uint64_t moved = 0, judged = 0;         // drains, and Router::judged, by the last look
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
  static constexpr std::size_t kLegsMost = 16;  // more would rest more than they run

  std::shared_ptr<Entry> find(driver::Exec exec);
  void take(Entry& entry, driver::Graph graph);
  void look(Entry& entry, Reach& reach);
  bool make(Entry& entry, const std::vector<Die>& dies);
  bool make_leg(Entry& entry, Leg leg);
  Leg& leg_of(Entry& entry, std::size_t node);
  bool change(Entry& entry, std::size_t node, const driver::KernelChange& change);
  std::vector<Leg> legs_of(const Entry& entry) const;
  bool prepare_legs(Entry& entry, driver::Stream stream);
  bool carry_for(Entry& entry, const Leg& leg);
  Result<void> launch_leg(const Leg& leg, driver::Stream stream);
  std::optional<int> launch_legs(Entry& entry, driver::Stream stream);
  void ended_with(Entry& entry, driver::Stream stream);
  void drop(Entry& entry);
  void drop_ours(Entry& entry);
  bool has_event(Entry& entry);
  bool follows_on(Entry& entry, driver::Stream stream, bool ours);

  const driver::Verbs& verbs_;
  Router& router_;
  Mutex<Rank::graphs> mutex_;
  std::unordered_map<driver::Exec, std::shared_ptr<Entry>> entries_ BARSWAP_GUARDED_BY(mutex_);
  // Never destroyed: who waits for a graph may still ask after one.
  std::vector<driver::Event> spare_ BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

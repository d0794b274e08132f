// Parting: who says where a graph that the program launches is cut, and what comes before each of
// its parts. `Router` cuts where the die changes, and carries; `Slicer` cuts where ranges of the
// next nodes may have to take turns. `PartedGraphs` makes and launches the parts.
#pragma once
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "driver/verbs.hpp"
#include "policy/stretch.hpp"
#include "session/turnstile.hpp"

namespace barswap::session {

// A part begins with that node, before which these are carried to its die.
struct GraphCut {
  std::size_t node = 0;
  std::vector<policy::Stretch> along;
};

struct GraphPlan {
  // As one, on a die.
  static GraphPlan whole(std::size_t nodes, Die die) {
    return {std::vector<Die>(nodes, die), {}, 1u << index_of(die)};
  }
  std::vector<Die> dies;       // of each node
  std::vector<GraphCut> cuts;  // in the order of their nodes; the first node needs none
  std::uint32_t used = 0;      // a bit for each die
};

// Nodes that are launched together.
struct GraphPart {
  std::size_t first = 0, count = 0;
  driver::Graph graph = driver::Graph::none;  // none: it is the whole clone
  driver::Exec exec = driver::Exec::none;
  Die die{0};                          // where it is launched
  std::vector<policy::Stretch> along;  // carried there before
};

class Parting {
 public:
  virtual ~Parting() = default;

  // False: never again.
  virtual bool parts() const = 0;
  virtual Die home() const = 0;
  // Of a graph that the program launches on this stream.
  virtual bool may_part(driver::Stream stream) = 0;
  // Of a clone's nodes, one after another. More cuts than `most_parts` have it launched as one.
  virtual GraphPlan plan(std::span<const driver::GraphNode> nodes) = 0;
  virtual std::size_t most_parts() const = 0;
  // Parts of a graph that may be in flight when it is launched again in parts: a queue of the
  // driver's that is full puts who holds the turnstile to sleep, and the others with it.
  virtual std::size_t most_ahead() const = 0;
  // The first launch of a graph that may be parted.
  virtual std::uint64_t from_launch() const = 0;
  // Raised when a plan may have become wrong.
  virtual std::uint64_t judged() const = 0;
  // What a kernel is on a die. Nothing: it may not run there.
  struct There {
    driver::Function kernel = driver::Function::none;
    driver::Context context = driver::Context::none;
  };
  virtual std::optional<There> there(driver::Function function, Die die) = 0;
  // Whether it may run there with these parameters.
  virtual bool may_run(const driver::KernelChange& change, Die die) = 0;

  // For who launches parts, and holds the turnstile from `begin` to `end`; `begin` may refuse.
  virtual Turnstile& turnstile() = 0;
  virtual bool begin() = 0;
  virtual void end() = 0;
  // Before the first part; and whether all hops can be made. `dies`: a bit for each.
  virtual void await_room(Die die) = 0;
  virtual bool can_hop(driver::Stream stream, std::uint32_t dies) = 0;
  // The stream's end goes from one die to another; what stands for it there.
  virtual Result<driver::Stream> hop(driver::Stream stream, Die from, Die to) = 0;
  // Right before a part. False: not all lies where it should.
  virtual bool prepare(const GraphPart& part, std::span<const driver::GraphNode> nodes,
                       driver::Stream stream) = 0;
  virtual Result<void> upload(const GraphPart& part, driver::Stream there) = 0;
  virtual Result<void> launch(const GraphPart& part, driver::Stream there,
                              driver::Stream stream) = 0;
  // All were launched, node by node on these dies, `away` kernels elsewhere; `done` comes after it.
  virtual void ended(driver::Stream stream, driver::Event done, std::span<const Die> dies,
                     std::uint64_t away) = 0;
  // The stream is no more at rest than it was.
  virtual void launched_on(driver::Stream stream) = 0;
  // An order of the program's cannot be kept by an event.
  virtual void lost_order() = 0;
  // A part was launched, and the rest was not, or not right behind it. What to answer.
  virtual int lost(Error error) = 0;
};

}  // namespace barswap::session

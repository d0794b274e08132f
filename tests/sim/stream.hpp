// Streams and the work in them, and the scheduler that decides which piece of work goes next.
//
// A stream is a queue; its front is the work that may proceed, once the streams it waits for have
// come far enough. Work proceeds in steps, so it can be half done when the host does something. The
// machine's lock guards all of it, and is released only while a host function runs.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <vector>

#include "sim/random.hpp"
#include "sim/view.hpp"

namespace barswap::sim {

class Machine;
struct Capture;
struct Stream;

enum class Progress { Done, More, Stalled };

// "That stream has finished so many pieces of work."
struct Dependency {
  std::shared_ptr<Stream> stream;
  std::uint64_t sequence = 0;
  bool met() const;
};

// One piece of work. A copy of it is a graph node's content.
struct Op {
  virtual ~Op() = default;
  virtual Progress step(Machine& machine, bool host_allowed) = 0;
  virtual std::unique_ptr<Op> clone() const = 0;
  // Whether it may touch an address of these; a kernel may touch anything.
  virtual bool may_touch(std::uintptr_t base, std::size_t bytes) const {
    (void)base;
    (void)bytes;
    return touches_memory;
  }
  // Whether it may do so on that die.
  virtual bool works_on(int on, std::uintptr_t base, std::size_t bytes) const {
    return die == on && may_touch(base, bytes);
  }
  // True if the next step runs a function of the program.
  virtual bool wants_host() const { return false; }

  Context* context = nullptr;
  int die = 0;
  Context* own = nullptr;  // of a graph's node that runs elsewhere than the graph
  bool touches_memory = true;
  // On the virtual clock: when the next step starts, what the last one cost, and which copy engine
  // it held, if any.
  std::uint64_t submit_ns = 0;
  std::uint64_t start_ns = 0;
  std::uint64_t cost_ns = 0;
  int engine = -1;
  std::vector<Dependency> after;
  std::uint64_t sequence = 0;
};

template <class Derived>
struct OpBase : Op {
  std::unique_ptr<Op> clone() const override {
    auto copy = std::make_unique<Derived>(static_cast<const Derived&>(*this));
    copy->after.clear();
    return copy;
  }
};

struct Stream {
  std::uint64_t id = 0;
  Context* context = nullptr;
  unsigned flags = 0;
  int priority = 0;
  bool legacy = false;
  bool per_thread = false;
  bool destroyed = false;
  bool running = false;  // its front is a host function at work, without the lock
  std::deque<std::unique_ptr<Op>> queue;
  std::uint64_t submitted = 0;
  std::uint64_t completed = 0;
  std::uint64_t ready_ns = 0;
  std::shared_ptr<Capture> capture;
  std::vector<std::size_t> capture_tail;  // nodes that the next captured one depends on

  bool blocking() const { return (flags & CU_STREAM_NON_BLOCKING) == 0; }
};

inline bool Dependency::met() const { return stream->completed >= sequence; }

// Each die copies in, out and to its peers at the same time, but one thing each way. Between the
// host and HBM the link is that of the die whose HBM it is, whoever issues the copy (580.159).
inline constexpr int engines_per_die = 3;
inline constexpr int engine_in = 0;
inline constexpr int engine_out = 1;
inline constexpr int engine_device = 2;

class Scheduler {
 public:
  explicit Scheduler(Machine& machine, std::uint64_t seed) : machine_(machine), random_(seed) {}

  void add(std::shared_ptr<Stream> stream) { streams_.push_back(std::move(stream)); }
  void submit(Stream& stream, std::unique_ptr<Op> op);
  // One step of some ready work; false if nothing moved. Host functions are left alone unless
  // allowed.
  bool step(bool host_allowed);
  // The same, for host functions only.
  bool step_host_function();
  void cancel(const Context* context);
  void forget_drained();
  bool idle() const { return pending_ == 0; }

  const std::vector<std::shared_ptr<Stream>>& streams() const { return streams_; }
  // Where every stream of the context stands: when all are met, all work submitted so far is done.
  std::vector<Dependency> everything(const Context* context) const;
  // Whether work that may touch these addresses is started or queued on the die.
  bool device_work(int die, std::uintptr_t base, std::size_t bytes) const;
  std::uint64_t trace() const { return trace_; }
  std::uint64_t steps() const { return steps_; }
  Random& random() { return random_; }
  // What the copy engines of a die have moved.
  std::uint64_t copied_bytes(int die, int engine) const {
    return copied_bytes_[static_cast<std::size_t>(die * engines_per_die + engine)];
  }
  void count_copy(int engine, std::uint64_t bytes) {
    copied_bytes_[static_cast<std::size_t>(engine)] += bytes;
  }

 private:
  bool run(Stream& stream, bool host_allowed);
  void charge_time(Stream& stream, const Op& op);
  void finish(Stream& stream);

  Machine& machine_;
  Random random_;
  std::vector<std::shared_ptr<Stream>> streams_;
  std::uint64_t pending_ = 0;
  std::uint64_t trace_ = 0xcbf29ce484222325ull;
  std::uint64_t steps_ = 0;
  std::array<std::uint64_t, dies_max * engines_per_die> engine_free_ns_{};
  std::array<std::uint64_t, dies_max * engines_per_die> copied_bytes_{};
};

}  // namespace barswap::sim

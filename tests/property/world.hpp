// A program and what it knows: its contexts, streams, ranges and graphs, with a plain-byte shadow
// of the parts of each range that it ever touched. It calls the shim's exports as any program
// would; it keeps to CUDA's rules, so whatever differs from the shadow is the shim's doing.
//
// Order: two operations on one range are ordered by the program, with an event or a wait; so the
// shadow changes when an operation is submitted. Operations on different ranges run in any order.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "driver/api.hpp"
#include "property/plan.hpp"

namespace barswap::property {

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

struct Window {
  std::uint64_t offset = 0;
  std::vector<std::uint8_t> bytes;
  bool known = false;  // false: nothing is promised about its bytes
};

struct Range {
  CUdeviceptr base = 0;
  std::uint64_t bytes = 0;
  std::size_t context = 0;
  int last = -1;  // the stream that used it last; -1: no work can be under way
  std::vector<Window> windows;
};

struct StreamState {
  CUstream handle = nullptr;
  std::size_t context = 0;
  bool made = false;  // by cuStreamCreate
  bool blocking = true;
  bool live = true;
};

struct ContextState {
  CUcontext handle = nullptr;
  int die = 0;
  bool primary = false;
  bool live = true;
  CUmodule module = nullptr;
  std::map<std::string, CUfunction> functions;
  std::set<std::size_t> peers;  // contexts whose memory its kernels may touch
  int legacy = -1;
};

// A part of a window, in words of 4 bytes.
struct Slice {
  Range* range = nullptr;
  Window* window = nullptr;
  std::uint64_t first = 0;  // byte in the window
  std::uint64_t bytes = 0;
  CUdeviceptr address() const { return range->base + window->offset + first; }
  std::uint64_t words() const { return bytes / 4; }
  std::uint8_t* shadow() const { return window->bytes.data() + first; }
  std::uint32_t* shadow_words() const { return reinterpret_cast<std::uint32_t*>(shadow()); }
  explicit operator bool() const { return range != nullptr; }
};

struct GraphState {
  CUgraphExec exec = nullptr;
  std::size_t context = 0;
  std::vector<Range*> ranges;
  std::vector<std::function<void()>> effects;
};

class World {
 public:
  World(support::Life& life, const Plan& plan);
  void run();
  std::uint64_t trace() const { return trace_; }
  void tell(bool on) { telling_ = on; }

 private:
  using Call = std::function<CUresult(CUstream)>;
  using Effect = std::function<void()>;

  // world.cpp: what everything stands on.
  bool fine(const char* what, CUresult result);  // throws if the program may not see this code
  void note(const char* what, std::uint64_t value);
  void enter(std::size_t context);
  bool submit(int stream, const std::vector<Range*>& ranges, const char* what, const Call& call,
              const Effect& effect);
  void order(int stream, Range& range);
  void drained(int stream);
  void all_drained();
  void taint(const std::vector<Range*>& ranges);
  void compare(const Window& window, const std::uint8_t* got, const char* how, CUdeviceptr base);
  void compare_all(bool directly);
  void open_dies();
  void check_machine();
  bool in_use(CUdeviceptr base, std::uint64_t bytes) const;

  // Choices.
  std::size_t pick_context();
  int pick_stream(std::size_t context, bool no_legacy = false);
  Slice pick_slice(std::size_t context, std::uint64_t bytes_max, bool known,
                   std::initializer_list<Window*> not_these = {}, bool for_copy = false);
  bool reaches(std::size_t context, const Range& range, bool for_copy) const;
  CUfunction function(std::size_t context, const char* name);
  template <class... Parameters>
  bool launch(int stream, const std::vector<Range*>& ranges, const char* name, const Effect& effect,
              Parameters... parameters);

  // lives.cpp: what comes and goes.
  void make_context(int die, bool primary);
  void end_context(std::size_t index, bool reset);
  void drop_context(std::size_t index);
  void context_come_or_go();
  void make_stream();
  void end_stream();
  void allocate();
  void allocate_bytes(std::uint64_t bytes, std::size_t context);
  void allocate_pitch();
  void adopt_range(CUdeviceptr base, std::uint64_t bytes, std::size_t context);
  void release();
  void release_range(std::size_t index);
  void enable_peer();
  std::uint64_t held_bytes() const;
  void judge_out_of_memory(std::uint64_t bytes, std::size_t context);

  // work.cpp: what the device does.
  void write_window();
  void write_slice(const Slice& slice);
  void read_window();
  void read_async();
  void set_memory();
  void copy_on_device();
  void copy_between_dies();
  void copy_rows();
  void kernel();
  void sweep();
  void kernel_on(int stream);
  void chase();
  void pointer_table();
  void capture();
  void launch_graph();
  void synchronize();
  void host_function();
  void query();

  support::Life& life_;
  const Plan& plan_;
  Chance chance_;
  std::vector<ContextState> contexts_;
  std::vector<StreamState> streams_;
  std::vector<std::unique_ptr<Range>> ranges_;
  CUlibrary library_ = nullptr;  // of kernels that belong to no context
  std::vector<GraphState> graphs_;
  struct Read {
    int stream;
    void* got;  // pinned
    std::vector<std::uint8_t> expected;
    CUdeviceptr from;
  };
  std::vector<Read> reads_;
  std::vector<std::pair<int, void*>> sources_;  // pinned, until their stream was waited for
  struct Told {
    int stream;
    std::uint64_t number;
  };
  std::vector<Told> calls_expected_;
  std::uint64_t calls_made_ = 0;
  // While a capture lives: its stream, and the graph it becomes.
  int capturing_ = -1;
  GraphState captured_;
  std::uint64_t trace_ = 0xcbf29ce484222325ull;
  // Before the step in hand: a page of a range that lives before and after may not be unmapped
  // beside work; the grave of a freed one may be dug while other work runs.
  std::vector<std::pair<CUdeviceptr, std::uint64_t>> before_;
  std::size_t violations_seen_ = 0;
  bool telling_ = false;
};

}  // namespace barswap::property

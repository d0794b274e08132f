// What the rooms left of here may ask of a driver, in our own words and handles: no CUDA type
// appears. Verbs owns nothing and locks nothing; it is a thin, typed reading of one Api. Every
// refusal of the driver comes back as an Error that carries its code. Calls are safe from any
// thread.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "barswap/result.hpp"
#include "barswap/units.hpp"

namespace barswap::driver {

struct Api;

enum class Context : std::uintptr_t { none = 0 };
enum class Event : std::uintptr_t { none = 0 };
enum class Stream : std::uintptr_t { none = 0 };
// What cuda.h calls the legacy and the per-thread default stream.
constexpr Stream kLegacyStream{1}, kPerThreadStream{2};
enum class Function : std::uintptr_t { none = 0 };  // of either kind: CUfunction or CUkernel
enum class Module : std::uintptr_t { none = 0 };
enum class Library : std::uintptr_t { none = 0 };
enum class Handle : std::uint64_t { none = 0 };  // a VMM allocation: the memory behind one frame

enum class HostKind : std::uint8_t { none, numa, plain };  // HOST_NUMA, else HOST

// Where a frame is made. `kind` matters on the host only.
struct Place {
  Tier tier = Tier::hbm;
  Die die{0};
  HostKind kind = HostKind::numa;
  int numa_node = 0;
  bool rdma_capable = false;  // only for pinned frames: a registration we did not see must fail
};

enum class Graph : std::uintptr_t { none = 0 };
enum class Node : std::uintptr_t { none = 0 };
enum class Exec : std::uintptr_t { none = 0 };  // a graph made executable

enum class FunctionKind : std::uint8_t { kernel, function };  // CUkernel, CUfunction

// One operation of a graph, as far as it names memory: a kernel with its parameters, which the
// driver owns and the graph keeps, or up to two stretches, where a copy writes and reads. Of an
// array there is none.
struct GraphWork {
  Function function = Function::none;
  void* const* parameters = nullptr;
  void* const* extra = nullptr;
  Address first{}, second{};
  std::uint64_t first_bytes = 0, second_bytes = 0;
  std::uint64_t threads = 0, blocks = 0;  // of a kernel: its block, its grid
};

// A node of a graph's clone.
struct GraphNode {
  Node original = Node::none, node = Node::none;
  Function function = Function::none;  // of a kernel
  bool tied = false;                   // it has to run where it was made
  bool follows = false;  // it may begin before the one before it ends: both are of one die
};

// New parameters of a kernel's node, as the driver takes them (CUDA_KERNEL_NODE_PARAMS_v2).
struct KernelChange {
  Function function = Function::none;
  void* const* parameters = nullptr;
  void* const* extra = nullptr;
  const void* whole = nullptr;
};

// What a module is loaded from, as the driver takes it, and how PTX is to be translated.
struct Code {
  std::vector<std::byte> image;
  std::vector<int>
      options;  // by their numbers in cuda.h; such as are values, and not where to answer
  std::vector<void*> values;
};

// Pinned memory of the host. Under unified addressing the device has it at the same address.
struct HostBuffer {
  void* memory = nullptr;
  Address address{};
};

using Uuid = std::array<unsigned char, 16>;

class Verbs {
 public:
  explicit Verbs(const Api& api) : api_(&api) {}

  Result<int> version() const;
  Result<int> die_count() const;
  Result<Uuid> uuid(Die die) const;
  Result<std::uint64_t> total_bytes(Die die) const;
  Result<bool> has_vmm(Die die) const;
  Result<int> compute_major(Die die) const;
  Result<bool> rdma_capable(Die die) const;
  Result<int> numa_node(Die die) const;
  Result<bool> shared_by_mps(Die die) const;  // with clients of other processes
  // What a program could learn of one, and choose its kernels by, it could learn of the other.
  Result<bool> alike(Die left, Die right) const;
  Result<int> compute_capability(Die die) const;  // 90 is 9.0
  Result<bool> can_reach(Die accessor, Die owner) const;
  // Reaches it, and atomics on its memory are what they are on the accessor's own.
  Result<bool> reaches_natively(Die accessor, Die owner) const;
  bool has_idle_proof() const;  // cuCtxRecordEvent, from 12.5

  // Contexts. `current` is none when the thread has none.
  Result<Context> current() const;
  Result<Die> current_die() const;
  Result<void> push(Context context) const;
  Result<void> pop() const;
  Result<bool> primary_active(Die die) const;
  Result<Context> retain_primary(Die die) const;
  Result<void> release_primary(Die die) const;
  Result<void> synchronize() const;
  // Of our own, with the program's current one left as it is.
  Result<Context> make_context(Die die) const;
  Result<std::uint64_t> stack_bytes() const;  // a thread's, in the current context
  Result<void> set_stack_bytes(std::uint64_t size_bytes) const;
  struct Free {
    std::uint64_t free_bytes, total_bytes;
  };
  Result<Free> free_bytes() const;  // of the current context's die

  // Address space and frames.
  Result<std::uint64_t> granularity(Die die) const;
  Result<Address> reserve(std::uint64_t size_bytes) const;
  Result<void> unreserve(Address base, std::uint64_t size_bytes) const;
  Result<Handle> create(const Place& place, std::uint64_t size_bytes) const;
  Result<void> release(Handle handle) const;
  Result<void> map(Address address, std::uint64_t size_bytes, Handle handle) const;
  Result<void> unmap(Address address, std::uint64_t size_bytes) const;
  Result<void> grant(Address address, std::uint64_t size_bytes, std::span<const Die> dies) const;
  Result<void> grant_reading(Address address, std::uint64_t size_bytes,
                             std::span<const Die> dies) const;

  // Work of our own. Streams and events belong to the current context.
  Result<Stream> make_stream() const;
  Result<Stream> make_stream(int priority) const;
  Result<int> priority_of(Stream stream) const;
  Result<bool> idle(Stream stream) const;
  void destroy(Stream stream) const;
  // The context that a stream belongs to; of 0, legacy and per-thread the current one.
  Result<Context> context_of(Stream stream) const;
  // The legacy stream beside a capture is not capturing: what is submitted to it is refused.
  Result<bool> capturing(Stream stream) const;
  Result<Event> make_event() const;
  Result<Event> make_timing_event() const;
  void destroy(Event event) const;
  // Between two timing events that have both ended.
  Result<std::uint64_t> elapsed_ns(Event start, Event end) const;
  Result<void> copy(Address to, Address from, std::uint64_t size_bytes, Stream stream) const;
  Result<void> record(Event event, Stream stream) const;
  Result<void> wait(Stream stream, Event event) const;
  // Covers everything submitted to the context so far, on every kind of stream; never blocks. Never
  // call it while a capture lives in the context: it would be invalidated.
  Result<void> record_context(Context context, Event event) const;
  Result<bool> ready(Event event) const;
  Result<void> trim_default_pool(Die die) const;

  // Kernels of our own. A module and a buffer belong to the current context and end with it. All of
  // these but `launch` may wait for the device.
  Result<Module> load(const char* image) const;  // PTX, with a zero at its end
  void unload(Module module) const;
  // Loads its code too, so that the first launch has nothing left to load.
  Result<Function> function_in(Module module, const char* name) const;
  Result<void> launch(Function function, unsigned blocks, unsigned threads, Stream stream,
                      void** parameters) const;
  Result<HostBuffer> make_host_buffer(std::uint64_t size_bytes) const;
  void free_host_buffer(void* memory) const;

  // Where a kernel's parameter lies among all, and its size. Fault::invalid: it has no such
  // parameter; any other error: the driver cannot say (before 12.4), or the handle is of the other
  // kind.
  struct Parameter {
    std::uint64_t offset = 0, bytes = 0;
    bool operator==(const Parameter&) const = default;
  };
  Result<Parameter> parameter(Function function, FunctionKind kind, std::size_t index) const;

  // A CUkernel, which runs on any die, and not a CUfunction, which belongs to one context.
  bool is_kernel(Function function) const;
  Result<Library> library_of(Function kernel) const;
  // What the program may have set of `set`, which is the kernel or a CUfunction like it, on one
  // die, so that it holds of the kernel on the other.
  Result<void> copy_attributes(Function set, Function kernel, Die from, Die to) const;
  Result<Module> module_of(Function function) const;  // of a CUfunction
  // A library belongs to no context; its code is loaded into each where one of its kernels runs.
  Result<Library> load(const Code& code) const;
  void unload(Library library) const;
  Result<Function> kernel_in(Library library, const char* name) const;

  // As the driver knows it: mangled, if it is C++. It lives as long as the kernel.
  Result<const char*> kernel_name(Function function) const;

  // What a graph will do, child graphs included. The bodies of conditional nodes are not seen.
  Result<std::vector<GraphWork>> work_of(Graph graph) const;

  // The nodes of `clone`, which is one of `graph`, if they are kernels, copies and fills that come
  // one after another.
  Result<std::vector<GraphNode>> chain_of(Graph graph, Graph clone) const;
  // Of a kernel, a copy or a fill; of nothing, if the node is none of these.
  Result<GraphWork> work_of(Node node) const;
  Result<Graph> clone(Graph graph) const;
  // A clone of some of these nodes, one after another in `graph`; their twins, in that order.
  struct Part {
    Graph graph = Graph::none;
    std::vector<Node> nodes;
  };
  Result<Part> part_of(Graph graph, std::span<const GraphNode> all, std::size_t first,
                       std::size_t count) const;
  void destroy(Graph graph) const;
  // The kernel of a node, and the context that it runs in.
  Result<void> place(Node node, Function kernel, Context context) const;
  // New parameters for a node, which keeps its kernel and its context; and those of a node for its
  // executable form.
  Result<void> change(Node node, const KernelChange& change) const;
  Result<void> change(Exec exec, Node node) const;
  // Launched from the host, and uploaded by its first launch.
  bool plain_graph(std::uint64_t flags) const;
  Result<Exec> instantiate(Graph graph, std::uint64_t flags) const;
  // What its first launch would need of the device; ordered like a launch.
  Result<void> upload(Exec exec, Stream stream) const;
  Result<void> launch(Exec exec, Stream stream) const;
  void destroy(Exec exec) const;

  // Our calls must not be judged by a capture that lives on another thread. Returns the mode to
  // restore.
  int relax_capture() const;
  void restore_capture(int mode) const;

  const Api& api() const { return *api_; }

 private:
  Result<void> add_work(Graph graph, int depth, std::vector<GraphWork>& work) const;
  const Api* api_;
};

// While it lives, this thread's calls are outside any capture's rules.
class RelaxedCapture {
 public:
  explicit RelaxedCapture(const Verbs& verbs) : verbs_(verbs), mode_(verbs.relax_capture()) {}
  ~RelaxedCapture() { verbs_.restore_capture(mode_); }
  RelaxedCapture(const RelaxedCapture&) = delete;
  RelaxedCapture& operator=(const RelaxedCapture&) = delete;

 private:
  const Verbs& verbs_;
  int mode_;
};

// While it lives, `context` is current on this thread; the thread's own context comes back after.
class Entered {
 public:
  Entered(const Verbs& verbs, Context context) : verbs_(verbs), outcome_(verbs.push(context)) {}
  ~Entered() {
    if (outcome_) (void)verbs_.pop();
  }
  Entered(const Entered&) = delete;
  Entered& operator=(const Entered&) = delete;
  bool ok() const { return static_cast<bool>(outcome_); }
  const Result<void>& outcome() const { return outcome_; }

 private:
  const Verbs& verbs_;
  Result<void> outcome_;
};

bool sticky(Error error);
bool refused_for_memory(Error error);

}  // namespace barswap::driver

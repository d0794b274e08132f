// The driver's other objects: events, modules, functions, graphs, pools and arrays, by handle.
//
// A handle is the address of its object. A handle that is not in its table is refused, so a
// program's mistake is an error and not a crash. The machine's lock guards all of it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "sim/ops.hpp"

namespace barswap::sim {

struct Event {
  Context* context = nullptr;
  unsigned flags = 0;
  bool recorded = false;
  std::vector<Dependency> after;
  std::shared_ptr<std::uint64_t> stamp_ns;
  std::uint32_t late_left = 0;
  std::shared_ptr<Capture> capture;  // recorded inside it
  std::vector<std::size_t> capture_tail;

  bool ready() const;
};

struct ParameterSlot {
  std::size_t offset = 0;
  std::size_t size_bytes = 0;
};

struct Function {
  std::string name;
  std::vector<ParameterSlot> parameters;
  std::size_t parameter_bytes = 0;
  const KernelTwin* twin = nullptr;
  Context* context = nullptr;  // null for a CUkernel, which belongs to no context
  void* image = nullptr;       // the module or library it came from
  std::map<std::pair<int, int>, int> attributes;  // by die and attribute
};

struct Global {
  std::string name;
  std::size_t size_bytes = 0;
  std::uintptr_t address = 0;
};

// A module, or a library with one module for each context that asked.
struct Image {
  Context* context = nullptr;
  std::vector<Function*> functions;
  std::vector<Global> globals;
  std::string text;
  std::map<Context*, CUmodule> modules;  // of a library
  std::map<std::pair<Function*, Context*>, Function*> per_context;
};

// What a node was made from, for those who ask.
struct NodeFacts {
  CUgraphNodeType type = CU_GRAPH_NODE_TYPE_EMPTY;
  CUDA_KERNEL_NODE_PARAMS kernel{};
  bool cooperative = false;
  CUDA_MEMSET_NODE_PARAMS memset{};
  CUDA_HOST_NODE_PARAMS host{};
  CUDA_MEMCPY3D memcpy{};
  CUevent event = nullptr;
  CUgraph child = nullptr;
};

struct Node : NodeFacts {
  std::unique_ptr<Op> op;  // null for an empty node
  std::vector<std::size_t> after;
  bool removed = false;
  std::size_t number = 0;
  struct Graph* graph = nullptr;
  std::vector<void*> kernel_pointers;  // into the work's own copy of the parameters
};

struct Graph {
  std::vector<std::unique_ptr<Node>> nodes;
  bool owned_by_capture = false;
  CUgraph cloned_from = nullptr;
};

struct GraphExec {
  std::unique_ptr<Op> run;
  std::vector<CUgraphNodeType> types;
  std::vector<CUgraphNode> sources;
  std::vector<Dependency> last;  // the launch before
  Context* context = nullptr;
};

struct Capture {
  Graph* graph = nullptr;
  std::unique_ptr<Graph> owned;
  Stream* origin = nullptr;
  std::vector<Stream*> members;
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  std::thread::id thread;
  bool invalidated = false;
  std::uint64_t id = 0;
};

struct Pool {
  int die = 0;
  std::uint64_t id = 0;
  std::uint64_t release_threshold = 0;
  std::size_t used_bytes = 0;
  std::size_t used_high_bytes = 0;
};

struct Array {
  CUDA_ARRAY3D_DESCRIPTOR descriptor{};
  std::vector<std::byte> bytes;
  std::size_t row_bytes = 0;
  std::size_t charged_bytes = 0;
  int die = 0;
  Context* context = nullptr;
};

template <class Object>
using Table = std::unordered_map<const void*, std::unique_ptr<Object>>;

struct Objects {
  Table<Event> events;
  Table<Image> modules;
  Table<Image> libraries;
  Table<Function> functions;  // CUfunction and CUkernel alike
  Table<Graph> graphs;
  Table<GraphExec> execs;
  Table<Pool> pools;
  Table<Array> arrays;
  std::vector<std::shared_ptr<Capture>> captures;
  std::map<int, CUmemoryPool> default_pools;
  std::map<int, CUmemoryPool> current_pools;
};

template <class Object>
Object* look_up(Table<Object>& table, const void* handle) {
  const auto found = table.find(handle);
  return found == table.end() ? nullptr : found->second.get();
}

template <class Object>
Object* adopt(Table<Object>& table, std::unique_ptr<Object> object) {
  Object* raw = object.get();
  table.emplace(raw, std::move(object));
  return raw;
}

inline bool Event::ready() const {
  for (const Dependency& dependency : after)
    if (!dependency.met()) return false;
  return true;
}

}  // namespace barswap::sim

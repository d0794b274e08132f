// What the device does for the program: copies, memsets, kernels, graphs, and waiting for them.
#include <algorithm>
#include <cstring>

#include "property/kernels.hpp"
#include "property/world.hpp"

namespace barswap::property {
namespace {

// The program's own host memory that the device may reach at any time.
void* pinned(const driver::Api& api, std::uint64_t bytes) {
  void* memory = nullptr;
  return api.cuMemHostAlloc(&memory, bytes, CU_MEMHOSTALLOC_PORTABLE) == CUDA_SUCCESS ? memory
                                                                                      : nullptr;
}

}  // namespace

CUfunction World::function(std::size_t context, const char* name) {
  ContextState& state = contexts_[context];
  CUfunction& found = state.functions[name];
  // Half of them, so that the others go as twins.
  if (!found && library_ && std::strlen(name) % 2 == 0) {
    enter(context);
    CUkernel kernel = nullptr;
    if (fine("kernel", cuLibraryGetKernel(&kernel, library_, name)))
      found = reinterpret_cast<CUfunction>(kernel);
  } else if (!found) {
    enter(context);
    if (!fine("function", cuModuleGetFunction(&found, state.module, name))) found = nullptr;
  }
  return found;
}

template <class... Parameters>
bool World::launch(int stream, const std::vector<Range*>& ranges, const char* name,
                   const Effect& effect, Parameters... parameters) {
  const std::size_t context = streams_[static_cast<std::size_t>(stream)].context;
  const CUfunction kernel = function(context, name);
  if (!kernel) return false;
  const unsigned blocks = static_cast<unsigned>(chance_.between(1, 8));
  return submit(
      stream, ranges, name,
      [&](CUstream handle) {
        void* pointers[] = {&parameters...};
        return cuLaunchKernel(kernel, blocks, 1, 1, 64, 1, 1, 0, handle, pointers, nullptr);
      },
      effect);
}

void World::write_slice(const Slice& slice) {
  std::vector<std::uint8_t> bytes(slice.bytes);
  const auto seed = static_cast<std::uint32_t>(chance_.next());
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] = static_cast<std::uint8_t>(word_at(i, seed));
  const bool whole = slice.bytes == slice.window->bytes.size();
  const Effect effect = [slice, bytes, whole] {
    std::copy(bytes.begin(), bytes.end(), slice.shadow());
    if (whole) slice.window->known = true;
  };
  std::size_t context = slice.range->context;
  // The driver copies to memory of any die, whichever is current.
  if (chance_.percent(10)) context = pick_context();
  if (contexts_[context].die == contexts_[slice.range->context].die) context = slice.range->context;
  const CUdeviceptr to = slice.address();
  const std::uint64_t dice = chance_.below(3);
  if (dice == 0 && capturing_ < 0) {
    submit(
        contexts_[context].legacy, {slice.range}, "copy in",
        [&](CUstream) { return cuMemcpyHtoD_v2(to, bytes.data(), bytes.size()); }, effect);
    return;
  }
  const int stream = pick_stream(context, capturing_ >= 0);
  if (stream < 0) return;
  const void* from = bytes.data();
  if (dice == 1 && capturing_ < 0) {
    if (void* source = pinned(life_.api(), bytes.size())) {
      std::memcpy(source, bytes.data(), bytes.size());
      sources_.emplace_back(stream, source);
      from = source;
    }
  }
  submit(
      stream, {slice.range}, "copy in, async",
      [&](CUstream handle) { return cuMemcpyHtoDAsync_v2(to, from, bytes.size(), handle); },
      effect);
}

void World::write_window() {
  // What nothing is known of comes first.
  for (auto& range : ranges_)
    for (Window& window : range->windows)
      if (!window.known && chance_.percent(40))
        return write_slice({range.get(), &window, 0, window.bytes.size()});
  const Slice slice = pick_slice(pick_context(), kSliceBytes, true, {}, true);
  if (slice) write_slice(slice);
}

void World::read_window() {
  const std::size_t context = pick_context();
  const Slice slice = pick_slice(context, kSliceBytes, true, {}, chance_.percent(20));
  if (!slice) return;
  std::vector<std::uint8_t> got(slice.bytes);
  const int legacy = contexts_[context].legacy;
  if (!submit(
          legacy, {slice.range}, "copy out",
          [&](CUstream) { return cuMemcpyDtoH_v2(got.data(), slice.address(), got.size()); },
          [] {}))
    return;
  if (std::memcmp(got.data(), slice.shadow(), got.size()) != 0)
    throw Failure("a copy to the host brought wrong bytes");
  drained(legacy);
}

void World::read_async() {
  const std::size_t context = pick_context();
  const Slice slice = pick_slice(context, kSliceBytes, true, {}, chance_.percent(20));
  const int stream = pick_stream(context);
  if (!slice || stream < 0) return;
  enter(context);
  void* got = pinned(life_.api(), slice.bytes);
  if (!got) return;
  const bool taken = submit(
      stream, {slice.range}, "copy out, async",
      [&](CUstream handle) {
        return cuMemcpyDtoHAsync_v2(got, slice.address(), slice.bytes, handle);
      },
      [this, slice, stream, got] {
        reads_.push_back(
            {stream, got, {slice.shadow(), slice.shadow() + slice.bytes}, slice.address()});
      });
  if (!taken) sources_.emplace_back(stream, got);
}

void World::set_memory() {
  const std::size_t context = pick_context();
  const Slice slice = pick_slice(context, kSliceBytes, true);
  int stream = pick_stream(context);
  if (!slice || stream < 0) return;
  const std::uint64_t form = chance_.below(8);
  const auto value = static_cast<unsigned>(chance_.next());
  const CUdeviceptr at = slice.address();
  // The plain forms are on the legacy stream.
  if (form < 3) stream = contexts_[context].legacy;
  const std::uint64_t pitch = std::min<std::uint64_t>(slice.bytes, chance_.between(1, 64) * 16);
  const std::uint64_t rows = slice.bytes / pitch;
  const std::uint64_t width = chance_.between(1, pitch / 4) * 4;
  const unsigned unit = form == 0 || form == 3 || form == 6 ? 1 : form == 1 || form == 4 ? 2 : 4;
  const Effect effect = [=] {
    std::uint8_t* out = slice.shadow();
    const bool flat = form < 6;
    for (std::uint64_t row = 0; row < (flat ? 1 : rows); ++row)
      for (std::uint64_t i = 0; i < (flat ? slice.bytes : width); i += unit)
        std::memcpy(out + row * pitch + i, &value, unit);
  };
  const auto byte = static_cast<unsigned char>(value);
  const auto half = static_cast<unsigned short>(value);
  submit(
      stream, {slice.range}, "set",
      [&](CUstream handle) {
        switch (form) {
          case 0: return cuMemsetD8_v2(at, byte, slice.bytes);
          case 1: return cuMemsetD16_v2(at, half, slice.bytes / 2);
          case 2: return cuMemsetD32_v2(at, value, slice.bytes / 4);
          case 3: return cuMemsetD8Async(at, byte, slice.bytes, handle);
          case 4: return cuMemsetD16Async(at, half, slice.bytes / 2, handle);
          case 5: return cuMemsetD32Async(at, value, slice.bytes / 4, handle);
          case 6: return cuMemsetD2D8Async(at, pitch, byte, width, rows, handle);
          default: return cuMemsetD2D32Async(at, pitch, value, width / 4, rows, handle);
        }
      },
      effect);
}

void World::copy_on_device() {
  const std::size_t context = pick_context();
  const Slice from = pick_slice(context, kSliceBytes, true);
  if (!from) return;
  const Slice to = pick_slice(context, from.bytes, true, {from.window});
  int stream = pick_stream(context);
  if (!to || stream < 0) return;
  const std::uint64_t dice = chance_.below(4);
  if (dice < 2) stream = contexts_[context].legacy;
  submit(
      stream, {from.range, to.range}, "copy on device",
      [&](CUstream handle) {
        switch (dice) {
          case 0: return cuMemcpyDtoD_v2(to.address(), from.address(), to.bytes);
          case 1: return cuMemcpy(to.address(), from.address(), to.bytes);
          case 2: return cuMemcpyAsync(to.address(), from.address(), to.bytes, handle);
          default: return cuMemcpyDtoDAsync_v2(to.address(), from.address(), to.bytes, handle);
        }
      },
      [from, to] { std::memcpy(to.shadow(), from.shadow(), to.bytes); });
}

void World::copy_between_dies() {
  const std::size_t context = pick_context();
  const Slice from = pick_slice(context, kSliceBytes, true, {}, true);
  if (!from) return;
  const Slice to = pick_slice(context, from.bytes, true, {from.window}, true);
  if (!to || from.range->context == to.range->context) return;
  const std::size_t from_context = from.range->context, to_context = to.range->context;
  if (contexts_[from_context].die == contexts_[to_context].die) return;
  int stream = pick_stream(context);
  if (stream < 0) return;
  const std::uint64_t dice = chance_.below(4);
  if (dice < 2) stream = contexts_[context].legacy;
  const CUcontext there = contexts_[to_context].handle, here = contexts_[from_context].handle;
  const auto call = [&](CUstream handle) {
    switch (dice) {
      case 0: return cuMemcpyPeer(to.address(), there, from.address(), here, to.bytes);
      case 1: return cuMemcpyDtoD_v2(to.address(), from.address(), to.bytes);
      case 2: return cuMemcpyPeerAsync(to.address(), there, from.address(), here, to.bytes, handle);
      default: return cuMemcpyDtoDAsync_v2(to.address(), from.address(), to.bytes, handle);
    }
  };
  // A machine whose host has no room left for the two buffers may refuse; then nothing happened.
  constexpr std::size_t kBuffersBytes = 8_MiB;
  const auto refused = std::make_shared<bool>(false);
  submit(
      stream, {from.range, to.range}, "copy between dies",
      [&](CUstream handle) {
        const CUresult code = call(handle);
        *refused = code == CUDA_ERROR_OUT_OF_MEMORY &&
                   life_.machine().memory().host_used_bytes() + kBuffersBytes >
                       plan_.setting.machine.host_bytes;
        return *refused ? CUDA_SUCCESS : code;
      },
      [from, to, refused] {
        if (!*refused) std::memcpy(to.shadow(), from.shadow(), to.bytes);
      });
}

// A copy of rows, from the host or on the device.
void World::copy_rows() {
  const std::size_t context = pick_context();
  const Slice to = pick_slice(context, kSliceBytes, true);
  if (!to || to.bytes < 256) return;
  const Slice from =
      chance_.percent(50) ? pick_slice(context, kSliceBytes, true, {to.window}) : Slice{};
  int stream = pick_stream(context);
  if (stream < 0) return;
  const std::uint64_t pitch = chance_.between(4, to.bytes / 64) * 16;
  const std::uint64_t from_pitch = pitch + (from ? 0 : 32);
  std::uint64_t rows = to.bytes / pitch;
  if (from) rows = std::min(rows, from.bytes / pitch);
  const std::uint64_t width = chance_.between(1, pitch);
  if (rows == 0) return;
  std::vector<std::uint8_t> host;
  if (!from) {
    host.resize(from_pitch * rows);
    for (std::size_t i = 0; i < host.size(); ++i) host[i] = static_cast<std::uint8_t>(i * 7 + rows);
  }
  CUDA_MEMCPY2D copy{};
  copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
  copy.dstDevice = to.address();
  copy.dstPitch = pitch;
  copy.srcMemoryType = from ? CU_MEMORYTYPE_DEVICE : CU_MEMORYTYPE_HOST;
  copy.srcDevice = from ? from.address() : 0;
  copy.srcHost = from ? nullptr : host.data();
  copy.srcPitch = from_pitch;
  copy.WidthInBytes = width;
  copy.Height = rows;
  const bool async = from && chance_.percent(50);
  if (!async) stream = contexts_[context].legacy;
  std::vector<Range*> ranges{to.range};
  if (from) ranges.push_back(from.range);
  submit(
      stream, ranges, "copy rows",
      [&](CUstream handle) {
        return async ? cuMemcpy2DAsync_v2(&copy, handle) : cuMemcpy2D_v2(&copy);
      },
      [&] {
        const std::uint8_t* source = from ? from.shadow() : host.data();
        for (std::uint64_t row = 0; row < rows; ++row)
          std::memcpy(to.shadow() + row * pitch, source + row * from_pitch, width);
      });
}

void World::kernel() {
  const int stream = pick_stream(pick_context());
  if (stream >= 0) kernel_on(stream);
}

void World::kernel_on(int stream) {
  const std::size_t context = streams_[static_cast<std::size_t>(stream)].context;
  const Slice a = pick_slice(context, kSliceBytes, true);
  if (!a) return;
  const auto seed = static_cast<std::uint32_t>(chance_.next());
  const CUdeviceptr pa = a.address();
  std::uint64_t n = a.words();
  const std::uint64_t dice = chance_.below(7);
  if (dice == 0) {
    launch(
        stream, {a.range}, "barswap_fill", [=] { fill(a.shadow_words(), n, seed); }, pa, n, seed);
    return;
  }
  if (dice == 1) {
    launch(
        stream, {a.range}, "barswap_xorshift_update",
        [=] { xorshift_update(a.shadow_words(), n, seed); }, pa, n, seed);
    return;
  }
  const Slice b = pick_slice(context, kSliceBytes, true, {a.window});
  if (!b) return;
  const CUdeviceptr pb = b.address();
  n = std::min(n, b.words());
  const std::vector<Range*> both{a.range, b.range};
  if (dice == 2) {
    launch(
        stream, both, "barswap_stencil", [=] { stencil(a.shadow_words(), b.shadow_words(), n); },
        pa, pb, n);
  } else if (dice == 3) {
    // Floats without NaN: both are written first.
    const float factor = static_cast<float>(seed & 1023) / 512.0f;
    launch(
        stream, {a.range}, "barswap_fill_float", [=] { fill_float(a.shadow_words(), n, seed); }, pa,
        n, seed);
    const std::uint32_t other = seed + 1;
    launch(
        stream, {b.range}, "barswap_fill_float", [=] { fill_float(b.shadow_words(), n, other); },
        pb, n, other);
    launch(
        stream, both, "barswap_saxpy",
        [=] { saxpy(factor, a.shadow_words(), b.shadow_words(), n); }, factor, pa, pb, n);
  } else if (dice == 4) {
    launch(
        stream, both, "barswap_checksum",
        [=] { checksum(a.shadow_words(), a.words(), b.shadow()); }, pa, a.words(), pb);
  } else if (dice == 5) {
    const Slice c = pick_slice(context, kSliceBytes, true, {a.window, b.window});
    if (!c) return;
    n = std::min(n, c.words());
    launch(
        stream, {a.range, b.range, c.range}, "barswap_gather",
        [=] { gather(a.shadow_words(), b.shadow_words(), c.shadow_words(), n, a.words()); }, pa, pb,
        c.address(), n, a.words());
  } else {
    BarswapWriterJob job{};
    job.first = reinterpret_cast<std::uint32_t*>(pa);
    job.second = reinterpret_cast<std::uint32_t*>(pb);
    job.words = n;
    job.seed = seed;
    launch(
        stream, both, "barswap_writer",
        [=] {
          fill(a.shadow_words(), n, seed);
          fill(b.shadow_words(), n, ~seed);
        },
        job);
  }
}

// The same ranges in the same order, again and again: what a learner of cycles waits for.
void World::sweep() {
  const std::size_t context = pick_context();
  const int stream = pick_stream(context);
  if (stream < 0) return;
  std::vector<Range*> by_size;
  for (const auto& range : ranges_)
    if (reaches(context, *range, false)) by_size.push_back(range.get());
  std::stable_sort(by_size.begin(), by_size.end(), [](const Range* left, const Range* right) {
    return left->bytes > right->bytes;
  });
  std::vector<Slice> slices;
  for (Range* range : by_size) {
    if (slices.size() == 5) break;
    for (Window& window : range->windows) {
      if (!window.known || window.bytes.size() < 64) continue;
      slices.push_back({range, &window, 0, 64});
      break;
    }
  }
  const std::uint64_t passes = chance_.between(4, 20);
  for (std::uint64_t pass = 0; pass < passes; ++pass) {
    for (const Slice& slice : slices) {
      const auto seed = static_cast<std::uint32_t>(chance_.next());
      launch(
          stream, {slice.range}, "barswap_xorshift_update",
          [=] { xorshift_update(slice.shadow_words(), slice.words(), seed); }, slice.address(),
          slice.words(), seed);
    }
  }
}

// A list whose nodes lie in several ranges: no parameter names them.
void World::chase() {
  if (!plan_.hides) return;
  const std::size_t context = pick_context();
  const int stream = pick_stream(context);
  const Slice out = pick_slice(context, 16, true);
  if (stream < 0 || !out) return;
  std::vector<Slice> nodes;
  std::vector<Range*> ranges{out.range};
  const std::uint64_t wanted = chance_.between(2, 8);
  for (std::uint64_t i = 0; i < wanted; ++i) {
    const Slice node = pick_slice(context, 16, true);
    if (!node) continue;
    const bool taken = node.address() == out.address() ||
                       std::any_of(nodes.begin(), nodes.end(), [&](const Slice& other) {
                         return other.address() == node.address();
                       });
    if (taken) continue;
    nodes.push_back(node);
    ranges.push_back(node.range);
  }
  if (nodes.empty()) return;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    BarswapNode node{};
    node.next = reinterpret_cast<BarswapNode*>(i + 1 < nodes.size() ? nodes[i + 1].address() : 0);
    node.value = static_cast<std::uint32_t>(chance_.next());
    const Slice at = nodes[i];
    if (!submit(
            stream, {at.range}, "node",
            [&](CUstream handle) {
              return cuMemcpyHtoDAsync_v2(at.address(), &node, sizeof node, handle);
            },
            [&] { std::memcpy(at.shadow(), &node, sizeof node); }))
      return;
  }
  const std::uint64_t steps = chance_.between(1, nodes.size() + 2);
  launch(
      stream, ranges, "barswap_chase",
      [&] {
        std::uint64_t fold = 0, result = 0;
        for (std::size_t i = 0; i < nodes.size() && i < steps; ++i) {
          BarswapNode node;
          std::memcpy(&node, nodes[i].shadow(), sizeof node);
          fold = fold * 31u + node.value;
          ++node.visits;
          std::memcpy(nodes[i].shadow(), &node, sizeof node);
        }
        std::memcpy(&result, out.shadow(), sizeof result);
        result = result * 31u + fold;
        std::memcpy(out.shadow(), &result, sizeof result);
      },
      nodes[0].address(), steps, out.address());
}

void World::pointer_table() {
  if (!plan_.hides) return;
  const std::size_t context = pick_context();
  const int stream = pick_stream(context);
  const Slice table = pick_slice(context, 64, true);
  if (stream < 0 || !table) return;
  std::vector<Slice> targets;
  std::vector<Range*> ranges{table.range};
  std::vector<CUdeviceptr> pointers;
  std::uint64_t words = 4096;
  while (targets.size() < table.bytes / 8) {
    const Slice target = pick_slice(context, 16_KiB, true, {table.window});
    if (!target) break;
    const bool taken = std::any_of(targets.begin(), targets.end(), [&](const Slice& other) {
      return other.window == target.window;
    });
    if (taken) break;
    targets.push_back(target);
    ranges.push_back(target.range);
    pointers.push_back(target.address());
    words = std::min(words, target.words());
  }
  if (targets.empty()) return;
  const std::uint64_t bytes = pointers.size() * 8;
  if (!submit(
          stream, {table.range}, "table",
          [&](CUstream handle) {
            return cuMemcpyHtoDAsync_v2(table.address(), pointers.data(), bytes, handle);
          },
          [&] { std::memcpy(table.shadow(), pointers.data(), bytes); }))
    return;
  const auto add = static_cast<std::uint32_t>(chance_.next());
  launch(
      stream, ranges, "barswap_table",
      [&] {
        for (const Slice& target : targets)
          for (std::uint64_t i = 0; i < words; ++i) target.shadow_words()[i] += add;
      },
      table.address(), static_cast<std::uint64_t>(targets.size()), words, add);
}

void World::capture() {
  const std::size_t context = pick_context();
  const int stream = pick_stream(context);
  if (stream < 0 || streams_[static_cast<std::size_t>(stream)].handle == nullptr) return;
  const StreamState& state = streams_[static_cast<std::size_t>(stream)];
  enter(context);
  // Beside a capture the legacy stream may not be used, and neither may what would wait for it.
  if (!fine("before capture", cuCtxSynchronize())) life_.let_work_end();
  for (std::size_t i = 0; i < streams_.size(); ++i)
    if (streams_[i].live && streams_[i].context == context) drained(static_cast<int>(i));
  const CUstreamCaptureMode modes[] = {CU_STREAM_CAPTURE_MODE_GLOBAL,
                                       CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
                                       CU_STREAM_CAPTURE_MODE_RELAXED};
  const CUstreamCaptureMode mode = chance_.one_of(modes);
  if (!fine("begin capture", cuStreamBeginCapture_v2(state.handle, mode))) return;
  capturing_ = stream;
  captured_ = {};
  captured_.context = context;
  const std::uint64_t count = chance_.between(1, 6);
  for (std::uint64_t i = 0; i < count; ++i) {
    kernel_on(stream);
    if (chance_.percent(30)) {
      // Beside the capture, on a stream that is not bound to the legacy one.
      const int other = pick_stream(context, true);
      if (other >= 0) kernel_on(other);
    }
    if (mode == CU_STREAM_CAPTURE_MODE_RELAXED && chance_.percent(40)) {
      if (chance_.percent(60)) allocate();
      else release();
    }
    if (chance_.percent(30)) check_machine();
  }
  capturing_ = -1;
  CUgraph graph = nullptr;
  enter(context);
  const CUresult result =
      cuStreamEndCapture(streams_[static_cast<std::size_t>(stream)].handle, &graph);
  if (!fine("end capture", result)) {
    (void)cuStreamEndCapture(streams_[static_cast<std::size_t>(stream)].handle, &graph);
    return;
  }
  if (fine("instantiate", cuGraphInstantiateWithFlags(&captured_.exec, graph, 0)))
    graphs_.push_back(captured_);
  fine("graph", cuGraphDestroy(graph));
}

void World::launch_graph() {
  if (graphs_.empty()) return;
  const GraphState graph = graphs_[chance_.below(graphs_.size())];
  const int stream = pick_stream(graph.context);
  if (stream < 0) return;
  const int times = plan_.graphs ? 4 : 1;
  for (int i = 0; i < times; ++i)
    submit(
        stream, graph.ranges, "launch graph",
        [&](CUstream handle) { return cuGraphLaunch(graph.exec, handle); },
        [&] {
          for (const Effect& effect : graph.effects) effect();
        });
}

void World::synchronize() {
  const std::size_t context = pick_context();
  const int stream = pick_stream(context);
  if (stream < 0) return;
  const CUstream handle = streams_[static_cast<std::size_t>(stream)].handle;
  enter(context);
  switch (chance_.below(4)) {
    case 0:
      if (!fine("synchronize context", cuCtxSynchronize())) return;
      for (std::size_t i = 0; i < streams_.size(); ++i)
        if (streams_[i].live && streams_[i].context == context) drained(static_cast<int>(i));
      return;
    case 1:
      if (fine("synchronize stream", cuStreamSynchronize(handle))) drained(stream);
      return;
    case 2: {
      CUevent event = nullptr;
      if (!fine("event", cuEventCreate(&event, CU_EVENT_DEFAULT))) return;
      if (fine("record", cuEventRecord(event, handle)) &&
          fine("synchronize event", cuEventSynchronize(event)))
        drained(stream);
      fine("event ends", cuEventDestroy_v2(event));
      return;
    }
    default: {
      const CUresult result = cuStreamQuery(handle);
      note("query stream", result);
      if (result == CUDA_SUCCESS) drained(stream);
      else if (result != CUDA_ERROR_NOT_READY) fine("query stream", result);
    }
  }
}

void World::host_function() {
  const int stream = pick_stream(pick_context());
  if (stream < 0) return;
  enter(streams_[static_cast<std::size_t>(stream)].context);
  const CUhostFn count = [](void* calls) { ++*static_cast<std::uint64_t*>(calls); };
  if (fine("host function", cuLaunchHostFunc(streams_[static_cast<std::size_t>(stream)].handle,
                                             count, &calls_made_)))
    calls_expected_.push_back({stream, 1});
}

void World::query() {
  const std::size_t context = pick_context();
  enter(context);
  std::size_t free = 0, total = 0;
  if (fine("memory info", cuMemGetInfo_v2(&free, &total)) && free > total)
    throw Failure("more memory is free than there is");
  if (ranges_.empty()) return;
  const Range& range = *ranges_[chance_.below(ranges_.size())];
  const CUdeviceptr inside = range.base + chance_.below(range.bytes);
  CUdeviceptr base = 0;
  std::size_t bytes = 0;
  enter(range.context);
  if (fine("address range", cuMemGetAddressRange_v2(&base, &bytes, inside)) &&
      (base != range.base || bytes != range.bytes))
    throw Failure("the address range of a pointer is wrong");
  CUcontext owner = nullptr;
  if (fine("pointer", cuPointerGetAttribute(&owner, CU_POINTER_ATTRIBUTE_CONTEXT, inside)) &&
      owner != contexts_[range.context].handle)
    throw Failure("the context of a pointer is wrong");
  unsigned type = 0;
  if (fine("pointer", cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, inside)) &&
      type != CU_MEMORYTYPE_DEVICE)
    throw Failure("a pointer is not device memory");
}

}  // namespace barswap::property

// What comes and goes: contexts, streams, ranges, access between dies.
#include <algorithm>
#include <cstdio>
#include <fstream>
#include <sstream>

#include "property/world.hpp"

namespace barswap::property {
namespace {

const std::string& kernels_text() {
  static const std::string text = [] {
    std::ifstream file(BARSWAP_KERNELS_PTX);
    std::ostringstream all;
    all << file.rdbuf();
    return all.str();
  }();
  return text;
}

constexpr std::uint64_t kWindowBytes = 48_KiB;

}  // namespace

void World::make_context(int die, bool primary) {
  ContextState state;
  state.die = die;
  state.primary = primary;
  const CUresult result = primary ? cuDevicePrimaryCtxRetain(&state.handle, die)
                                  : cuCtxCreate_v2(&state.handle, 0, die);
  if (!primary && result == CUDA_ERROR_OUT_OF_MEMORY) return note("no room for a context", 0);
  // A context that was refused once is asked for again: the program cannot go on without one.
  if (!fine("context", result) && (!primary || cuDevicePrimaryCtxRetain(&state.handle, die) != 0)) {
    if (primary) throw Failure("no primary context");
    return;
  }
  contexts_.push_back(state);
  const std::size_t index = contexts_.size() - 1;
  enter(index);
  if (!fine("module", cuModuleLoadData(&contexts_[index].module, kernels_text().c_str())))
    (void)cuModuleLoadData(&contexts_[index].module, kernels_text().c_str());
  if (plan_.routed && !library_ &&
      !fine("library", cuLibraryLoadData(&library_, kernels_text().c_str(), nullptr, nullptr, 0,
                                         nullptr, nullptr, 0)))
    library_ = nullptr;
  contexts_[index].legacy = static_cast<int>(streams_.size());
  streams_.push_back({nullptr, index, false, true, true});
  // One name for many streams: a program that uses it is not routed.
  if (!plan_.routed) streams_.push_back({CU_STREAM_PER_THREAD, index, false, true, true});
  CUstream stream = nullptr;
  if (fine("stream", cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING)))
    streams_.push_back({stream, index, true, false, true});
}

// Nothing of the context is the program's any more.
void World::drop_context(std::size_t index) {
  ContextState& state = contexts_[index];
  std::erase_if(graphs_, [&](GraphState& graph) {
    const bool touched = graph.context == index ||
                         std::any_of(graph.ranges.begin(), graph.ranges.end(),
                                     [&](const Range* range) { return range->context == index; });
    if (touched && graph.context != index) (void)cuGraphExecDestroy(graph.exec);
    return touched;
  });
  std::erase_if(ranges_, [&](const auto& range) { return range->context == index; });
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    if (streams_[i].context != index || !streams_[i].live) continue;
    drained(static_cast<int>(i));
    streams_[i].live = false;
  }
  for (ContextState& other : contexts_) other.peers.erase(index);
  state.peers.clear();
  state.functions.clear();
}

void World::end_context(std::size_t index, bool reset) {
  // What other contexts do with its memory ends first; its own work may end with it.
  life_.let_work_end();
  all_drained();
  const int die = contexts_[index].die;
  const bool primary = contexts_[index].primary;
  enter(index);
  const CUresult result =
      reset ? cuDevicePrimaryCtxReset_v2(die) : cuCtxDestroy_v2(contexts_[index].handle);
  if (!fine(reset ? "reset" : "destroy", result)) return;
  drop_context(index);
  contexts_[index].live = false;
  if (primary) make_context(die, true);
}

void World::context_come_or_go() {
  std::vector<std::size_t> made;
  for (std::size_t i = 0; i < contexts_.size(); ++i)
    if (contexts_[i].live && !contexts_[i].primary) made.push_back(i);
  if (made.empty() || (made.size() < 3 && chance_.percent(50))) {
    const std::size_t index = pick_context();
    if (contexts_[index].primary && chance_.percent(25)) return end_context(index, true);
    const auto dies = static_cast<std::uint64_t>(plan_.program_dies());
    return make_context(static_cast<int>(chance_.below(dies)), false);
  }
  end_context(made[chance_.below(made.size())], false);
}

void World::make_stream() {
  const std::size_t context = pick_context();
  enter(context);
  const unsigned flags = chance_.percent(50) ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT;
  CUstream stream = nullptr;
  if (fine("stream", cuStreamCreate(&stream, flags)))
    streams_.push_back({stream, context, true, flags == CU_STREAM_DEFAULT, true});
}

void World::end_stream() {
  const int stream = pick_stream(pick_context());
  if (stream < 0 || !streams_[static_cast<std::size_t>(stream)].made) return;
  StreamState& state = streams_[static_cast<std::size_t>(stream)];
  enter(state.context);
  if (!fine("synchronize stream", cuStreamSynchronize(state.handle))) life_.let_work_end();
  drained(stream);
  if (fine("stream ends", cuStreamDestroy_v2(state.handle))) state.live = false;
}

std::uint64_t World::held_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& range : ranges_) bytes += range->bytes;
  return bytes;
}

// Out-of-memory is true only when the tiers are nearly full; a machine with a budget in pieces of a
// page and a ballast may refuse a little early.
void World::judge_out_of_memory(std::uint64_t bytes, std::size_t context) {
  session::Session* session = life_.session();
  if (!session || plan_.faulty) return;
  const Die die{contexts_[context].die};
  pager::Frames& frames = session->pager().frames();
  const std::uint64_t spare = frames.host_prepared() + frames.host_copies();
  const std::uint64_t used = frames.host_bytes() - spare;
  const std::uint64_t host = frames.host_limit() - std::min(frames.host_limit(), used);
  const std::uint64_t machine_host = life_.machine().config().host_bytes -
                                     life_.machine().memory().host_used_bytes() +
                                     spare;
  // The first refusal teaches the shim that there is no such tier.
  const bool no_host = !life_.machine().config().host && !life_.machine().config().host_numa;
  const bool atomics = session->pager().shared(die) && bytes < 32_MiB;
  const std::uint64_t room =
      std::min<std::uint64_t>(frames.free_hbm(die),
                              life_.machine().memory().free_bytes(index_of(die))) +
      (atomics || no_host ? 0 : std::min<std::uint64_t>(host, machine_host));
  // A page has to fit into what one lender has.
  std::uint64_t others = 0;
  for (int other = 0; other < plan_.program_dies(); ++other)
    if (other != index_of(die))
      others +=
          std::max<std::uint64_t>(life_.machine().memory().free_bytes(other), 32_MiB) - 32_MiB;
  const std::uint64_t lent = std::min(session->pager().borrowable(die), others);
  constexpr std::uint64_t kSlackBytes = 24_MiB;
  if (room + lent > bytes + kSlackBytes)
    throw Failure("out of memory for " + std::to_string(bytes) + " bytes with room for " +
                  std::to_string(room) + " and " + std::to_string(lent) + " on peers");
}

void World::adopt_range(CUdeviceptr base, std::uint64_t bytes, std::size_t context) {
  for (const auto& other : ranges_)
    if (base < other->base + other->bytes && other->base < base + bytes)
      throw Failure("two ranges overlap");
  if (base % 256 != 0) throw Failure("a range is not aligned");
  auto range = std::make_unique<Range>();
  range->base = base;
  range->bytes = bytes;
  range->context = context;
  const auto add = [&](std::uint64_t offset, std::uint64_t size) {
    Window window;
    window.offset = offset;
    window.bytes.resize(size);
    range->windows.push_back(std::move(window));
  };
  if (bytes <= 2 * kWindowBytes) {
    add(0, bytes);
  } else {
    // Its ends, and where pages may meet.
    add(0, kWindowBytes / 2);
    std::uint64_t end = kWindowBytes / 2;
    for (int i = 0; i < 4; ++i) {
      const std::uint64_t left = bytes - end;
      if (left < 2 * kWindowBytes + 2_MiB) break;
      const std::uint64_t joint = (end / 2_MiB + 1 + chance_.below(left / 2_MiB)) * 2_MiB;
      if (joint < end + kWindowBytes / 2 || joint + 2 * kWindowBytes > bytes) continue;
      add(joint - kWindowBytes / 2, kWindowBytes);
      end = joint + kWindowBytes / 2;
    }
    add((bytes - kWindowBytes / 2) / 16 * 16, bytes - (bytes - kWindowBytes / 2) / 16 * 16);
  }
  ranges_.push_back(std::move(range));
  // Most programs write at once what they asked for.
  if (!chance_.percent(80)) return;
  Range& made = *ranges_.back();
  for (Window& window : made.windows) write_slice({&made, &window, 0, window.bytes.size()});
}

void World::allocate() {
  const std::size_t context = pick_context();
  const std::uint64_t dice = chance_.below(100);
  std::uint64_t bytes = dice < 40   ? chance_.between(1, 900) * (chance_.percent(50) ? 1 : 1024)
                        : dice < 92 ? chance_.between(1_MiB, 9_MiB)
                                    : chance_.between(32_MiB, 44_MiB);
  if (dice >= 92 && (plan_.faulty || held_bytes() > plan_.held_bytes_max / 2)) bytes = 3_MiB;
  if (held_bytes() + bytes > plan_.held_bytes_max && chance_.percent(85)) return release();
  allocate_bytes(bytes, context);
}

void World::allocate_bytes(std::uint64_t bytes, std::size_t context) {
  enter(context);
  CUdeviceptr base = 0;
  const CUresult result = cuMemAlloc_v2(&base, bytes);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    note("out of memory", bytes);
    return judge_out_of_memory(bytes, context);
  }
  if (fine("alloc", result)) adopt_range(base, bytes, context);
}

void World::allocate_pitch() {
  const std::size_t context = pick_context();
  const std::uint64_t width = chance_.between(1, 3000), height = chance_.between(1, 600);
  if (held_bytes() + width * height > plan_.held_bytes_max) return;
  enter(context);
  CUdeviceptr base = 0;
  std::size_t pitch = 0;
  const CUresult result = cuMemAllocPitch_v2(&base, &pitch, width, height, 4);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) return judge_out_of_memory(width * height, context);
  if (!fine("alloc pitch", result)) return;
  if (pitch < width || pitch % 512 != 0) throw Failure("a pitch that does not hold its width");
  adopt_range(base, pitch * height, context);
}

void World::release() {
  if (!ranges_.empty()) release_range(chance_.below(ranges_.size()));
}

void World::release_range(std::size_t index) {
  Range& range = *ranges_[index];
  // What a capture in hand has named lives until the graph is made.
  const auto& named = captured_.ranges;
  if (capturing_ >= 0 && std::find(named.begin(), named.end(), &range) != named.end()) return;
  std::erase_if(graphs_, [&](GraphState& graph) {
    if (std::find(graph.ranges.begin(), graph.ranges.end(), &range) == graph.ranges.end())
      return false;
    (void)cuGraphExecDestroy(graph.exec);
    return true;
  });
  // Free waits for the range's own context; other contexts are the program's care, and so is all
  // work while a capture lives.
  const int last = range.last;
  if (last >= 0 && (capturing_ >= 0 || chance_.percent(40) ||
                    streams_[static_cast<std::size_t>(last)].context != range.context)) {
    enter(streams_[static_cast<std::size_t>(last)].context);
    if (!fine("before free", cuStreamSynchronize(streams_[static_cast<std::size_t>(last)].handle)))
      life_.let_work_end();
    drained(last);
  }
  enter(chance_.percent(80) ? range.context : pick_context());
  if (!fine("free", cuMemFree_v2(range.base))) {
    // The fault may have struck before or after; a second try tells, and either answer is right.
    if (capturing_ < 0) life_.let_work_end();
    const CUresult again = cuMemFree_v2(range.base);
    note("free again", again);
    if (again != CUDA_SUCCESS && again != CUDA_ERROR_INVALID_VALUE && !plan_.faulty)
      throw Failure("free fails twice");
  }
  ranges_.erase(ranges_.begin() + static_cast<std::ptrdiff_t>(index));
}

void World::enable_peer() {
  const std::size_t accessor = pick_context(), owner = pick_context();
  if (contexts_[accessor].die == contexts_[owner].die) return;
  enter(accessor);
  std::set<std::size_t>& peers = contexts_[accessor].peers;
  if (peers.contains(owner) && chance_.percent(30)) {
    life_.let_work_end();
    all_drained();
    enter(accessor);
    if (!fine("disable peer", cuCtxDisablePeerAccess(contexts_[owner].handle))) return;
    peers.erase(owner);
    // Graphs that reach over it must not run any more.
    std::erase_if(graphs_, [&](GraphState& graph) {
      if (graph.context != accessor) return false;
      (void)cuGraphExecDestroy(graph.exec);
      return true;
    });
    return;
  }
  const CUresult result = cuCtxEnablePeerAccess(contexts_[owner].handle, 0);
  note("enable peer", result);
  const bool had = peers.contains(owner);
  const bool reaches =
      plan_.setting.machine.reaches(contexts_[accessor].die, contexts_[owner].die);
  if (result == CUDA_ERROR_PEER_ACCESS_UNSUPPORTED && !reaches) return;
  if (result == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED && had) return;
  // A program that cannot be told to pause may be refused.
  if (result == CUDA_ERROR_TOO_MANY_PEERS) return;
  if (fine("enable peer", result)) peers.insert(owner);
}

}  // namespace barswap::property

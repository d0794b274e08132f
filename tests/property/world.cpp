#include "property/world.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "pager/pager.hpp"
#include "session/session.hpp"

namespace barswap::property {

World::World(support::Life& life, const Plan& plan)
    : life_(life), plan_(plan), chance_(plan.seed ^ 0x70726f67) {}

void World::note(const char* what, std::uint64_t value) {
  for (const char* letter = what; *letter; ++letter)
    trace_ = (trace_ ^ static_cast<unsigned char>(*letter)) * 0x100000001b3ull;
  trace_ = (trace_ ^ value) * 0x100000001b3ull;
  if (telling_) std::fprintf(stderr, "  %s %llu\n", what, static_cast<unsigned long long>(value));
}

bool World::fine(const char* what, CUresult result) {
  note(what, result);
  if (result == CUDA_SUCCESS) return true;
  const bool lent = result == plan_.fault_code || result == CUDA_ERROR_OUT_OF_MEMORY ||
                    result == CUDA_ERROR_NOT_SUPPORTED || result == CUDA_ERROR_NOT_READY ||
                    result == CUDA_ERROR_TOO_MANY_PEERS || result == CUDA_ERROR_INVALID_HANDLE ||
                    result == CUDA_ERROR_INVALID_CONTEXT;
  if (plan_.faulty && lent) return false;
  throw Failure(std::string(what) + " answers " + std::to_string(result));
}

void World::enter(std::size_t context) {
  const CUresult result = cuCtxSetCurrent(contexts_[context].handle);
  if (!fine("set current", result)) (void)cuCtxSetCurrent(contexts_[context].handle);
}

bool World::submit(int stream, const std::vector<Range*>& ranges, const char* what,
                   const Call& call, const Effect& effect) {
  const StreamState& state = streams_[static_cast<std::size_t>(stream)];
  enter(state.context);
  if (stream == capturing_) {
    const bool taken = fine(what, call(state.handle));
    if (!taken) return false;
    captured_.ranges.insert(captured_.ranges.end(), ranges.begin(), ranges.end());
    captured_.effects.push_back(effect);
    return true;
  }
  for (Range* range : ranges) order(stream, *range);
  enter(state.context);
  const bool taken = fine(what, call(state.handle));
  if (taken) effect();
  else taint(ranges);
  for (Range* range : ranges) range->last = stream;
  return taken;
}

// Work on `stream` from here on comes after what was last submitted for the range.
void World::order(int stream, Range& range) {
  const int last = range.last;
  if (last < 0 || last == stream) return;
  const StreamState& before = streams_[static_cast<std::size_t>(last)];
  const StreamState& after = streams_[static_cast<std::size_t>(stream)];
  enter(before.context);
  bool ordered = false;
  if (capturing_ < 0 && chance_.percent(15)) {
    ordered = fine("order by wait", cuStreamSynchronize(before.handle));
  } else {
    CUevent event = nullptr;
    ordered = fine("event", cuEventCreate(&event, CU_EVENT_DISABLE_TIMING));
    if (ordered) {
      ordered = fine("record", cuEventRecord(event, before.handle));
      enter(after.context);
      ordered = ordered && fine("wait event", cuStreamWaitEvent(after.handle, event, 0));
      fine("event ends", cuEventDestroy_v2(event));
    }
  }
  if (!ordered) life_.let_work_end();
}

void World::taint(const std::vector<Range*>& ranges) {
  for (Range* range : ranges)
    for (Window& window : range->windows) window.known = false;
}

void World::compare(const Window& window, const std::uint8_t* got, const char* how,
                    CUdeviceptr base) {
  if (!window.known || std::memcmp(got, window.bytes.data(), window.bytes.size()) == 0) return;
  std::size_t at = 0;
  while (got[at] == window.bytes[at]) ++at;
  char text[160];
  std::snprintf(text, sizeof text,
                "wrong byte (%s) at offset %llu of the range at %#llx: %02x, not %02x", how,
                static_cast<unsigned long long>(window.offset + at),
                static_cast<unsigned long long>(base), got[at], window.bytes[at]);
  throw Failure(text);
}

// The stream has nothing under way.
void World::drained(int stream) {
  for (auto& range : ranges_)
    if (range->last == stream) range->last = -1;
  for (auto read = reads_.begin(); read != reads_.end();) {
    if (read->stream != stream) {
      ++read;
      continue;
    }
    if (std::memcmp(read->got, read->expected.data(), read->expected.size()) != 0)
      throw Failure("an asynchronous copy to the host brought wrong bytes");
    (void)life_.api().cuMemFreeHost(read->got);
    read = reads_.erase(read);
  }
  for (auto source = sources_.begin(); source != sources_.end();) {
    if (source->first == stream) {
      (void)life_.api().cuMemFreeHost(source->second);
      source = sources_.erase(source);
    } else {
      ++source;
    }
  }
  for (const Told& told : calls_expected_)
    if (told.stream == stream && calls_made_ < told.number)
      throw Failure("a host function did not run before its stream was through");
  std::erase_if(calls_expected_, [&](const Told& told) { return told.stream == stream; });
}

void World::all_drained() {
  for (std::size_t i = 0; i < streams_.size(); ++i)
    if (streams_[i].live) drained(static_cast<int>(i));
}

// Every window of every range, through the driver or straight from the frames.
void World::compare_all(bool directly) {
  life_.let_work_end();
  all_drained();
  // What left beside work may be mapped to nothing until it is named; reading it here names it.
  if (session::Session* session = session::Session::current(); directly && session)
    session->pager().present(pager::Names());
  std::vector<std::uint8_t> got;
  for (auto& range : ranges_) {
    for (const Window& window : range->windows) {
      if (!window.known) continue;
      got.resize(window.bytes.size());
      const CUdeviceptr from = range->base + window.offset;
      if (directly) {
        if (!life_.peek(from, got.data(), got.size())) throw Failure("a page is not mapped");
      } else {
        enter(range->context);
        if (!fine("compare", cuMemcpyDtoH_v2(got.data(), from, got.size()))) continue;
      }
      compare(window, got.data(), directly ? "in its frame" : "copied out", range->base);
    }
  }
}

void World::check_machine() {
  const sim::Audit audit = life_.machine().audit();
  for (; violations_seen_ < audit.violations.size(); ++violations_seen_) {
    const std::string& text = audit.violations[violations_seen_];
    unsigned long long bytes = 0, base = 0;
    if (std::sscanf(text.c_str(), "%*s of %llu bytes at %llx", &bytes, &base) != 2 ||
        in_use(base, bytes))
      throw Failure("violation: " + text);
  }
  if (!plan_.books_hold) return;
  const std::string books = life_.check_books();
  if (!books.empty()) throw Failure(books);
}

bool World::in_use(CUdeviceptr base, std::uint64_t bytes) const {
  return std::any_of(ranges_.begin(), ranges_.end(), [&](const auto& range) {
    const std::pair<CUdeviceptr, std::uint64_t> span{range->base, range->bytes};
    return range->base < base + bytes && base < range->base + range->bytes &&
           std::find(before_.begin(), before_.end(), span) != before_.end();
  });
}

std::size_t World::pick_context() {
  for (;;) {
    const std::size_t index = chance_.below(contexts_.size());
    if (contexts_[index].live) return index;
  }
}

int World::pick_stream(std::size_t context, bool no_legacy) {
  std::vector<int> fitting;
  for (std::size_t i = 0; i < streams_.size(); ++i)
    if (streams_[i].live && streams_[i].context == context &&
        !(no_legacy && (streams_[i].handle == nullptr || streams_[i].blocking)) &&
        static_cast<int>(i) != capturing_)
      fitting.push_back(static_cast<int>(i));
  return fitting.empty() ? -1 : fitting[chance_.below(fitting.size())];
}

bool World::reaches(std::size_t context, const Range& range, bool for_copy) const {
  if (range.context == context || contexts_[context].peers.contains(range.context)) return true;
  return for_copy && contexts_[range.context].die != contexts_[context].die;
}

Slice World::pick_slice(std::size_t context, std::uint64_t bytes_max, bool known,
                        std::initializer_list<Window*> not_these, bool for_copy) {
  Slice slice;
  for (int attempt = 0; attempt < 12 && !slice && !ranges_.empty(); ++attempt) {
    Range& range = *ranges_[chance_.below(ranges_.size())];
    if (!reaches(context, range, for_copy)) continue;
    if (capturing_ >= 0 && range.last == capturing_) continue;
    Window& window = range.windows[chance_.below(range.windows.size())];
    const bool taken = std::find(not_these.begin(), not_these.end(), &window) != not_these.end();
    if (taken || (known && !window.known) || window.bytes.size() < 32) continue;
    const std::uint64_t size = window.bytes.size() / 16 * 16;
    const std::uint64_t first = chance_.percent(50) ? 0 : chance_.below(size / 16) * 16;
    const std::uint64_t most = std::min(size - first, bytes_max / 16 * 16);
    slice = {&range, &window, first,
             chance_.percent(50) ? most : chance_.between(1, most / 16) * 16};
  }
  return slice;
}

// As the first launch that goes to each of them does, of which a seed has few.
void World::open_dies() {
  const driver::Verbs verbs(life_.api());
  for (int die = 1; die < plan_.setting.machine.dies; ++die) {
    auto there = verbs.reaches_natively(Die{0}, Die{die});
    auto back = verbs.reaches_natively(Die{die}, Die{0});
    if (!there || !*there || !back || !*back) continue;
    auto context = verbs.make_context(Die{die});
    if (!context) continue;
    const driver::Entered entered(verbs, *context);
    if (entered.ok() && life_.session()->adopt_ours(*context, Die{die}))
      (void)life_.session()->pager().grant(Die{0}, Die{die});
  }
}

void World::run() {
  for (int die = 0; die < plan_.program_dies(); ++die) make_context(die, true);
  if (plan_.opened) open_dies();
  using Step = void (World::*)();
  struct Odds {
    Step step;
    unsigned weight;
  };
  static constexpr Odds steps[] = {
      {&World::allocate, 14},          {&World::allocate_pitch, 2}, {&World::release, 7},
      {&World::write_window, 9},       {&World::read_window, 7},    {&World::read_async, 5},
      {&World::set_memory, 7},         {&World::copy_on_device, 7}, {&World::copy_between_dies, 4},
      {&World::copy_rows, 3},          {&World::kernel, 18},        {&World::chase, 3},
      {&World::pointer_table, 3},      {&World::capture, 3},        {&World::launch_graph, 5},
      {&World::synchronize, 10},       {&World::host_function, 1},  {&World::query, 4},
      {&World::make_stream, 2},        {&World::end_stream, 1},     {&World::enable_peer, 2},
      {&World::context_come_or_go, 1},
  };
  const auto weight_of = [&](const Odds& odds) {
    const bool graph = odds.step == &World::capture || odds.step == &World::launch_graph;
    const bool context = odds.step == &World::context_come_or_go;
    return plan_.graphs && graph ? 4 * odds.weight : plan_.graphs && context ? 0 : odds.weight;
  };
  unsigned total = 0;
  for (const Odds& odds : steps) total += weight_of(odds);
  for (int i = 0; i < 3; ++i) allocate();
  for (int i = 0; plan_.sweeps && i < 8; ++i)
    if (held_bytes() + 33_MiB <= plan_.held_bytes_max)
      allocate_bytes(chance_.between(32_MiB, 33_MiB), 0);
  for (unsigned i = 0; i < plan_.operations; ++i) {
    std::uint64_t dice = chance_.below(total);
    const Odds* odds = steps;
    before_.clear();
    for (const auto& range : ranges_) before_.emplace_back(range->base, range->bytes);
    while (dice >= weight_of(*odds)) dice -= weight_of(*odds++);
    (this->*odds->step)();
    check_machine();
    if (plan_.sweeps && chance_.percent(8)) {
      sweep();
      check_machine();
    }
    if (chance_.percent(2)) compare_all(chance_.percent(50));
  }
  compare_all(true);
  compare_all(false);
  for (GraphState& graph : graphs_) fine("graph ends", cuGraphExecDestroy(graph.exec));
  graphs_.clear();
  while (!ranges_.empty()) release_range(ranges_.size() - 1);
  check_machine();
}

}  // namespace barswap::property

#include "session/reach.hpp"

#include <algorithm>
#include <cstring>
#include <map>
#include <span>

#include "policy/place.hpp"
#include "session/door.hpp"

namespace barswap::session {
namespace {

// The words of cuda.h that mark the entries of `extra`.
constexpr std::uintptr_t kEnd = 0, kBuffer = 1, kBufferSize = 2;

std::uint64_t mixed(std::uint64_t seed, std::uint64_t value) {
  std::uint64_t word = (seed ^ value) + 0x9e3779b97f4a7c15u;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9u;
  return word ^ (word >> 31);
}

}  // namespace

class Reach::Ranges {
 public:
  explicit Ranges(const memory::Memory& memory) : memory_(memory) {}
  void add(Address word) {
    if (!memory_.ours(word)) return;
    const auto range = memory_.find(word);
    if (!range) return;
    for (const trace::NamedRange& known : named_)
      if (known.range == range->buffer_id) return;
    named_.push_back({range->buffer_id, 0});
    if (range->packed || range->mapping_bytes < policy::kLargeBytes) return;
    if (large_.empty()) home_ = range->home;
    if (range->home == home_) large_.push_back(static_cast<policy::RangeId>(range->base));
  }
  // What the word may lead to. A name too many costs a wait.
  void declare(Address word) {
    constexpr std::uint64_t kEdge = pager::kEdgeBytes;
    const std::uint64_t value = value_of(word);
    for (const std::uint64_t near : {value, value - (kEdge - 1), value + (kEdge - 1)}) {
      if (!memory_.ours(Address{near})) continue;
      const auto range = memory_.find(Address{near});
      if (range && !range->packed && range->mapping_bytes >= policy::kLargeBytes)
        movable_.add(range->base);
    }
  }
  // All that a copy or a fill goes over, which may be several ranges that the program mapped side
  // by side.
  void declare(Address first, std::uint64_t bytes) {
    declare(first);
    std::uint64_t at = value_of(first);
    const std::uint64_t end = at + std::min(bytes, ~std::uint64_t{0} - at);
    while (at < end && memory_.ours(Address{at})) {
      const auto range = memory_.find(Address{at});
      if (!range) break;
      if (!range->packed && range->mapping_bytes >= policy::kLargeBytes) movable_.add(range->base);
      const std::uint64_t next = value_of(range->base) + range->mapping_bytes;
      if (next <= at) break;
      at = next;
    }
  }
  void add_everything() {
    named_.push_back({trace::kEverything, 0});
    movable_.add_everything();
  }
  std::span<const trace::NamedRange> named() const { return named_; }
  // Those that could change places, of the die of the first.
  std::span<const policy::RangeId> large() const { return large_; }
  Die home() const { return home_; }
  // The same, of all dies.
  const pager::Names& movable() const { return movable_; }

 private:
  const memory::Memory& memory_;
  std::vector<trace::NamedRange> named_;
  std::vector<policy::RangeId> large_;
  Die home_{0};
  pager::Names movable_ = pager::Names::nothing();
};

trace::Where Reach::here(std::uintptr_t stream) const {
  auto die = verbs_.current_die();
  return {die ? *die : trace::kAnyDie, stream};
}

// Null: the driver cannot say. Parameters must never be read past their end, so the last one is
// asked for each time: where it lies tells how large all before it are together.
std::shared_ptr<const Layout> Reach::layout_of(driver::Function function) {
  if (auto known = layouts_.of(function)) {
    const std::size_t count = known->parameters.size();
    if (count == 0) return known;
    auto last = verbs_.parameter(function, known->kind, count - 1);
    if (last && *last == known->parameters.back()) return known;
  }
  auto fresh = std::make_shared<Layout>();
  for (;;) {
    auto next = verbs_.parameter(function, fresh->kind, fresh->parameters.size());
    const bool first = fresh->parameters.empty();
    const bool ends = !next && next.error().fault == Fault::invalid;
    if (!next && !ends && first && fresh->kind == driver::FunctionKind::kernel) {
      fresh->kind = driver::FunctionKind::function;
      continue;
    }
    if (!next && !ends && first) return nullptr;
    if (!next) break;
    fresh->parameters.push_back(*next);
  }
  layouts_.keep(function, fresh);
  return fresh;
}

// Pointers lie at multiples of eight, in structures passed by value as well, but for packed ones:
// those at other multiples of four are told apart. An integer that looks
// like an address of ours costs a wrong count. A tensor map begins with its address.
template <class Take>
bool Reach::each_word(driver::Function function, void* const* parameters, void* const* extra,
                      Take take) {
  const auto scan = [&](const void* bytes, std::uint64_t size) {
    const auto* at = static_cast<const unsigned char*>(bytes);
    for (std::uint64_t offset = 0; offset + sizeof(std::uint64_t) <= size; offset += 4) {
      std::uint64_t word = 0;
      std::memcpy(&word, at + offset, sizeof word);
      take(Address{word}, offset % 8 == 0);
    }
  };
  if (parameters) {
    const auto layout = layout_of(function);
    if (!layout) return false;
    for (std::size_t i = 0; i < layout->parameters.size(); ++i)
      if (layout->parameters[i].bytes >= sizeof(std::uint64_t) && parameters[i])
        scan(parameters[i], layout->parameters[i].bytes);
  }
  if (!extra) return true;
  const void* buffer = nullptr;
  std::uint64_t size = 0;
  for (std::size_t i = 0; reinterpret_cast<std::uintptr_t>(extra[i]) != kEnd; i += 2) {
    const auto mark = reinterpret_cast<std::uintptr_t>(extra[i]);
    if (mark == kBuffer) buffer = extra[i + 1];
    else if (mark == kBufferSize) size = *static_cast<const std::size_t*>(extra[i + 1]);
    else return false;
  }
  if (buffer) scan(buffer, size);
  return true;
}

// Asked anew at each launch, as its parameters are.
bool Reach::touches_everything(driver::Function function) const {
  if (options_.kernels.empty()) return false;
  auto name = verbs_.kernel_name(function);
  return !name || policy::reach_of(options_, *name) == policy::KernelReach::everything;
}

// An integer that looks like an address of ours costs a wrong count here, too. Memory that is not
// of the pool, or that the program maps itself, is not for other dies to reach.
void Reach::add(RouteNames& names, Address word) const {
  if (!memory_.may_be_ours(word) || !memory_.ours(word)) {
    names.foreign = names.foreign || router_->foreign().holds(word);
    return;
  }
  const auto range = memory_.find(word);
  if (!range) return;
  if (range->handle != 0 || range->home != router_->home()) {
    names.foreign = true;
    return;
  }
  policy::Stretch stretch = pager_.stretch(word, range->base + range->mapping_bytes);
  stretch.packed = range->packed;
  names.add(stretch);
}

// A block of parameters has hundreds of words, and few of them are addresses. False: nobody can
// say.
bool Reach::read(driver::Function function, void* const* parameters, void* const* extra,
                 const Asked& asked, Ranges& ranges) {
  const std::uint64_t edge_bytes = asked.declares ? pager::kEdgeBytes : 0;
  return each_word(function, parameters, extra, [&](Address word, bool aligned) {
    if (!memory_.may_be_ours(word, edge_bytes)) {
      if (asked.routed && aligned) add(*asked.routed, word);
      return;
    }
    if (asked.declares) ranges.declare(word);
    if (!aligned) return;
    if (asked.heats) heat_.note(word);
    if (asked.names) ranges.add(word);
    if (asked.routed) add(*asked.routed, word);
  });
}

Timing Reach::launch(const Launch& launch, RouteNames* names_routed) {
  const bool foretold = foretells();
  Asked asked;
  asked.heats = heat_.watching();
  asked.declares = pager::Flights::current() != nullptr;
  asked.names = foretold || trace::on() || asked.declares;
  asked.routed = names_routed;
  if (asked.heats) heat_.operations(1);
  Ranges ranges(memory_);
  const bool known = read(launch.function, launch.parameters, launch.extra, asked, ranges);
  if (names_routed) names_routed->foreign = names_routed->foreign || !known;
  Timing timing;
  if (!asked.names) return timing;
  const std::uint64_t site = mixed(static_cast<std::uintptr_t>(launch.function), launch.block);
  if (foretold) timing.sampled = foretell(site, launch.grid, Samples::wanted, ranges);
  if (!known) ranges.add_everything();
  if (asked.declares) {
    declared_names = ranges.movable();
    declared_function = launch.function;
    if (touches_everything(launch.function)) declared_names.add_everything();
  }
  if (trace::on())
    timing.traced =
        trace::launch(site, mixed(site, launch.grid), here(launch.stream), ranges.named());
  return timing;
}

Timing Reach::launch_together(const Together& nodes, std::uintptr_t stream) {
  Asked asked;
  asked.heats = heat_.watching();
  asked.declares = pager::Flights::current() != nullptr;
  asked.names = true;
  if (asked.heats) heat_.operations(nodes.work.size());
  Ranges ranges(memory_);
  bool known = nodes.known, everything = false;
  std::uint64_t site = 0, variant = 0;
  std::uint32_t kernels = 0;
  driver::Function last = driver::Function::none;
  for (const driver::GraphWork& work : nodes.work) {
    if (work.function == driver::Function::none) {
      for (const auto& [first, bytes] :
           {std::pair(work.first, work.first_bytes), std::pair(work.second, work.second_bytes)}) {
        if (asked.heats) heat_.note(first);
        if (asked.declares) ranges.declare(first, bytes);
      }
      continue;
    }
    known = read(work.function, work.parameters, work.extra, asked, ranges) && known;
    everything = everything || (asked.declares && touches_everything(work.function));
    last = work.function;
    // A single one is known by what it is known by elsewhere.
    const std::uint64_t one = mixed(static_cast<std::uintptr_t>(work.function), work.threads);
    site = kernels == 0 ? one : mixed(site, one);
    variant = kernels == 0 ? work.blocks : mixed(variant, work.blocks);
    ++kernels;
  }
  Timing timing;
  if (foretells()) timing.sampled = foretell(site, variant, Samples::wanted, ranges);
  if (!known) ranges.add_everything();
  if (asked.declares) {
    declared_names = ranges.movable();
    declared_function = kernels == 1 ? last : driver::Function::none;
    if (everything) declared_names.add_everything();
  }
  if (trace::on())
    timing.traced = trace::launch(site, mixed(site, variant), here(stream), ranges.named());
  return timing;
}

std::vector<policy::RangeId> Reach::large_ranges(const driver::GraphWork& kernel) {
  Asked asked;
  asked.names = true;
  Ranges ranges(memory_);
  if (kernel.function != driver::Function::none)
    (void)read(kernel.function, kernel.parameters, kernel.extra, asked, ranges);
  return {ranges.large().begin(), ranges.large().end()};
}

// Launches that name nothing large are left out of the sequence: they would only make it longer.
std::optional<Sample> Reach::foretell(std::uint64_t site, std::uint64_t variant, Samples samples,
                                      const Ranges& ranges) {
  if (ranges.large().empty()) return std::nullopt;
  return foresight_.launch({site, mixed(site, variant), ranges.home(), ranges.large(), samples});
}

void Reach::copy(Address to, Address from, std::uint64_t bytes, std::uintptr_t stream, bool blocks,
                 Address host) {
  if (heat_.watching()) {
    heat_.operations(1);
    heat_.note(to);
    heat_.note(from);
  }
  const bool declares = pager::Flights::current() != nullptr;
  if (!trace::on() && !declares) return;
  Ranges ranges(memory_);
  ranges.add(to);
  ranges.add(from);
  if (declares) {
    ranges.declare(to, bytes);
    ranges.declare(from, bytes);
    ranges.declare(host, bytes);
    declared_names = ranges.movable();
  }
  if (!trace::on()) return;
  const barswap_trace_direction direction = !memory_.ours(from) ? BARSWAP_TRACE_TO_DIE
                                            : !memory_.ours(to) ? BARSWAP_TRACE_TO_HOST
                                                                : BARSWAP_TRACE_ON_DIE;
  trace::copy({bytes, direction, blocks}, here(stream), ranges.named());
}

void Reach::set(Address to, std::uint64_t bytes) {
  if (!pager::Flights::current()) return;
  Ranges ranges(memory_);
  ranges.declare(to, bytes);
  declared_names = ranges.movable();
}

// The handle may have been that of another graph, which the driver destroyed with its context.
void Reach::graph_made(std::uintptr_t exec, driver::Graph graph) {
  auto work = verbs_.work_of(graph);
  if (!work) return graph_gone(exec);
  std::map<Address, std::uint32_t> times;
  const auto name = [&](Address word, bool aligned) {
    if (aligned && memory_.ours(word)) ++times[word];
  };
  for (const driver::GraphWork& one : *work) {
    if (one.function != driver::Function::none)
      (void)each_word(one.function, one.parameters, one.extra, name);
    name(one.first, true);
    name(one.second, true);
  }
  auto named = std::make_shared<Named>();
  named->operations = work->size();
  named->times.assign(times.begin(), times.end());
  Lock lock(mutex_);
  graphs_[exec] = std::move(named);
}

RouteNames Reach::route_names(driver::Function function, void* const* parameters,
                              void* const* extra) {
  RouteNames names;
  const bool known = each_word(function, parameters, extra, [&](Address word, bool aligned) {
    if (aligned) add(names, word);
  });
  names.foreign = names.foreign || !known;
  return names;
}

Timing Reach::graph_launched(std::uintptr_t exec, std::uintptr_t stream, bool routed) {
  Timing timing;
  std::shared_ptr<const Named> named;
  {
    Lock lock(mutex_);
    const auto found = graphs_.find(exec);
    if (found == graphs_.end()) return timing;
    named = found->second;
  }
  if (heat_.watching()) {
    heat_.operations(named->operations);
    for (const auto& [address, times] : named->times) heat_.note(address, times);
  }
  if (router_ && !routed && heat_.watching()) route_graph(*named);
  if (!foretells() && !trace::on()) return timing;
  Ranges ranges(memory_);
  for (const auto& [address, times] : named->times) ranges.add(address);
  // What a whole graph names seldom fits, so that its time would tell nothing.
  if (foretells()) (void)foretell(mixed(0, named->operations), exec, Samples::none, ranges);
  if (trace::on())
    timing.traced =
        trace::graph(mixed(0, named->operations), mixed(0, exec), here(stream), ranges.named());
  return timing;
}

void Reach::route_graph(const Named& named) {
  std::vector<policy::Route::Often> often;
  for (const auto& [address, times] : named.times) {
    const auto range = memory_.find(address);
    if (!range || range->handle != 0 || range->home != router_->home()) continue;
    policy::Route::Often one{pager_.stretch(address, range->base + range->mapping_bytes), times};
    one.stretch.packed = range->packed;
    often.push_back(one);
  }
  router_->plan_graph(often);
}

void Reach::graph_gone(std::uintptr_t exec) {
  Lock lock(mutex_);
  graphs_.erase(exec);
}

}  // namespace barswap::session

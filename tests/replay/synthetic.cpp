#include "synthetic.hpp"

#include <algorithm>
#include <cstdio>
#include <string>

namespace barswap::synthetic {
namespace {

constexpr std::uint32_t kReads = BARSWAP_TRACE_READS, kWrites = BARSWAP_TRACE_WRITES;

double host_share(const Shape& shape) { return 1 - 1 / shape.ratio; }

std::uint64_t held_bytes(const Shape& shape) {
  return static_cast<std::uint64_t>(static_cast<double>(shape.budget_bytes) * shape.ratio);
}

}  // namespace

void Recorder::Sink::append(const void* from, std::size_t size) {
  const auto* first = static_cast<const std::uint8_t*>(from);
  bytes.insert(bytes.end(), first, first + size);
}

Recorder::Recorder(const char* program, std::uint64_t budget_bytes, std::uint64_t page_bytes)
    : page_bytes_(page_bytes) {
  barswap_trace_header header{};
  header.magic = BARSWAP_TRACE_MAGIC;
  header.version = BARSWAP_TRACE_VERSION;
  header.header_bytes = sizeof header;
  header.page_bytes = page_bytes;
  std::snprintf(header.program, sizeof header.program, "%s", program);
  sink_.append(&header, sizeof header);
  barswap_trace_die die{};
  die.budget_bytes = budget_bytes;
  die.host_limit_bytes = 64 * budget_bytes;
  trace::put(sink_, die, BARSWAP_TRACE_DIE);
}

barswap_trace_record Recorder::head() const {
  barswap_trace_record out{};
  out.time_ns = host_ns_;
  return out;
}

std::uint64_t Recorder::allocate(std::uint64_t bytes, double host_share) {
  const std::uint64_t number = ranges_.size() + 1;
  const std::uint64_t pages = (bytes + page_bytes_ - 1) / page_bytes_;
  const auto out = static_cast<std::uint64_t>(static_cast<double>(pages) * host_share + 0.5);
  Range range{bytes, 0};
  std::vector<Tier> tiers;
  for (std::uint64_t i = 0; i < pages; ++i) {
    const bool host = (i + 1) * out / pages != i * out / pages;
    tiers.push_back(host ? Tier::host : Tier::hbm);
    if (host) range.host_bytes += std::min(page_bytes_, bytes - i * page_bytes_);
  }
  ranges_.push_back(range);
  barswap_trace_run run{};
  run.head = head();
  run.run = number;
  run.bytes = bytes;
  run.page_bytes = page_bytes_;
  run.kind = bytes >= 32 * kMib ? BARSWAP_TRACE_LARGE : BARSWAP_TRACE_SMALL;
  trace::put_run(sink_, run, tiers);
  barswap_trace_alloc alloc{};
  alloc.head = head();
  alloc.bytes = bytes;
  alloc.run = number;
  alloc.range = static_cast<std::uint32_t>(number);
  trace::put(sink_, alloc, BARSWAP_TRACE_ALLOC);
  return number;
}

void Recorder::free(std::uint64_t range) {
  barswap_trace_free freed{};
  freed.head = head();
  freed.range = static_cast<std::uint32_t>(range);
  trace::put(sink_, freed, BARSWAP_TRACE_FREE);
  barswap_trace_run_end end{};
  end.head = head();
  end.run = range;
  trace::put(sink_, end, BARSWAP_TRACE_RUN_END);
}

void Recorder::launch(std::uint64_t site, std::uint64_t variant, std::uint64_t compute_ns,
                      const std::vector<Use>& uses, double touched, bool timed) {
  barswap_trace_launch record{};
  record.head = head();
  record.site = site;
  record.variant = variant;
  std::vector<trace::NamedRange> named;
  double host_bytes = 0;
  for (const Use& use : uses) {
    named.push_back({use.range, use.flags});
    host_bytes += static_cast<double>(ranges_[use.range - 1].host_bytes);
  }
  trace::put_ranges(sink_, record, BARSWAP_TRACE_LAUNCH, named);
  const auto link_ns =
      static_cast<std::uint64_t>(host_bytes * touched / (static_cast<double>(kInPlaceRate) / 1e9));
  const std::uint64_t device_ns = std::max(compute_ns, link_ns);
  die_ns_ = std::max(die_ns_, host_ns_) + device_ns;
  if (timed) {
    barswap_trace_timed took{};
    took.head = head();
    took.launch = launches_;
    took.device_ns = device_ns;
    trace::put(sink_, took, BARSWAP_TRACE_TIMED);
  }
  ++launches_;
  host_ns_ += kLaunchNs;
}

void Recorder::sync() {
  barswap_trace_sync record{};
  record.head = head();
  host_ns_ = record.after_ns = std::max(host_ns_, die_ns_);
  trace::put(sink_, record, BARSWAP_TRACE_SYNC);
}

std::vector<std::uint8_t> Recorder::finish() {
  struct {
    barswap_trace_record head;
  } end{head()};
  trace::put(sink_, end, BARSWAP_TRACE_END);
  return std::move(sink_.bytes);
}

std::vector<std::uint8_t> cycle(const Shape& shape) {
  constexpr int kRanges = 16;
  Recorder out("cycle", shape.budget_bytes, 2 * kMib);
  std::vector<std::uint64_t> ranges;
  for (int i = 0; i < kRanges; ++i)
    ranges.push_back(out.allocate(held_bytes(shape) / kRanges, host_share(shape)));
  for (int cycle = 0; cycle < shape.cycles; ++cycle) {
    for (std::uint64_t i = 0; i < kRanges; ++i)
      out.launch(1, 100 + i, 8'000, {{ranges[i], kReads}}, 1, cycle == 1);
    out.sync();
    out.think(50'000);
  }
  return out.finish();
}

std::vector<std::uint8_t> training(const Shape& shape) {
  constexpr std::uint64_t kLayers = 8;
  // Shares of a layer: weights 4, activations 1.5, gradients 4, moments 8.
  const std::uint64_t unit = held_bytes(shape) / kLayers / 35 * 2;
  Recorder out("training", shape.budget_bytes, 2 * kMib);
  const double share = host_share(shape);
  std::vector<std::uint64_t> weights, kept, gradients, moments;
  for (std::uint64_t layer = 0; layer < kLayers; ++layer) {
    weights.push_back(out.allocate(4 * unit, share));
    kept.push_back(out.allocate(3 * unit / 2, share));
    gradients.push_back(out.allocate(4 * unit, share));
    moments.push_back(out.allocate(8 * unit, share));
  }
  for (int step = 0; step < shape.cycles; ++step) {
    const bool timed = step == 1;
    for (std::uint64_t l = 0; l < kLayers; ++l)
      out.launch(1, 100 + l, 300'000, {{weights[l], kReads}, {kept[l], kWrites}}, 1, timed);
    for (std::uint64_t l = kLayers; l-- > 0;)
      out.launch(2, 200 + l, 600'000,
                 {{weights[l], kReads}, {kept[l], kReads}, {gradients[l], kWrites}}, 1, timed);
    for (std::uint64_t l = 0; l < kLayers; ++l)
      out.launch(
          3, 300 + l, 20'000,
          {{weights[l], kReads | kWrites}, {gradients[l], kReads}, {moments[l], kReads | kWrites}},
          1, timed);
    out.sync();
    out.think(200'000);
  }
  return out.finish();
}

std::vector<std::uint8_t> decode(const Shape& shape) {
  constexpr std::uint64_t kLayers = 12;
  Recorder out("decode", shape.budget_bytes, 2 * kMib);
  const std::uint64_t hot = out.allocate(8 * kMib, 0);
  std::vector<std::uint64_t> layers;
  for (std::uint64_t i = 0; i < kLayers; ++i)
    layers.push_back(out.allocate(held_bytes(shape) / kLayers, host_share(shape)));
  for (int token = 0; token < shape.cycles; ++token) {
    for (std::uint64_t i = 0; i < kLayers; ++i) {
      out.launch(1, 100 + i, 12'000, {{layers[i], kReads}, {hot, kReads | kWrites}}, 1, token == 1);
      out.launch(2, 200 + i, 6'000, {{hot, kReads | kWrites}}, 1, token == 1);
    }
    out.sync();
    out.think(100'000);
  }
  return out.finish();
}

std::vector<std::uint8_t> gather(const Shape& shape) {
  constexpr std::uint64_t kTables = 4;
  Recorder out("gather", shape.budget_bytes, 2 * kMib);
  std::vector<std::uint64_t> tables;
  for (std::uint64_t i = 0; i < kTables; ++i)
    tables.push_back(out.allocate(held_bytes(shape) / kTables, host_share(shape)));
  for (int batch = 0; batch < shape.cycles; ++batch) {
    for (std::uint64_t i = 0; i < kTables; ++i)
      out.launch(1, 100 + i, 20'000, {{tables[i], kReads | BARSWAP_TRACE_SOME}}, 0.01, batch == 1);
    out.sync();
    out.think(30'000);
  }
  return out.finish();
}

}  // namespace barswap::synthetic

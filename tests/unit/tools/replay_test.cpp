// The simulator against what can be worked out by hand, and against traces whose times are known.
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "tests/replay/synthetic.hpp"
#include "tools/replay/engine.hpp"
#include "tools/replay/link.hpp"

namespace synthetic = barswap::synthetic;
using namespace barswap::replay;

namespace {

constexpr std::uint64_t kMib = 1 << 20;
constexpr std::uint64_t kRate = 1'000'000'000 / 4;  // a page of 1 MiB takes about 4 ms

Costs no_costs() { return {0, 0, 0, 0, 0, 0, 0, 0, 0, 2'000'000}; }

Machine machine_with(std::uint64_t budget_bytes) {
  Machine machine;
  machine.rates = {kRate, kRate, kRate, kRate, 1'000'000'000'000, 2000};
  machine.costs = no_costs();
  machine.budget_bytes = {budget_bytes};
  return machine;
}

// `pages` runs of a page each, read one after the other, `cycles` times.
Workload cycle(std::uint32_t pages, std::uint32_t cycles, std::uint64_t compute_ns,
               bool writes = false) {
  Workload out;
  out.budget_bytes = {0};
  for (std::uint32_t i = 0; i < pages; ++i) {
    RunInfo run;
    run.bytes = run.page_bytes = kMib;
    run.born_tiers = {0};
    Step birth;
    birth.kind = Step::Kind::birth;
    birth.run = out.add_run(run);
    out.steps.push_back(birth);
  }
  for (std::uint32_t i = 0; i < cycles * pages; ++i) {
    Step step;
    step.first_use = static_cast<std::uint32_t>(out.uses.size());
    step.uses = 1;
    step.compute_ns = compute_ns;
    out.uses.push_back({i % pages, true, writes, writes});
    out.steps.push_back(step);
  }
  return out;
}

double ratio(std::uint64_t over, std::uint64_t under) {
  return static_cast<double>(over) / static_cast<double>(under);
}

struct PerCycle {
  double time_ns, bytes_in, bytes_out;
};

// The steady state, over as many cycles as it takes until MIN repeats itself: one less than pages.
PerCycle steady(Policy policy, std::uint32_t pages, std::uint32_t frames, std::uint64_t compute_ns,
                bool writes = false) {
  const Machine machine = machine_with(frames * kMib);
  const std::uint32_t more = pages - 1;
  const Outcome small = simulate(cycle(pages, 20, compute_ns, writes), policy, machine);
  const Outcome large = simulate(cycle(pages, 20 + more, compute_ns, writes), policy, machine);
  const auto each = [&](std::uint64_t after, std::uint64_t before) {
    return static_cast<double>(after - before) / more;
  };
  return {each(large.time_ns, small.time_ns), each(large.bytes_in, small.bytes_in),
          each(large.bytes_out, small.bytes_out)};
}

double steady_bound(std::uint32_t pages, std::uint32_t frames, std::uint64_t compute_ns,
                    bool writes = false) {
  const Machine machine = machine_with(frames * kMib);
  return static_cast<double>(window_bound(cycle(pages, 11, compute_ns, writes), machine) -
                             window_bound(cycle(pages, 1, compute_ns, writes), machine)) /
         10;
}

constexpr double kPageNs = static_cast<double>(kMib) / kRate * 1e9;

Machine machine_of(const Trace& trace, const Workload& workload) {
  Machine machine;
  machine.rates = rates_in(trace, {});
  machine.budget_bytes = workload.budget_bytes;
  return machine;
}

Trace parsed(std::vector<std::uint8_t> bytes) {
  Trace trace;
  std::string trouble;
  REQUIRE(parse(std::move(bytes), trace, trouble));
  return trace;
}

}  // namespace

TEST_CASE("a pure cycle: T* is the larger of computing and what does not fit") {
  // 40 pages, 20 frames: r = 2. Link-bound, then compute-bound.
  CHECK(steady_bound(40, 20, 1'000) == doctest::Approx(20 * kPageNs).epsilon(0.03));
  CHECK(steady_bound(40, 20, 5'000'000) == doctest::Approx(40 * 5e6).epsilon(0.01));
  CHECK(steady_bound(50, 40, 1'000) == doctest::Approx(10 * kPageNs).epsilon(0.03));
}

TEST_CASE("the bound of a long trace is as tight as that of a short one") {
  const Machine machine = machine_with(20 * kMib);
  const double bound = static_cast<double>(window_bound(cycle(40, 3000, 1'000), machine));
  CHECK(bound / 3000 == doctest::Approx(20 * kPageNs).epsilon(0.01));
}

TEST_CASE("a pure cycle: what forgets by recency moves everything, r/(r-1) of T*") {
  for (const auto& [pages, frames] : {std::pair{40u, 20u}, {50u, 40u}, {40u, 10u}}) {
    const double bound = (pages - frames) * kPageNs;
    const double r = static_cast<double>(pages) / frames;
    for (const Policy policy : {Policy::lru, Policy::fifo, Policy::clock}) {
      const PerCycle cost = steady(policy, pages, frames, 0);
      CHECK(cost.bytes_in == doctest::Approx(static_cast<double>(pages) * kMib));
      CHECK(cost.time_ns / bound == doctest::Approx(r / (r - 1)).epsilon(0.001));
    }
  }
}

TEST_CASE("a pure cycle: MIN misses N(N-C)/(N-1), BIP nearly as few") {
  for (const auto& [pages, frames] : {std::pair{40u, 20u}, {50u, 40u}, {40u, 10u}}) {
    const double n = pages, c = frames;
    const PerCycle min = steady(Policy::min, pages, frames, 0);
    CHECK(min.bytes_in / kMib == doctest::Approx(n * (n - c) / (n - 1)).epsilon(0.001));
    const PerCycle bip = steady(Policy::bip, pages, frames, 0);
    CHECK(bip.bytes_in >= min.bytes_in * 0.97);
    CHECK(bip.bytes_in / kMib < 1.2 * (n - c));
  }
}

TEST_CASE("a pure cycle: the deficit read in place costs max(t, (W-B)/h)") {
  // A run holds many pages, so that each launch reads the same share.
  Workload wide;
  wide.budget_bytes = {0};
  for (std::uint32_t i = 0; i < 4; ++i) {
    RunInfo run;
    run.bytes = 64 * kMib;
    run.page_bytes = kMib;
    run.born_tiers.assign(64, 0);
    Step birth;
    birth.kind = Step::Kind::birth;
    birth.run = wide.add_run(run);
    wide.steps.push_back(birth);
  }
  for (const std::uint64_t compute_ns : {1'000'000ull, 400'000'000ull}) {
    Workload workload = wide;
    for (std::uint32_t i = 0; i < 12; ++i) {
      Step step;
      step.first_use = static_cast<std::uint32_t>(workload.uses.size());
      step.uses = 1;
      step.compute_ns = compute_ns;
      workload.uses.push_back({i % 4, true, false, false});
      workload.steps.push_back(step);
    }
    const Machine machine = machine_with(128 * kMib);
    const Outcome out = simulate(workload, Policy::stream, machine);
    const double link_ns = 3 * 128 * kPageNs, compute = 12 * static_cast<double>(compute_ns);
    CHECK(static_cast<double>(out.time_ns) == doctest::Approx(std::max(link_ns, compute)));
    CHECK(out.moves == 0);
    CHECK(out.bytes_in_place == 3 * 128 * kMib);
    const Outcome all = simulate(workload, Policy::all_host, machine);
    CHECK(static_cast<double>(all.time_ns) == doctest::Approx(std::max(2 * link_ns, compute)));
  }
}

TEST_CASE("what was written goes out as well, and what was not stays") {
  const PerCycle clean = steady(Policy::lru, 40, 20, 0),
                 dirty = steady(Policy::lru, 40, 20, 0, true);
  CHECK(clean.bytes_out == 0);
  CHECK(dirty.bytes_out == doctest::Approx(40.0 * kMib));
  CHECK(dirty.time_ns > clean.time_ns);
  // In and out at once, each at the full rate: the bound does not add them up.
  CHECK(steady_bound(40, 20, 1'000, true) == doctest::Approx(20 * kPageNs).epsilon(0.03));
}

TEST_CASE("no policy is faster than T*") {
  for (const bool writes : {false, true})
    for (const std::uint64_t compute_ns : {0ull, 2'000'000ull, 5'000'000ull}) {
      const Workload workload = cycle(40, 6, compute_ns, writes);
      const Machine machine = machine_with(16 * kMib);
      const std::uint64_t bound = window_bound(workload, machine);
      for (const Policy policy : kPolicies) {
        if (policy == Policy::recorded) continue;
        CAPTURE(name_of(policy));
        CHECK(simulate(workload, policy, machine).time_ns >= bound);
      }
    }
}

TEST_CASE("what fits costs nothing, under every policy that may use HBM") {
  const Workload workload = cycle(16, 5, 1'000'000);
  const Machine machine = machine_with(64 * kMib);
  for (const Policy policy : kPolicies) {
    if (policy == Policy::all_host) continue;
    const Outcome out = simulate(workload, policy, machine);
    CAPTURE(name_of(policy));
    CHECK(out.time_ns == 80'000'000);
    CHECK((out.moves == 0 && out.bytes_in_place == 0));
  }
}

TEST_CASE("remaps cost the paging policies, and those that move nothing not") {
  Machine machine = machine_with(20 * kMib);
  const Workload workload = cycle(40, 5, 0);
  const std::uint64_t free_lru = simulate(workload, Policy::lru, machine).time_ns;
  const std::uint64_t free_stream = simulate(workload, Policy::stream, machine).time_ns;
  machine.costs = {};
  CHECK(simulate(workload, Policy::lru, machine).time_ns > free_lru);
  CHECK(simulate(workload, Policy::stream, machine).time_ns == free_stream);
}

// 24 runs of eight pages of 8 MiB, each read `reads` times by its launch, pass after pass, with
// room for 18.
double turning_pass_ns(Policy policy, std::uint32_t reads, Machine& machine) {
  constexpr std::uint32_t kRuns = 24, kPages = 4;
  constexpr std::uint64_t kPageBytes = 16 * kMib;
  Workload workload;
  workload.budget_bytes = {0};
  for (std::uint32_t i = 0; i < kRuns; ++i) {
    RunInfo run;
    run.page_bytes = kPageBytes;
    run.bytes = kPages * kPageBytes;
    run.born_tiers.assign(kPages, 0);
    Step birth;
    birth.kind = Step::Kind::birth;
    birth.run = workload.add_run(run);
    workload.steps.push_back(birth);
  }
  constexpr std::uint32_t kPasses = 40;
  std::vector<std::uint64_t> ends;
  for (std::uint32_t pass = 0; pass < kPasses; ++pass) {
    for (std::uint32_t i = 0; i < kRuns; ++i) {
      Step step;
      step.first_use = static_cast<std::uint32_t>(workload.uses.size());
      step.uses = 1;
      step.compute_ns = 1'000'000;
      step.reread_permille = 1000 * reads;
      step.site = 7;
      step.variant = 100 + i;
      workload.uses.push_back({i, true, false, false});
      workload.steps.push_back(step);
    }
    Step wait;
    wait.kind = Step::Kind::wait;
    wait.die = -1;
    workload.steps.push_back(wait);
  }
  machine.rates = {55'000'000'000, 55'000'000'000, 51'000'000'000, 52'000'000'000,
                   4'000'000'000'000, 1826};
  machine.budget_bytes = {18 * kPages * kPageBytes};
  const Outcome out = simulate(workload, policy, machine);
  const std::size_t last = out.work_end_ns.size() - 1, before = last - 10 * kRuns;
  return static_cast<double>(out.work_end_ns[last] - out.work_end_ns[before]) / 10;
}

TEST_CASE("turns pay where launches read again and again, and only there") {
  Machine machine;
  const double deficit_ns = 6 * 64.0 * kMib / 23;  // copied and remapped, pages of 16 MiB
  const double computed_ns = 24e6;
  // Eight times: whole in HBM when their launches come.
  const double streamed = turning_pass_ns(Policy::stream, 8, machine);
  for (const Policy policy : {Policy::automatic, Policy::move}) {
    const double turned = turning_pass_ns(policy, 8, machine);
    CAPTURE(name_of(policy));
    CHECK(turned < 1.2 * (computed_ns + deficit_ns));
    CHECK(turned < streamed / 1.3);
  }
  // Once: an even spread hides behind computing, and the births alone do not make it.
  CHECK(turning_pass_ns(Policy::automatic, 1, machine) == doctest::Approx(computed_ns));
  CHECK(turning_pass_ns(Policy::place, 1, machine) > 1.05 * computed_ns);
}

TEST_CASE("a link: one way a queue, both ways share what they reach together") {
  constexpr std::uint64_t kBytes = 1'000'000, kFast = 1'000'000'000;  // a millisecond
  Link free(2000);
  CHECK(free.in(0, kBytes, kFast) == 1'000'000);
  CHECK(free.in(0, kBytes, kFast) == 2'000'000);
  CHECK(free.out(0, kBytes, kFast) == 1'000'000);
  Link shared(1500);
  CHECK(shared.in(0, kBytes, kFast) == 1'000'000);
  // Beside it half the rate; the other half of the bytes afterwards, alone.
  CHECK(shared.out(0, kBytes, kFast) == 1'500'000);
  CHECK(shared.out(0, 0, kFast) == 0);
}

TEST_CASE("the same workload gives the same outcome") {
  const Workload workload = cycle(40, 5, 3'000);
  const Machine machine = machine_with(20 * kMib);
  for (const Policy policy : kPolicies) {
    const Outcome once = simulate(workload, policy, machine);
    const Outcome twice = simulate(workload, policy, machine);
    CHECK(once.time_ns == twice.time_ns);
    CHECK(once.bytes_in == twice.bytes_in);
  }
}

TEST_CASE("replay of made-up programs is within a tenth of their own time") {
  using Make = std::vector<std::uint8_t> (*)(const synthetic::Shape&);
  for (const Make make :
       {&synthetic::cycle, &synthetic::training, &synthetic::decode, &synthetic::gather})
    for (const double r : {1.25, 1.5, 2.0, 4.0}) {
      synthetic::Shape shape;
      shape.ratio = r;
      const Trace trace = parsed(make(shape));
      const Workload workload = workload_of(trace, rates_in(trace, {}));
      const Machine machine = machine_of(trace, workload);
      const Outcome out = simulate(workload, Policy::recorded, machine);
      CAPTURE(trace.header.program);
      CAPTURE(r);
      CHECK(ratio(out.time_ns, workload.recorded_ns) == doctest::Approx(1).epsilon(0.1));
      const std::uint64_t bound = window_bound(workload, machine);
      for (const Policy policy : kPolicies)
        CHECK(simulate(workload, policy, machine).time_ns >= bound);
    }
}

// Programs of tests/bench on an H200 with the default plan, none of their launches timed.
TEST_CASE("replay of real programs is within a tenth of their time, and so is the product's plan") {
  for (const char* name : {"chain", "gather", "gemm", "stencil"}) {
    CAPTURE(name);
    Trace trace;
    std::string trouble;
    REQUIRE(read(std::string(BARSWAP_RECORDED) + "/" + name + ".trace", trace, trouble));
    const Workload workload = workload_of(trace, rates_in(trace, {}));
    const Machine machine = machine_of(trace, workload);
    CHECK(workload.timed == 0);
    CHECK(window_bound(workload, machine) < workload.recorded_ns);
    for (const Policy policy : {Policy::recorded, Policy::automatic}) {
      const Outcome out = simulate(workload, policy, machine);
      CHECK(out.bytes_in_place > 0);
      CHECK(ratio(out.time_ns, workload.recorded_ns) == doctest::Approx(1).epsilon(0.1));
    }
  }
}

TEST_CASE("the product's stripe gives what was recorded with a stripe") {
  for (const auto make : {&synthetic::training, &synthetic::gather, &synthetic::cycle}) {
    const Trace trace = parsed(make({}));
    const Workload workload = workload_of(trace, rates_in(trace, {}));
    const Outcome out = simulate(workload, Policy::stream, machine_of(trace, workload));
    CAPTURE(trace.header.program);
    CHECK(ratio(out.time_ns, workload.recorded_ns) == doctest::Approx(1).epsilon(0.1));
  }
}

TEST_CASE("what was learnt with little room foretells a run with more") {
  synthetic::Shape tight, roomy;
  tight.ratio = 2;
  roomy.budget_bytes = 2 * tight.budget_bytes;
  roomy.ratio = 1;
  for (const auto make : {&synthetic::training, &synthetic::decode}) {
    const Trace from = parsed(make(tight)), other = parsed(make(roomy));
    const Workload workload = workload_of(from, rates_in(from, {}));
    const Workload really = workload_of(other, rates_in(other, {}));
    Machine machine = machine_of(from, workload);
    machine.budget_bytes = {3 * tight.budget_bytes};
    const Outcome out = simulate(workload, Policy::place, machine);
    CAPTURE(from.header.program);
    CHECK(out.bytes_in_place == 0);
    // How much less than the link's time a launch would compute, nobody can see: most of training
    // computes longer than its bytes need, nothing of decoding does.
    CHECK(out.time_ns <= workload.recorded_ns);
    CHECK(ratio(out.time_ns, really.recorded_ns) ==
          doctest::Approx(1).epsilon(make == &synthetic::training ? 0.1 : 0.5));
  }
}

TEST_CASE("launches that were not timed share the time of the wait behind them") {
  synthetic::Recorder recorder("untimed", 512 * kMib, 2 * kMib);
  const std::uint64_t first = recorder.allocate(64 * kMib, 0),
                      second = recorder.allocate(64 * kMib, 0);
  for (int i = 0; i < 5; ++i) {
    recorder.launch(1, 1, 3'000'000, {{first, BARSWAP_TRACE_READS}});
    recorder.launch(2, 2, 1'000'000, {{second, BARSWAP_TRACE_READS}});
    recorder.sync();
  }
  const Trace trace = parsed(recorder.finish());
  const Workload workload = workload_of(trace, rates_in(trace, {}));
  std::uint64_t sum_ns = 0;
  for (const Step& step : workload.steps) sum_ns += step.compute_ns;
  CHECK(workload.timed == 0);
  CHECK(static_cast<double>(sum_ns) == doctest::Approx(20e6).epsilon(0.02));
}

TEST_CASE("a wait for work that is not in the trace keeps its time") {
  synthetic::Recorder recorder("unseen", 512 * kMib, 2 * kMib);
  (void)recorder.allocate(64 * kMib, 0);
  recorder.think(1'000'000);
  std::vector<std::uint8_t> bytes = recorder.finish();
  bytes.resize(bytes.size() - sizeof(barswap_trace_record));
  barswap_trace_sync wait{};
  wait.head = {BARSWAP_TRACE_SYNC, 0, sizeof wait / 8, 0, 1'000'000};
  wait.after_ns = 6'000'000;
  const auto* raw = reinterpret_cast<const std::uint8_t*>(&wait);
  bytes.insert(bytes.end(), raw, raw + sizeof wait);
  const Trace trace = parsed(bytes);
  const Workload workload = workload_of(trace, {});
  CHECK(workload.unseen == 1);
  CHECK(simulate(workload, Policy::recorded, machine_of(trace, workload)).time_ns == 6'000'000);
}

TEST_CASE("a closed gate is counted once, whatever moved behind it") {
  synthetic::Recorder recorder("drained", 512 * kMib, 2 * kMib);
  const std::uint64_t range = recorder.allocate(64 * kMib, 0);
  std::vector<std::uint8_t> bytes = recorder.finish();
  bytes.resize(bytes.size() - sizeof(barswap_trace_record));
  const auto append = [&](const auto& record) {
    const auto* raw = reinterpret_cast<const std::uint8_t*>(&record);
    bytes.insert(bytes.end(), raw, raw + sizeof record);
  };
  // Closed for 3 ms of the 10 between the birth and the end; two pages left meanwhile.
  append(barswap_trace_drain{{BARSWAP_TRACE_DRAIN, 0, 3, 0, 1'000'000}, 3'000'000});
  for (std::uint32_t page = 0; page < 2; ++page)
    append(barswap_trace_move{{BARSWAP_TRACE_MOVE, 0, 4, 0, 4'000'000}, range, page, 0, 2, 0, 0});
  append(barswap_trace_sync{{BARSWAP_TRACE_SYNC, 0, 3, 0, 10'000'000}, 10'000'000});
  const Trace trace = parsed(bytes);
  const Workload workload = workload_of(trace, {});
  const Machine machine = machine_of(trace, workload);
  const Outcome recorded = simulate(workload, Policy::recorded, machine);
  CHECK(recorded.time_ns == 10'000'000);
  CHECK((recorded.moves == 2 && recorded.bytes_out == 4 * kMib));
  // Who closes no gate is done earlier.
  CHECK(simulate(workload, Policy::stream, machine).time_ns == 7'000'000);
}

TEST_CASE("broken traces are simulated or refused, and nothing else") {
  const std::vector<std::uint8_t> good = synthetic::decode({});
  std::uint64_t random = 88172645463325252ull;
  for (int round = 0; round < 100; ++round) {
    std::vector<std::uint8_t> bytes = good;
    for (int i = 0; i < 1 + round % 8; ++i) {
      random ^= random << 13;
      random ^= random >> 7;
      random ^= random << 17;
      const std::size_t at = random % bytes.size();
      bytes[at] = static_cast<std::uint8_t>(random >> 40);
    }
    Trace trace;
    std::string trouble;
    if (!parse(bytes, trace, trouble)) continue;
    const Workload workload = workload_of(trace, rates_in(trace, {}));
    const Machine machine = machine_of(trace, workload);
    for (const Policy policy : {Policy::recorded, Policy::min, Policy::clock, Policy::place})
      (void)simulate(workload, policy, machine);
    (void)window_bound(workload, machine);
  }
}

// Launch sequences as programs make them, from a seed, with edits, and how much of them the learner
// foretells.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <unordered_set>
#include <vector>

#include "policy/predict.hpp"

namespace barswap::policy::traces {

using Random = std::mt19937_64;
using Trace = std::vector<LaunchKey>;

inline std::uint64_t below(Random& random, std::uint64_t limit) {
  return random() % limit;
}

inline LaunchKey key(std::uint64_t kind, std::uint64_t site, std::uint64_t layer = 0,
                     std::uint64_t detail = 0) {
  const std::uint64_t which = kind << 16 | site;
  return {scatter(which + 1), scatter(scatter(which + 1) + (layer << 32 | detail))};
}

// The kinds of launches; the models are numbered from the last.
enum Kind : std::uint64_t { kPrefill, kDecode, kForward, kBackward, kOptimizer, kNoise, kModel };

// Launches that are in no cycle: of few sites, no two the same.
inline LaunchKey noise(Random& random) {
  return key(kNoise, below(random, 20), 0, below(random, 1'000'000));
}

// A token is 32 equal layers of 12 launches. One of the 12 appends to a buffer that wanders among
// eight; the grid of another grows every 64 tokens and never shrinks. A new request comes every 128
// tokens, with one of four lengths of prompt.
inline Trace decode(std::size_t tokens, std::uint64_t seed) {
  Random random(seed);
  Trace trace;
  for (std::size_t token = 0; token < tokens; ++token) {
    const std::uint64_t prompt = below(random, 4);
    for (std::uint64_t layer = 0; token % 128 == 0 && layer < 32; ++layer)
      for (std::uint64_t site = 0; site < 12; ++site)
        trace.push_back(key(kPrefill, site, layer, prompt));
    for (std::uint64_t layer = 0; layer < 32; ++layer)
      for (std::uint64_t site = 0; site < 12; ++site)
        trace.push_back(key(kDecode, site, layer,
                            site == 4   ? below(random, 8)
                            : site == 5 ? token / 64
                                        : 0));
  }
  return trace;
}

// A step is 1,440 launches: forward, backward in reverse, and the optimiser, over 48 equal layers.
inline Trace training(std::size_t steps) {
  Trace trace;
  for (std::size_t step = 0; step < steps; ++step)
    for (const std::uint64_t kind : {kForward, kBackward, kOptimizer})
      for (std::uint64_t i = 0; i < 48; ++i)
        for (std::uint64_t site = 0; site < 10; ++site)
          trace.push_back(key(kind, site, kind == kBackward ? 47 - i : i));
  return trace;
}

// One cycle of a model: layers that look the same.
inline Trace model(std::uint64_t which, std::uint64_t layers, std::uint64_t sites) {
  Trace trace;
  for (std::uint64_t layer = 0; layer < layers; ++layer)
    for (std::uint64_t site = 0; site < sites; ++site)
      trace.push_back(key(kModel + which, site, layer));
  return trace;
}

struct Edits {
  double inserted = 0, deleted = 0, replaced = 0;
};

inline Trace edited(const Trace& trace, const Edits& edits, std::uint64_t seed) {
  Random random(seed);
  std::uniform_real_distribution<double> draw(0, 1);
  Trace out;
  for (const LaunchKey& launch : trace) {
    if (draw(random) < edits.inserted) out.push_back(noise(random));
    if (draw(random) < edits.deleted) continue;
    out.push_back(draw(random) < edits.replaced ? noise(random) : launch);
  }
  return out;
}

inline bool is_noise(const LaunchKey& launch) {
  static const std::unordered_set<std::uint64_t> sites = [] {
    std::unordered_set<std::uint64_t> made;
    for (std::uint64_t site = 0; site < 20; ++site) made.insert(key(kNoise, site).site);
    return made;
  }();
  return sites.count(launch.site) != 0;
}

// The share of the launches of the next `window` that are among those foretold, at one moment. 
// Launches of noise are not asked for: nobody can know them. `told` is how far the learner is read:
// further than the window where launches were inserted into what it has seen, or left out of what
// comes.
inline double recall_at(const Sequence& sequence, const Trace& trace, std::size_t next,
                        std::size_t told, std::size_t window = 64) {
  std::unordered_set<std::uint64_t> foretold;
  std::vector<std::uint64_t> positions(told);
  positions.resize(sequence.foretell(positions));
  for (const std::uint64_t position : positions)
    foretold.insert(sequence.at(position)->instance);
  std::size_t asked = 0, found = 0;
  for (std::size_t i = next; i < std::min(next + window, trace.size()); ++i) {
    if (is_noise(trace[i])) continue;
    ++asked;
    found += foretold.count(trace[i].instance);
  }
  return asked == 0 ? 1 : static_cast<double>(found) / static_cast<double>(asked);
}

// The mean over the trace after `warm` launches, looked at every few launches.
inline double recall(Sequence& sequence, const Trace& trace, std::size_t warm,
                     std::size_t told = 64) {
  double sum = 0;
  std::size_t looks = 0;
  for (std::size_t i = 0; i < trace.size(); ++i) {
    sequence.record(trace[i]);
    if (i < warm || i % 13 != 0 || i + 65 > trace.size()) continue;
    sum += recall_at(sequence, trace, i + 1, told);
    ++looks;
  }
  return sum / static_cast<double>(looks);
}

}  // namespace barswap::policy::traces

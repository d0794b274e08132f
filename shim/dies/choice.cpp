#include "dies/choice.hpp"

#include <algorithm>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "base/environment.hpp"
#include "dies/claims.hpp"
#include "dies/visible.hpp"
#include "policy/choose_die.hpp"
#include "policy/limits.hpp"

namespace barswap::dies {
namespace {

// Whom NVML has not shown on his die by then, it shows under another number (in a container), or he
// has failed.
constexpr std::uint64_t kNewcomerNs = 120'000'000'000;

// What may be chosen: visible to the program and in dies.use.
struct Candidate {
  const Sight* sight = nullptr;
  std::string name;
  int number = 0;
};

std::vector<Candidate> candidates_of(const policy::Options& options,
                                     const std::vector<Sight>& sights, const char* value) {
  std::vector<std::string> uuids;
  for (const Sight& sight : sights) uuids.push_back(sight.uuid);
  const auto visible = visible_of(value, uuids);
  std::vector<Candidate> candidates;
  if (!visible) return candidates;
  int number = 0;
  for (const Visible& die : *visible) {
    const Sight& sight = sights[die.place];
    if (policy::uses_die(options, {number, sight.uuid}))
      candidates.push_back({&sight, die.name, number});
    ++number;
  }
  // The driver shows one slice of a die that is in slices, and has rules of its own for which.
  if (std::any_of(candidates.begin(), candidates.end(),
                  [](const Candidate& one) { return one.sight->sliced; }))
    candidates.clear();
  return candidates;
}

bool is_newcomer(const Claim& claim, const Sight& sight) {
  return claim.uuid == sight.uuid && now_ns() - claim.when_ns < kNewcomerNs &&
         std::find(sight.processes.begin(), sight.processes.end(), claim.pid) ==
             sight.processes.end();
}

policy::DieLoad load_of(const Sight& sight, const Claims& claims) {
  policy::DieLoad load{sight.free_bytes, sight.busy_percent, sight.processes.size(), 0};
  for (const Claim& claim : claims.living())
    if (is_newcomer(claim, sight)) ++load.newcomers;
  return load;
}

const Candidate& choose_among(const policy::Options& options,
                              const std::vector<Candidate>& candidates) {
  Claims claims(environment().runtime_dir);
  std::vector<policy::DieLoad> loads;
  std::optional<std::size_t> last;
  for (const Candidate& one : candidates) {
    if (one.sight->uuid == claims.last()) last = loads.size();
    loads.push_back(load_of(*one.sight, claims));
  }
  const std::size_t best = policy::choose_die(options.routing_processes, loads, last);
  const Candidate& chosen = candidates[best];
  claims.add(chosen.sight->uuid);
  BARSWAP_LOG(info, "dies", "%s of %zu dies: %llu MiB free, %u%% busy, %llu processes, %llu new",
              chosen.sight->uuid.c_str(), candidates.size(),
              static_cast<unsigned long long>(loads[best].free_bytes >> 20),
              loads[best].busy_percent, static_cast<unsigned long long>(loads[best].processes),
              static_cast<unsigned long long>(loads[best].newcomers));
  return chosen;
}

}  // namespace

std::optional<Choice> choose(const policy::Options& options, const std::vector<Sight>& sights,
                             const char* visible) {
  const std::vector<Candidate> candidates = candidates_of(options, sights, visible);
  if (candidates.empty()) return std::nullopt;
  const Candidate& chosen = choose_among(options, candidates);
  return Choice{chosen.name, chosen.number};
}

}  // namespace barswap::dies

#include "session/one_die.hpp"

#include <algorithm>
#include <atomic>

#include "barswap/log.hpp"
#include "barswap/mutex.hpp"
#include "base/clock.hpp"
#include "base/environment.hpp"
#include "base/substitute.hpp"
#include "policy/choose_die.hpp"
#include "policy/limits.hpp"
#include "session/claims.hpp"
#include "session/door.hpp"
#include "session/own_policy.hpp"
#include "session/visible.hpp"

namespace barswap::session {
namespace {

// Whom NVML has not shown on his die by then, it shows under another number (in a container), or he
// has failed.
constexpr std::uint64_t kNewcomerNs = 120'000'000'000;

struct Choice {
  enum class Made : std::uint8_t { not_yet, none, one };
  Made made = Made::not_yet;
  std::string name;  // as CUDA_VISIBLE_DEVICES has it
  int number = 0;
  int inside = 0;  // calls of cuInit under way
  Substitute substitute;
};

// Held while a die is chosen and the environment exchanged, never across cuInit.
constinit Mutex<Rank::start> mutex;
constinit Choice* choice BARSWAP_GUARDED_BY(mutex) = nullptr;
constinit std::atomic<bool> settled{false};

Choice& own_choice() BARSWAP_REQUIRES(mutex) {
  if (!choice) choice = new Choice;
  return *choice;
}

// What may be chosen: visible to the program and in dies.use.
struct Candidate {
  const Sight* sight = nullptr;
  std::string name;
  int number = 0;
};

std::vector<Candidate> candidates_of(const policy::Options& options,
                                     const std::vector<Sight>& sights) {
  std::vector<std::string> uuids;
  for (const Sight& sight : sights) uuids.push_back(sight.uuid);
  const auto visible = visible_of(visible_dies(), uuids);
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

const Candidate& choose(const policy::Options& options, const std::vector<Candidate>& candidates) {
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
  BARSWAP_LOG(info, "session", "%s of %zu dies: %llu MiB free, %u%% busy, %llu processes, %llu new",
              chosen.sight->uuid.c_str(), candidates.size(),
              static_cast<unsigned long long>(loads[best].free_bytes >> 20),
              loads[best].busy_percent, static_cast<unsigned long long>(loads[best].processes),
              static_cast<unsigned long long>(loads[best].newcomers));
  return chosen;
}

void decide(const policy::Options& options, const std::vector<Sight>& sights)
    BARSWAP_REQUIRES(mutex) {
  Choice& own = own_choice();
  own.made = Choice::Made::none;
  if (sights.empty()) {
    BARSWAP_LOG(warn, "session",
                "dies.present = \"one\" chooses none, and the program sees all dies: NVML "
                "(libnvidia-ml.so.1) does not say which there are. Cure: install it; in a "
                "container, NVIDIA_DRIVER_CAPABILITIES with \"utility\"");
    return;
  }
  const std::vector<Candidate> candidates = candidates_of(options, sights);
  if (candidates.empty()) {
    BARSWAP_LOG(info, "session", "dies.present = \"one\" has no choice: slices of dies, or no die");
    return;
  }
  const Candidate& chosen = choose(options, candidates);
  own.made = Choice::Made::one;
  own.name = chosen.name;
  own.number = chosen.number;
}

// False: there is nothing to show.
bool enter() BARSWAP_REQUIRES(mutex) {
  Choice& own = own_choice();
  if (own.made != Choice::Made::one) return false;
  if (own.inside == 0 && !own.substitute.show(kVisibleDies, own.name.c_str())) return false;
  ++own.inside;
  return true;
}

bool undecided() {
  Lock lock(mutex);
  return own_choice().made == Choice::Made::not_yet;
}

}  // namespace

OneDie::OneDie(Look look) noexcept {
  // What the driver calls while it starts was shown a die by the call around it.
  if (settled.load(std::memory_order_acquire) || door_depth != 1 || environment().disable) return;
  const policy::Loaded& loaded = own_policy().loaded;
  if (!loaded.ok() || loaded.options.dies_present != policy::Present::one) return;
  const std::vector<Sight> sights = undecided() ? look() : std::vector<Sight>();
  Lock lock(mutex);
  if (own_choice().made == Choice::Made::not_yet) decide(loaded.options, sights);
  inside_ = enter();
}

void OneDie::leave() noexcept {
  if (!inside_) return;
  Lock lock(mutex);
  Choice& own = own_choice();
  if (--own.inside == 0) own.substitute.withdraw();
  inside_ = false;
}

void OneDie::started() noexcept {
  settled.store(true, std::memory_order_release);
  leave();
}

bool OneDie::give_up() noexcept {
  if (!inside_) return false;
  leave();
  Lock lock(mutex);
  Choice& own = own_choice();
  own.made = Choice::Made::none;
  BARSWAP_LOG_ONCE(warn, "session",
                   "the driver has no die %s, which NVML knows: the program sees all dies. Cure: "
                   "name those that it may use in CUDA_VISIBLE_DEVICES",
                   own.name.c_str());
  return true;
}

std::optional<int> OneDie::number() noexcept {
  Lock lock(mutex);
  if (!choice || choice->made != Choice::Made::one) return std::nullopt;
  return choice->number;
}

}  // namespace barswap::session

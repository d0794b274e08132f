#include "session/one_die.hpp"

#include <atomic>

#include "barswap/log.hpp"
#include "barswap/mutex.hpp"
#include "base/environment.hpp"
#include "base/substitute.hpp"
#include "dies/choice.hpp"
#include "session/door.hpp"
#include "session/own_policy.hpp"

namespace barswap::session {
namespace {

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

void decide(const policy::Options& options, const std::vector<dies::Sight>& sights)
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
  const auto chosen = dies::choose(options, sights, visible_dies());
  if (!chosen) {
    BARSWAP_LOG(info, "session", "dies.present = \"one\" has no choice: slices of dies, or no die");
    return;
  }
  own.made = Choice::Made::one;
  own.name = chosen->name;
  own.number = chosen->number;
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
  const std::vector<dies::Sight> sights = undecided() ? look() : std::vector<dies::Sight>();
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

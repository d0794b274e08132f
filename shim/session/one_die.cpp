#include "session/one_die.hpp"

#include <atomic>
#include <utility>

#include "barswap/log.hpp"
#include "barswap/mutex.hpp"
#include "base/environment.hpp"
#include "base/substitute.hpp"
#include "dies/choice.hpp"
#include "dies/launched.hpp"
#include "session/door.hpp"
#include "session/own_policy.hpp"

namespace barswap::session {
namespace {

struct Choice {
  enum class Made : std::uint8_t { not_yet, none, one, by_launcher };
  Made made = Made::not_yet;
  std::string name;  // as CUDA_VISIBLE_DEVICES has it
  int number = 0;
  std::optional<std::string> given;  // what stood there before the launcher's choice
  int inside = 0;                    // calls of cuInit under way
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

// Whatever the policy of this process says: it may be a child's, which has inherited the die.
bool launched() {
  if (!*environment().one_die) return false;
  Lock lock(mutex);
  Choice& own = own_choice();
  if (own.made == Choice::Made::not_yet) {
    if (auto note = dies::read_launched(environment().one_die, visible_dies())) {
      own.made = Choice::Made::by_launcher;
      own.name = std::move(note->choice.name);
      own.number = note->choice.number;
      own.given = std::move(note->given);
    }
  }
  return own.made == Choice::Made::by_launcher;
}

}  // namespace

OneDie::OneDie(Look look) noexcept {
  // What the driver calls while it starts was shown a die by the call around it.
  if (settled.load(std::memory_order_acquire) || door_depth != 1 || environment().disable) return;
  launched_ = launched();
  if (launched_) return;
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
  if (!inside_ && !launched_) return false;
  leave();
  Lock lock(mutex);
  Choice& own = own_choice();
  // The first of several threads; libraries that read the variable later go by what the driver has.
  if (own.made == Choice::Made::by_launcher)
    (void)replace_variable(kVisibleDies, own.given ? own.given->c_str() : nullptr);
  own.made = Choice::Made::none;
  BARSWAP_LOG_ONCE(warn, "session",
                   "the driver has no die %s, which NVML knows: the program sees all dies. Cure: "
                   "name those that it may use in CUDA_VISIBLE_DEVICES",
                   own.name.c_str());
  return true;
}

std::optional<int> OneDie::number() noexcept {
  Lock lock(mutex);
  const bool made =
      choice && (choice->made == Choice::Made::one || choice->made == Choice::Made::by_launcher);
  return made ? std::optional(choice->number) : std::nullopt;
}

}  // namespace barswap::session

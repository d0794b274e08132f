// Foresight: hands what each launch names to the learnt cycle, and has the pager exchange ranges
// before a launch whose ranges are not all in HBM. It is asked only while something has spilled.
//
// It serves the first die whose ranges are named: where several dies work, pages move only at an
// instant at which all are idle, and a cycle of one die says little.
//
// The exchange is made on the thread that launches, which is thereby held at the planned point:
// what it submitted before must end, and nothing piles up behind. It owns the learnt cycle, guarded
// by Rank::foresight; no driver call is made under that lock.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "barswap/mutex.hpp"
#include "barswap/units.hpp"
#include "pager/pager.hpp"
#include "policy/turns.hpp"

namespace barswap::session {

class Foresight {
 public:
  Foresight(pager::Pager& pager, policy::Plan plan)
      : pager_(pager), plan_(plan), random_(pager.settings().chaos_seed) {}
  Foresight(const Foresight&) = delete;
  Foresight& operator=(const Foresight&) = delete;

  bool wanted() const { return pager_.may_move(); }
  struct Launch {
    std::uint64_t site = 0;     // the same for the same function and block
    std::uint64_t variant = 0;  // and for the same grid as well
    Die die{0};
    std::span<const policy::RangeId> ranges;  // large ones that it names, all of this die
  };
  // It is about to be submitted.
  void launch(const Launch& launch);

 private:
  std::uint64_t host_bytes(std::span<const policy::RangeId> ranges) const
      BARSWAP_REQUIRES(mutex_);
  policy::Exchange at_random(Die die) BARSWAP_REQUIRES(mutex_);
  policy::Exchange due(const Launch& launch, bool& turns_over);

  pager::Pager& pager_;
  const policy::Plan plan_;
  Mutex<Rank::foresight> mutex_;
  std::optional<Die> die_ BARSWAP_GUARDED_BY(mutex_);
  std::unique_ptr<policy::Turns> turns_ BARSWAP_GUARDED_BY(mutex_);  // from the first launch on
  policy::Trial::Mode mode_ BARSWAP_GUARDED_BY(mutex_) = policy::Trial::Mode::streaming;
  // What lies where, as it was when last looked at. Stale figures cost time only.
  std::vector<policy::RangeFacts> held_ BARSWAP_GUARDED_BY(mutex_);
  std::uint32_t until_survey_ BARSWAP_GUARDED_BY(mutex_) = 0;
  std::mt19937_64 random_ BARSWAP_GUARDED_BY(mutex_);
  bool exchanging_ BARSWAP_GUARDED_BY(mutex_) = false;     // a thread is about it
  bool spare_ BARSWAP_GUARDED_BY(mutex_) = false;          // HBM is left free for turns
  std::uint32_t refusals_ BARSWAP_GUARDED_BY(mutex_) = 0;  // in a row
  // Launches, after an exchange that brought nothing.
  std::uint32_t resting_ BARSWAP_GUARDED_BY(mutex_) = 0;
};

}  // namespace barswap::session

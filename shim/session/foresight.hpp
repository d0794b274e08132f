// Foresight: hands what each launch names to the learnt cycle, and has the pager exchange ranges
// before a launch whose ranges are not all in HBM. It is asked only while something has spilled.
//
// It serves the first die whose ranges are named: where several dies work, pages move only at an
// instant at which all are idle, and a cycle of one die says little.
//
// A turn that drains the device is made on the thread that launches, which is thereby held at the
// planned point: what it submitted before must end, and nothing piles up behind. Where work goes on
// beside turns (paging.overlap = "reach"), a thread of ours makes them: whoever names what is still
// on its way waits for the turn in hand, and the next one begins meanwhile, so that the link rests
// neither while the program launches nor while its kernels run. It looks one turn ahead, no
// further: what comes in early takes the place of what is needed sooner.
//
// A few launches of each kernel are timed, to learn which of them read often what lies on the host
// (policy::Reuse). Before that is known, and behind one that is looked at again, a launch of the
// same kernel is held until the time comes, within bounds: what a program submits ahead could not
// be brought in any more.
//
// It owns the learnt cycle, guarded by Rank::foresight; no driver call is made under that lock.
#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <vector>

#include "barswap/mutex.hpp"
#include "barswap/units.hpp"
#include "base/clock.hpp"
#include "base/own_thread.hpp"
#include "pager/pager.hpp"
#include "policy/turns.hpp"
#include "session/stopwatch.hpp"

namespace barswap::session {

enum class Samples : bool { none, wanted };

class Foresight {
 public:
  Foresight(pager::Pager& pager, Stopwatch& stopwatch, policy::Plan plan)
      : pager_(pager), stopwatch_(stopwatch), plan_(plan), start_ns_(now_ns()),
        random_(pager.settings().chaos_seed) {}
  ~Foresight() { close(); }
  Foresight(const Foresight&) = delete;
  Foresight& operator=(const Foresight&) = delete;

  bool wanted() const { return pager_.may_move(); }
  struct Launch {
    std::uint64_t site = 0;     // the same for the same function and block
    std::uint64_t variant = 0;  // and for the same grid as well
    Die die{0};
    std::span<const policy::RangeId> ranges;  // large ones that it names, all of this die
    Samples samples = Samples::none;          // its variant is a kernel, which may be timed
  };
  // It is about to be submitted. Something: it should be timed.
  std::optional<Sample> launch(const Launch& launch);
  // The process ends: waits for the turn in hand.
  void close();

 private:
  // What the launching thread does before it submits.
  enum class Step : std::uint8_t { go_on, wait, exchange };

  policy::OnHost on_host(std::span<const policy::RangeId> ranges) const BARSWAP_REQUIRES(mutex_);
  const policy::RangeFacts* find(policy::RangeId id) const BARSWAP_REQUIRES(mutex_);
  bool finds_all(std::span<const policy::RangeId> ranges) const BARSWAP_REQUIRES(mutex_);
  void survey(pager::Pager::With with = pager::Pager::With::places) BARSWAP_REQUIRES(mutex_);
  void look(const Launch& launch) BARSWAP_REQUIRES(mutex_);
  policy::Exchange at_random() BARSWAP_REQUIRES(mutex_);
  Step record(const Launch& launch, policy::Exchange& exchange, bool& turns_over);
  Step plan(const Launch& launch, policy::Exchange& exchange) BARSWAP_REQUIRES(mutex_);
  bool choose(bool stripe, policy::Turns::When when, policy::Exchange& exchange)
      BARSWAP_REQUIRES(mutex_);
  void end_exchange(const policy::Exchange& exchange, bool made) BARSWAP_REQUIRES(mutex_);
  Step wait(const Launch& launch, policy::Exchange& exchange);
  bool may_turn_aside() const BARSWAP_REQUIRES(mutex_);
  void take_times();
  void await_time(const Launch& launch);
  std::optional<Sample> sample(const Launch& launch) BARSWAP_REQUIRES(mutex_);
  void start_turner();
  void turn_aside();

  pager::Pager& pager_;
  Stopwatch& stopwatch_;
  const policy::Plan plan_;
  const std::uint64_t start_ns_;
  Mutex<Rank::foresight> mutex_;
  std::optional<Die> die_ BARSWAP_GUARDED_BY(mutex_);
  std::unique_ptr<policy::Turns> turns_ BARSWAP_GUARDED_BY(mutex_);  // from the first launch on
  policy::Trial::Mode mode_ BARSWAP_GUARDED_BY(mutex_) = policy::Trial::Mode::streaming;
  // What lies where, as it was when last looked at. Stale figures cost time only.
  std::vector<policy::RangeFacts> held_ BARSWAP_GUARDED_BY(mutex_);
  std::uint64_t surveyed_at_ BARSWAP_GUARDED_BY(mutex_) = 0;  // batches of the pager
  std::uint32_t until_survey_ BARSWAP_GUARDED_BY(mutex_) = 0;
  // Launches between looks for a range that is new.
  static constexpr std::uint32_t kUnknownEvery = 8;
  std::uint32_t unknown_every_ BARSWAP_GUARDED_BY(mutex_) = kUnknownEvery;
  std::mt19937_64 random_ BARSWAP_GUARDED_BY(mutex_);
  bool exchanging_ BARSWAP_GUARDED_BY(mutex_) = false;     // a thread is about it
  bool spare_ BARSWAP_GUARDED_BY(mutex_) = false;          // HBM is left free for turns
  bool spread_ BARSWAP_GUARDED_BY(mutex_) = false;         // as was told to the pager
  std::uint32_t refusals_ BARSWAP_GUARDED_BY(mutex_) = 0;  // in a row
  // Launches, after an exchange that brought nothing.
  std::uint32_t resting_ BARSWAP_GUARDED_BY(mutex_) = 0;

  std::atomic<std::uint64_t> awaited_ns_{0};  // for times of kernels, by all launches

  // Turns that a thread of ours makes.
  OwnThread turner_;
  std::optional<policy::Exchange> aside_ BARSWAP_GUARDED_BY(mutex_);  // that it has to make
  // What came in last, until a launch names some of it.
  std::vector<policy::RangeId> brought_ BARSWAP_GUARDED_BY(mutex_);
  std::uint32_t waiting_ BARSWAP_GUARDED_BY(mutex_) = 0;  // threads, for the turn in hand
  // Turns that the launching thread makes next, since the last one aside left something that only a
  // drain may move; and how many in a row moved nothing.
  std::uint32_t by_hand_ BARSWAP_GUARDED_BY(mutex_) = 0;
  std::uint32_t failures_ BARSWAP_GUARDED_BY(mutex_) = 0;
  std::atomic<std::uint32_t> turned_{0};  // exchanges that have ended; waited for
  std::atomic<bool> closing_{false};
};

}  // namespace barswap::session

// The pager: the only room that knows where a page is. It owns runs (the pages of one range), their
// frames, the contexts whose work may touch them, and the mover. Its lock is Rank::pages for
// residency; Rank::mover for one drain at a time. No driver call is made under Rank::pages.
//
// It promises: every page of a run is mapped to exactly one frame from birth() to bury(), except
// inside a drain, while the gate is closed and every context idle, and while it takes a turn beside
// work that does not name its range (beside.cpp); what left in such a turn is mapped again before
// work that may touch it is submitted (absent.cpp). It never decides who leaves or comes: policy
// does. It never knows what the program asked for: memory does.
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
#include "base/own_thread.hpp"
#include "driver/verbs.hpp"
#include "pager/contexts.hpp"
#include "pager/detours.hpp"
#include "pager/fingerprint.hpp"
#include "pager/flights.hpp"
#include "pager/frames.hpp"
#include "pager/heat.hpp"
#include "pager/places.hpp"
#include "pager/veil.hpp"
#include "policy/options.hpp"
#include "policy/place.hpp"
#include "policy/route.hpp"
#include "policy/turns.hpp"

namespace barswap::pager {

// What the process's policy says to this room, fixed at start.
struct Settings {
  std::uint64_t page_bytes = 16_MiB;
  policy::Amount headroom;
  double forced_share = 0.02;
  std::uint64_t deadline_ns = 50'000'000;
  std::uint64_t prepare_bytes = 1_GiB;
  bool may_move = true;   // paging.plan, and what this driver and process allow
  bool chaos = false;     // random moves at every drain
  std::uint64_t chaos_seed = 0;
  bool keep_copies = true;  // of pages that came in, on the host
  bool beside = false;      // paging.overlap: turns are taken beside work that does not name them
  bool worker = true;     // a thread of our own once use nears the budget
  bool whole = false;     // launches go to their bytes: a large range lies on one die, if it can
  bool verify = false;    // ranges are hidden from work that does not name them; nothing moves
};

struct DieSetup {
  Die die{0};
  std::uint64_t budget_bytes = 0;
};

// A die whose HBM may hold pages of another one, and how much of it at most.
struct Lender {
  Die die{0};
  std::uint64_t most_bytes = 0;
};

enum class RunKind : std::uint8_t { packed, small, large };

struct Birth {
  Address base{};
  std::uint64_t bytes = 0;  // a multiple of the driver's granule
  Die home{0};
  RunKind kind = RunKind::small;
  policy::Place place = policy::Place::automatic;
  std::uint64_t order = 0;
  bool never_host = false;  // several dies may use atomics on it, which PCIe does not keep
};

struct Run;

struct Residency {
  std::uint64_t hbm_bytes = 0, peer_bytes = 0, host_bytes = 0;
};

class Pager {
 public:
  Pager(const driver::Verbs& verbs, const Settings& settings, std::span<const DieSetup> dies,
        bool host_enabled, const policy::Amount& host_limit);
  ~Pager();
  Pager(const Pager&) = delete;
  Pager& operator=(const Pager&) = delete;

  // Runs. birth maps every page and grants its home and those who reach it; all or nothing.
  Result<Run*> birth(const Birth& request);
  // The program freed it: its pages stay mapped, and are no longer worth moving.
  void retire(Run* run);
  // A retired run serves a new range; false if it is being moved at this moment.
  void revive(Run* run, policy::Place place, std::uint64_t order);
  // Unmaps and takes the frames back. Only after the idle proof. False: being moved; ask again.
  bool try_bury(Run* run);
  // Parking: a run gives up its addresses and keeps its frames and their bytes, out of everybody's
  // sight, until it is laid at other addresses or dropped. False: being moved; ask again.
  Result<bool> try_park(Run* run);
  // An error: it stays parked. False: the driver mapped it and then refused; the run is gone.
  Result<bool> unpark(Run* run, Address base);
  void drop_parked(Run* run);
  // Into fresh HBM frames that may be exported, for good.
  Result<void> pin(Run* run);
  Residency residency(const Run* run) const;
  // How the trace names a run. The number of a revived run is a new one.
  struct RunName {
    std::uint64_t number = 0;
    Address base{};
  };
  RunName name_of(const Run* run) const;
  bool pinned(const Run* run) const;

  // Every page of `owner`'s ranges, now and later, becomes reachable from `accessor`, or no longer.
  Result<void> grant(Die owner, Die accessor);
  Result<void> revoke(Die owner, Die accessor);
  bool granted(Die owner, Die accessor) const;
  bool shared(Die owner) const;  // with any other die

  // From now on pages of `home` may lie in the HBM of these dies. All that can reach `home`, now or
  // later, can reach them.
  void lend(Die home, std::span<const Lender> lenders);
  // For routing, from any thread, without a lock: what an address stands for, up to the next one
  // that was ever named or to `end`, and where that lies. Advice: pages move meanwhile.
  policy::Stretch stretch(Address named, Address end) const;
  // Moves pages of `home` that hold these to the HBM of a die that it may borrow from, or back, in
  // one drain.
  enum class Carried : std::uint8_t { all, no_room, not_now };
  Carried carry(Die home, Die to, std::span<const policy::Stretch> stretches);

  // What they would still hold; what they hold.
  std::uint64_t borrowable(Die home) const;
  std::uint64_t borrowed(Die home) const;

  // Moments. free_moment() is called after the program's own synchronise, work() by our own thread.
  bool wants_move() const { return wanted_.load(std::memory_order_relaxed) || heat_.due(); }
  void free_moment();
  // Every page of what is named is mapped from now until a turn that begins later.
  void present(const Names& names);
  // For whoever holds mover_mutex() while the driver may wait for what others submit.
  void present_all() BARSWAP_REQUIRES(mover_) { lay_absent(Names()); }
  // Carries the proofs for freed memory forward.
  void poll_quiet();
  // Room for the driver itself, outside the gate; true if anything was released.
  bool make_room(Die die, bool may_wait);
  // Room in HBM for pages that must not spill; moves large pages out if all is idle at this
  // instant.
  void room_for_small(Die die, std::uint64_t bytes);
  // Something large is there that could leave, and pages may move.
  bool can_make_room(Die die) const;

  // Something of this die has spilled, so HBM is worth having: until nothing has, and the budget
  // has room to spare.
  bool pressed(Die die) const {
    return pressed_[static_cast<std::size_t>(index_of(die))].load(std::memory_order_relaxed);
  }
  // The large runs of a die whose place is nobody's wish, by rising address. An id is the address
  // at which a run begins.
  enum class With { places, heat };
  std::vector<policy::RangeFacts> survey(Die die, With with) const;
  // Batches so far that changed where pages lie.
  std::uint64_t changes() const { return changes_.load(std::memory_order_relaxed); }
  // Brings pages of the first runs in and moves those of the second out, as many as needed, in a
  // number of batches beside running work, or of drains; waits for the device as long as the
  // policy's deadline allows. The shares are left with what was not moved. False: nothing moved.
  enum class Drains { none, allowed };
  bool exchange(Die die, policy::Exchange& exchange, Drains drains = Drains::allowed);
  // For a thread of the program that is about to wait for Rank::mover: while one lives, nobody who
  // holds it waits with an open gate for the device, which may itself wait for that thread. (A
  // drain has its deadline.)
  class Hurry {
   public:
    explicit Hurry(Pager& pager) : pager_(pager) { ++pager_.hurried_; }
    ~Hurry() { --pager_.hurried_; }
    Hurry(const Hurry&) = delete;
    Hurry& operator=(const Hurry&) = delete;

   private:
    Pager& pager_;
  };
  bool hurried() const { return hurried_.load(std::memory_order_relaxed) != 0; }
  // Asks for as many host frames as the copies of all that may take turns will need, and says
  // whether they are there, or will not come.
  bool ready_for_copies();
  // The best rate at which the link of any die brought pages in, in bytes a nanosecond; 0: none did
  // yet.
  double link_bytes_per_ns() const { return link_rate_.load(std::memory_order_relaxed); }
  // Ranges take turns no more: HBM that was left free for that is anybody's.
  void no_more_turns(Die die);
  // What the learnt cycle names is spread over the tiers as it should be, or is so no more. As long
  // as it is, heat changes no places.
  void spread_stands(Die die, bool stands);
  bool may_move() const { return may_move_.load(std::memory_order_relaxed); }
  // From now on pages stay where they are; `why` is for the user.
  void stop_moving(const char* why);
  void expect_callbacks() { callbacks_.store(true, std::memory_order_relaxed); }
  // The process ends: waits for the batch in hand, stops the worker.
  void close();

  // `barswap verify`. The calling thread was admitted: only what is named is mapped, once all that
  // was submitted before has ended; everything, if that cannot be.
  void show_only(Veil& veil, const Names& names, const Work& work);
  void start_flights() { flights_.start(); }
  // Everything is mapped, and stays so.
  void lift_veil(const char* why);
  // The process ends in order: whether the work that was described last did.
  void last_look(Veil& veil);

  // Device memory that the driver keeps for the program counts against the budget.
  void outside_changed(Die die, std::int64_t bytes);
  void set_budget(Die die, std::uint64_t budget_bytes) { frames_.set_budget(die, budget_bytes); }

  // Addresses of ours, before the first page is born there.
  void cover(Address base, std::uint64_t bytes);
  // What submitted work names; counted while something has spilled.
  Heat& heat() { return heat_; }
  Contexts& contexts() { return contexts_; }
  Frames& frames() { return frames_; }
  // A context has ended; the caller holds mover_mutex().
  void context_gone(driver::Context context) BARSWAP_REQUIRES(mover_);
  // A context's birth or death excludes the mover.
  Mutex<Rank::mover>& mover_mutex() BARSWAP_RETURNS(mover_) { return mover_; }
  const Settings& settings() const { return settings_; }
  void publish() const;  // the gauges of the statistics

 private:
  struct Job;
  class Steps;
  // none: only if all is idle at this instant. queue: what was submitted so far is waited for with
  // an open gate, then as deadline.
  enum class Patience { none, deadline, queue };

  // residency.cpp
  struct Shares {
    std::uint64_t away = 0, peer = 0;  // in pages; peers' are among those away
    std::optional<Die> on;             // all of those on a peer lie there
  };
  Shares shares_of(const Birth& request, std::uint64_t page_bytes) const;
  std::uint64_t page_bytes_of(const Birth& request) const;
  Result<void> fill(Run& run, const Birth& request, std::uint64_t page_bytes);
  Result<Run*> admit(std::unique_ptr<Run> run);
  std::unique_ptr<Run> take_out(Run* run) BARSWAP_REQUIRES(pages_);
  std::unique_ptr<Run> take_parked(Run* run) BARSWAP_REQUIRES(pages_);
  void count_tables(const Run& run, bool add);
  Result<void> grant_late(Run* run, const std::vector<Die>& dies);
  void unmap_all(Run& run);
  std::uint64_t headroom(Die die) const BARSWAP_REQUIRES(pages_);
  std::uint64_t policy_headroom(Die die) const BARSWAP_REQUIRES(pages_);  // without room for turns
  std::vector<Die> reach(Die home) const;
  void count(const Run& run, bool add) BARSWAP_REQUIRES(pages_);
  void count_page(const Run& run, const Frame& frame, bool add) BARSWAP_REQUIRES(pages_);
  void trace_run(const Run& run) const BARSWAP_REQUIRES(pages_);
  bool wishes(Die die) const BARSWAP_REQUIRES(pages_);
  bool roomy(Die die) const BARSWAP_REQUIRES(pages_);
  void update_wish();
  void weigh_heat();
  bool turns_taken(Die die) const BARSWAP_REQUIRES(pages_);
  bool heat_decides(Die die) const BARSWAP_REQUIRES(pages_);

  // lending.cpp: HBM of other dies.
  struct Room {
    Die die{0};
    std::uint64_t bytes = 0, keep_bytes = 0;
  };
  std::vector<Room> rooms_of(Die home) const BARSWAP_REQUIRES(pages_);
  std::uint64_t room_of_lenders(Die home, std::uint64_t page_bytes) const
      BARSWAP_REQUIRES(pages_);
  bool has_lenders(Die home) const BARSWAP_REQUIRES(pages_);
  bool may_leave(Die home) const BARSWAP_REQUIRES(pages_);
  bool comes_nearer(Die home) const BARSWAP_REQUIRES(pages_);
  std::uint64_t lacking(Die lender) const BARSWAP_REQUIRES(pages_);
  bool wants_back(Die lender) const BARSWAP_REQUIRES(pages_);
  void lends_no_more(Die home, Die lender);
  void forget_stuck();
  Result<Frame> take_peer(Die home, std::uint64_t bytes);
  Result<Frame> take_on(Die home, Die lender, std::uint64_t bytes);
  std::optional<Die> room_for_all(Die home, std::uint64_t bytes) const BARSWAP_REQUIRES(pages_);
  std::vector<Job> choose_lent(Die lender, std::uint64_t bytes) BARSWAP_REQUIRES(pages_);

  // planning.cpp
  enum class Lent { comes_back, stays };
  std::vector<Job> choose(Die die, std::uint64_t batch_bytes, std::uint64_t evict_bytes,
                          Lent lent);
  std::vector<Job> choose_chaos(Die die) BARSWAP_REQUIRES(mover_);
  std::vector<Job> choose_turn(Die die, const policy::Exchange& exchange);
  std::vector<Job> choose_pin(Run* run, std::uint64_t batch_bytes);
  std::vector<Job> choose_carry(Die home, Die to, std::span<const policy::Stretch> stretches);
  void make_place(Die die, std::uint64_t bytes) BARSWAP_REQUIRES(mover_);
  bool take_mover() BARSWAP_TRY_ACQUIRE(true, mover_);
  void set_pinning(Run& run, bool pinning);
  Result<void> bring_in(Run* run) BARSWAP_REQUIRES(mover_);
  void reserve(std::vector<Job>& jobs);

  // mover.cpp; what is public above and calls for batches is in occasions.cpp
  bool move_once(Die die, std::uint64_t evict_bytes, Patience patience) BARSWAP_REQUIRES(mover_);
  bool move_batch(std::vector<Job>& jobs, Patience patience, Steps& steps)
      BARSWAP_REQUIRES(mover_);
  bool idle_now() BARSWAP_REQUIRES(mover_);
  bool record_alone() BARSWAP_REQUIRES(mover_);
  bool must_not_wait(std::span<const ContextEntry> all) const;
  bool drain(Patience patience) BARSWAP_REQUIRES(mover_);
  bool drain_failed(bool timed_out) BARSWAP_REQUIRES(mover_);
  bool stage(std::vector<Job>& jobs, bool beside) BARSWAP_REQUIRES(mover_);
  bool strangers() const;
  struct Group {
    std::span<Job*> jobs;
    driver::Event copied;
    // Of what went over other dies' links; `first` tells whether the other die failed.
    struct Far {
      driver::Event last, first;
    };
    std::vector<Far> far{};
  };
  bool map_alias(Job& job, const Frame& frame) BARSWAP_REQUIRES(mover_);
  bool mark_end(driver::Event event, driver::Stream stream) BARSWAP_REQUIRES(mover_);
  void note_rate(std::span<const Group> in) BARSWAP_REQUIRES(mover_);
  bool queue_copies(std::vector<Job*>& jobs, std::size_t lane, const ContextEntry& entry,
                    std::vector<Group>& groups, bool& marked) BARSWAP_REQUIRES(mover_);
  void copy_and_remap(std::vector<Job>& jobs, const ContextEntry& entry)
      BARSWAP_REQUIRES(mover_);
  bool wait_for(driver::Event copied, std::uint64_t limit_ns,
                driver::Event watched = driver::Event::none) BARSWAP_REQUIRES(mover_);
  bool has_landed(const Group& group, std::uint64_t limit_ns) BARSWAP_REQUIRES(mover_);
  void prepare_detours(const std::vector<Job>& jobs, const ContextEntry& entry)
      BARSWAP_REQUIRES(mover_);
  bool send_over(Job& job, driver::Stream stream, std::span<Detour* const> ways)
      BARSWAP_REQUIRES(mover_);
  bool queue_ends() BARSWAP_REQUIRES(mover_);
  void remap(Job& job) BARSWAP_REQUIRES(mover_);
  bool put(const Job& job, const Frame& frame) BARSWAP_REQUIRES(mover_);
  const Frame* put_one_of(const Job& job, const Frame& first, const Frame& second)
      BARSWAP_REQUIRES(mover_);
  void give_up_ballast(Die die) BARSWAP_REQUIRES(mover_);
  void finish(std::vector<Job>& jobs) BARSWAP_REQUIRES(mover_);
  void lose_context();
  std::uint64_t batch_bytes() const BARSWAP_REQUIRES(mover_);
  // Of any run so far.
  std::uint64_t page_most() const { return page_most_.load(std::memory_order_relaxed); }
  std::vector<Die> reachers(const Run& run) const;

  // beside.cpp
  bool may_move_beside(Die die) BARSWAP_REQUIRES(mover_);
  bool move_beside(std::vector<Job>& jobs, Steps& steps) BARSWAP_REQUIRES(mover_);
  bool takes_part(Job& job, std::size_t index) BARSWAP_REQUIRES(mover_);
  bool hold(std::span<Job> jobs) BARSWAP_REQUIRES(mover_);
  bool prove() BARSWAP_REQUIRES(mover_);
  bool all_at_rest(std::span<const Job> jobs, Tier target) BARSWAP_REQUIRES(mover_);
  bool open_page(Job& job) BARSWAP_REQUIRES(mover_);
  void close_page(Job& job, const Frame& first, const Frame& second) BARSWAP_REQUIRES(mover_);
  void drop_alias(Job& job) BARSWAP_REQUIRES(mover_);
  void send_in(std::vector<Job*>& coming, std::span<const Job> jobs, const ContextEntry& entry,
               std::vector<Group>& groups, Steps& steps) BARSWAP_REQUIRES(mover_);
  bool let_out(std::span<Job> jobs, const ContextEntry& entry, Steps& steps)
      BARSWAP_REQUIRES(mover_);
  void settle(Job& job) BARSWAP_REQUIRES(mover_);
  void leave(Job& job, bool whole) BARSWAP_REQUIRES(mover_);
  Address outlet_of(const Job& job) const BARSWAP_REQUIRES(mover_);
  bool send_out(Job& job, const ContextEntry& entry) BARSWAP_REQUIRES(mover_);
  void settle_out(std::span<Job> jobs, const ContextEntry& entry, bool marked, Steps& steps)
      BARSWAP_REQUIRES(mover_);
  static bool brings_absent(std::span<const Job> jobs);
  void land(std::span<Job> jobs, const ContextEntry& entry, std::span<const Group> groups,
            bool marked, Steps& steps) BARSWAP_REQUIRES(mover_);

  // absent.cpp
  bool leave_absent(Job& job) BARSWAP_REQUIRES(mover_);
  bool lay(Run& run, std::size_t page) BARSWAP_REQUIRES(mover_);
  void lay_absent(const Names& names) BARSWAP_REQUIRES(mover_);
  void note_presence(const Run& run) BARSWAP_REQUIRES(mover_);
  // Of late: what left beside work for its copy, and what was named before it came in.
  std::uint64_t left_bytes_ BARSWAP_GUARDED_BY(mover_) = 0;
  std::uint64_t missed_bytes_ BARSWAP_GUARDED_BY(mover_) = 0;

  // veiling.cpp
  enum class Ended : std::uint8_t { yes, no, fault };
  std::uint64_t veil_ns_ BARSWAP_GUARDED_BY(mover_) = 5'000'000'000;  // for work to end
  Ended all_ended(const Veil& veil) BARSWAP_REQUIRES(mover_);
  void end_veil(Veil& veil, barswap_verify_state state, const char* why) BARSWAP_REQUIRES(mover_);
  enum class Last : std::uint8_t { none, open, checked };
  Last last_ BARSWAP_GUARDED_BY(mover_) = Last::none;  // what the work submitted last found
  void count_last(barswap_verify& record, Ended ended) BARSWAP_REQUIRES(mover_);
  bool hide(Run& run) BARSWAP_REQUIRES(mover_);
  bool show(Run& run) BARSWAP_REQUIRES(mover_);
  bool show_all() BARSWAP_REQUIRES(mover_);
  std::vector<Run*> hold_large() BARSWAP_REQUIRES(mover_);
  void let_go(const std::vector<Run*>& runs);

  // copies.cpp
  static constexpr std::uint64_t kAllCopies = ~std::uint64_t{0};
  bool take_copy(Job& job);
  bool may_keep(const Job& job) const;
  bool keep_copy(const Job& job) BARSWAP_REQUIRES(pages_);
  void take_copies(Run& run, std::uint64_t& bytes, std::vector<Frame>& taken)
      BARSWAP_REQUIRES(pages_);
  bool drop_copies(std::uint64_t bytes);  // true: there were some
  void drop_copies(Run* run);
  void give_back_all(std::span<const Frame> frames);
  void drop_needless_copies();
  std::uint64_t copies_missing(std::uint64_t page_bytes) const;
  bool turning() const;
  bool paced() const;
  bool prepare_frames(Die die);
  // Of frames of a size, to be kept ready; 0: none are made ahead.
  std::uint64_t prepare_target(Die die, std::uint64_t frame_bytes) const;
  Result<Frame> take_host(Die near, std::uint64_t bytes);
  bool ask_copies(std::span<Job> jobs, const ContextEntry& entry) BARSWAP_REQUIRES(mover_);
  void hear_copies(std::span<Job> jobs, const ContextEntry& entry) BARSWAP_REQUIRES(mover_);
  void prepare_prints(std::span<const Job> jobs, const ContextEntry& entry)
      BARSWAP_REQUIRES(mover_);
  void print_arrival(Job& job, std::size_t index, const ContextEntry& entry)
      BARSWAP_REQUIRES(mover_);
  void hear_arrivals(std::span<Job> jobs, const ContextEntry& entry, std::uint64_t limit_ns)
      BARSWAP_REQUIRES(mover_);

  // worker.cpp
  void start_worker();
  std::uint64_t look();  // how long to rest, in ns
  bool work();

  const driver::Verbs& verbs_;
  const Settings settings_;
  std::vector<Die> dies_;
  Contexts contexts_;
  Frames frames_;
  Heat heat_;
  Places places_;
  Flights flights_;

  Mutex<Rank::mover> mover_;
  mutable Mutex<Rank::pages> pages_;
  std::vector<std::unique_ptr<Run>> runs_ BARSWAP_GUARDED_BY(pages_);
  std::vector<std::unique_ptr<Run>> parked_ BARSWAP_GUARDED_BY(pages_);
  bool granted_[kDiesMax][kDiesMax] BARSWAP_GUARDED_BY(pages_) = {};
  std::vector<Lender> lenders_[kDiesMax] BARSWAP_GUARDED_BY(pages_);
  std::uint64_t stuck_bytes_[kDiesMax] BARSWAP_GUARDED_BY(pages_) = {};  // lent, and cannot move
  policy::Recent recent_[kDiesMax] BARSWAP_GUARDED_BY(pages_);  // what small runs were born with
  struct Census {
    std::uint64_t bytes[3][kTiers] = {};  // by kind and tier, live runs only
    std::uint64_t pinned = 0;
    std::uint64_t spilled = 0;  // not in HBM of the die though the policy did not ask for that
    std::uint64_t spilled_host = 0;  // of these
    std::uint64_t of(RunKind kind, Tier tier) const {
      return bytes[static_cast<std::size_t>(kind)][static_cast<std::size_t>(tier)];
    }
    std::uint64_t small(Tier tier) const {
      return of(RunKind::packed, tier) + of(RunKind::small, tier);
    }
    std::uint64_t large(Tier tier) const { return of(RunKind::large, tier); }
  };
  Census census_[kDiesMax] BARSWAP_GUARDED_BY(pages_);
  bool swap_wanted_[kDiesMax] BARSWAP_GUARDED_BY(pages_) = {};
  std::uint64_t spare_bytes_[kDiesMax] BARSWAP_GUARDED_BY(pages_) = {};  // left free for turns
  bool spread_[kDiesMax] BARSWAP_GUARDED_BY(pages_) = {};

  std::atomic<double> link_rate_{0};
  std::atomic<bool> no_prints_{false};       // the driver gives no fingerprints
  std::atomic<std::uint64_t> turned_ns_{0};  // when ranges took turns last, or were about to
  // Host frames for copies: nobody needs them, they are being made, all are there.
  enum class Stock : std::uint8_t { none, wanted, full };
  std::atomic<Stock> stock_{Stock::none};
  std::atomic<std::uint64_t> page_most_{0};
  std::atomic<std::uint64_t> changes_{0};
  std::atomic<bool> wanted_{false};
  std::atomic<std::uint64_t> weigh_after_ns_{0};  // heat is not weighed again before
  std::atomic<bool> may_move_{true};
  std::atomic<bool> callbacks_{false};
  std::atomic<bool> context_lost_{false};  // a sticky error: the driver answers nothing any more
  std::atomic<bool> closing_{false};
  std::atomic<std::uint32_t> hurried_{0};
  std::atomic<bool> pressed_[kDiesMax] = {};

  // The mover's own state.
  Fingerprints fingerprints_ BARSWAP_GUARDED_BY(mover_);
  Detours detours_;  // all but what it lacks of a die is asked under mover_
  Address staging_ BARSWAP_GUARDED_BY(mover_){};
  std::uint64_t staging_bytes_ BARSWAP_GUARDED_BY(mover_) = 0;
  Frame ballast_[kDiesMax] BARSWAP_GUARDED_BY(mover_);
  std::uint64_t last_failure_ns_ BARSWAP_GUARDED_BY(mover_) = 0;
  std::uint64_t moment_ns_ BARSWAP_GUARDED_BY(mover_) = 0;  // the end of the last free one
  std::uint64_t backoff_ns_ BARSWAP_GUARDED_BY(mover_) = 0;
  std::uint64_t patience_ns_ BARSWAP_GUARDED_BY(mover_) = 0;
  bool timed_out_ BARSWAP_GUARDED_BY(mover_) = false;  // the last proof was given up, not refused
  std::uint64_t forced_ns_ BARSWAP_GUARDED_BY(mover_) = 0;  // forced drains, for their share
  const std::uint64_t start_ns_;
  std::uint64_t cost_ns_per_mib_ BARSWAP_GUARDED_BY(mover_) = 60'000;
  std::mt19937_64 random_ BARSWAP_GUARDED_BY(mover_);

  OwnThread worker_;
};

}  // namespace barswap::pager

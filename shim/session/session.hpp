// Session: the process as we know it. It owns the start, the policy that was read, the dies, the
// pager and the memory, and knows which context and die a caller means. One lives in a process from
// the first successful cuInit to its end and is never destroyed; without one (bypass) every call
// goes straight to the driver. Rank::start guards the start alone.
//
// It contains no ABI types: handlers translate. It never decides who is resident and never touches
// a frame.
#pragma once
#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "memory/maps.hpp"
#include "memory/memory.hpp"
#include "memory/outside.hpp"
#include "pager/pager.hpp"
#include "policy/limits.hpp"
#include "policy/load.hpp"
#include "session/crossing.hpp"
#include "session/door.hpp"
#include "session/foresight.hpp"
#include "session/one_die.hpp"
#include "session/parted_graphs.hpp"
#include "session/reach.hpp"
#include "session/router.hpp"
#include "session/slicer.hpp"
#include "session/stopwatch.hpp"
#include "session/turnstile.hpp"

namespace barswap::session {

struct DieState {
  Die die{0};
  int number = 0;  // in the policy: after the CUDA_VISIBLE_DEVICES that the program was given
  driver::Uuid uuid{};
  std::string uuid_text;
  std::uint64_t total_bytes = 0;
  enum class Known : std::uint8_t { nothing, guessed, measured };
  std::atomic<Known> known{Known::nothing};  // of what is free on it
  std::atomic<bool> borrows{false};        // others were asked to lend it HBM
  std::atomic<std::uint64_t> budget_bytes{0};
  bool managed = false;                    // its memory is virtual: VMM and the policy allow it

  policy::DieFacts facts(std::uint64_t free_bytes) const {
    return {number, uuid_text, total_bytes, free_bytes};
  }
};

struct MemoryInfo {
  std::uint64_t free_bytes = 0, total_bytes = 0;
};

using FreeOf = std::optional<std::uint64_t> (*)(const std::string& uuid);

// What a test or the start gives: everything that comes from outside the process.
struct Setup {
  policy::Options options;
  bool chaos = false;
  std::uint64_t chaos_seed = 0;
  bool trace_times = false;  // a trace has the time of each launch
  bool worker = true;
  bool verify = false;  // see pager/veil.hpp
  // What is free on a die, without a context there. Null, or no answer: nobody can say.
  FreeOf free_of = nullptr;
  std::optional<int> number_of_one;  // of the die that was chosen, where the program sees one alone
};

class Session {
 public:
  // After each successful cuInit; the first one starts us, or decides to step aside.
  static void start(const driver::Api& api, FreeOf free_of) noexcept;
  static Session* current() { return current_.load(std::memory_order_acquire); }

  Session(const driver::Api& api, const Setup& setup);
  ~Session();
  // Asks the dies. False, with the reason said: this machine or driver is beyond us.
  bool prepare(const char** why);
  // Tests run many lives in one process.
  static void adopt_for_test(Session* session);

  const driver::Verbs& verbs() const { return verbs_; }
  pager::Pager& pager() { return *pager_; }
  memory::Memory& memory() { return *memory_; }
  memory::Outside& outside() { return *outside_; }
  memory::Maps& maps() { return *maps_; }
  bool capturing() const { return pager_->contexts().capturing(); }

  // Allocation for the current context. `managed` false: leave the call to the driver.
  struct Caller {
    driver::Context context = driver::Context::none;
    Die die{0};
    bool managed = false;
  };
  Caller caller();
  // `return_address` is the program's, for rules on call sites where nothing better is known.
  Result<Address> allocate(const Caller& caller, std::uint64_t bytes, const void* return_address);
  // A handle for memory that the program will map itself.
  Result<std::uint64_t> create(Die home, std::uint64_t bytes,
                               const memory::Properties& properties, const void* return_address);
  // Ends a range as cuMemFree does, with its synchronisation. False: not one of ours.
  Result<bool> free(Address base);

  MemoryInfo info(Die die) const;
  std::optional<std::uint64_t> advertised_total(Die die) const;
  DieState* die_state(Die die) const;
  // Memory that the program maps itself is virtual as well.
  bool virtual_maps() const { return setup_.options.vram_virtual_maps; }
  const std::vector<std::unique_ptr<DieState>>& dies() const { return dies_; }

  // Contexts, as their calls come by.
  void context_made(driver::Context context, Die die);
  // A view of a green context: known, so that it is never taken for a primary one.
  void context_seen(driver::Context context, Die die);
  void primary_retained(driver::Context context, Die die);
  // Before and after the program ends a context. `context_ends` excludes the mover until the
  // matching context_ended, which says whether the context is really gone.
  void context_ends(driver::Context context) BARSWAP_NO_ANALYSIS;
  void context_ended(driver::Context context, bool gone) BARSWAP_NO_ANALYSIS;
  std::optional<driver::Context> primary_of(Die die) const;

  // Peers.
  Result<void> peer_enabled(driver::Context accessor, driver::Context owner);
  void peer_disabled(driver::Context accessor, driver::Context owner);
  Result<Die> die_of(driver::Context context);
  // Copies may cross. Asked of the machine, not of the contexts that we know: one that we could not
  // adopt may copy as well.
  bool several_dies() const { return dies_.size() > 1; }
  std::optional<Die> home_of(Address address) const;
  Crossing& crossing() { return *crossing_; }

  Reach& reach() { return *reach_; }
  // Null: launches run where the program says.
  Router* router() const { return router_.get(); }
  // Null: graphs are launched as they are.
  PartedGraphs* graphs() const { return graphs_.get(); }
  Turnstile& turnstile() { return *turnstile_; }
  // A stream of the program's is about to go.
  void forget(driver::Stream stream);
  const policy::Options& options() const { return setup_.options; }
  // A context of our own on a die, current on this thread.
  bool adopt_ours(driver::Context context, Die die);
  // Something of the program's ties all its launches to its own die from now on.
  void tie_launches(const char* why);
  Stopwatch& stopwatch() { return *stopwatch_; }
  bool times_launches() const { return setup_.trace_times && trace::on(); }
  // Right before a launch on this stream, by its handle (never 0), and right after it; nothing, if
  // it is not to be timed.
  std::optional<Stopwatch::Lap> begin_lap(driver::Stream stream, Timing timing);
  void end_lap(const Stopwatch::Lap& lap);
  // The stream is of the program's only context, which is the caller's, too: the names of its
  // legacy stream mean that context's.
  bool ordered_here(driver::Stream stream) const;
  // A die's limits, for the trace.
  void trace_die(const DieState& state) const;

  // From here on the process is verified; its record is kept in `folder`. False: there is no place
  // for one.
  bool verify(const char* folder) { return veil_.start(folder); }

  void free_moment();
  bool make_room();
  void close();

 private:
  using Owner = pager::Contexts::Owner;
  bool adopt(driver::Context context, Die die, Owner owner = Owner::program);
  void adopt_strays();
  void collect_times();

  // pool.cpp
  void prepare_die(DieState& state);
  void set_budget(DieState& state, std::uint64_t free_bytes);
  std::vector<Die> lenders_of(Die home) const;
  void borrow(Die home);
  void guess_budget(DieState& state);
  void look_for_room(Die home, std::uint64_t bytes);

  policy::Place place_for(std::uint64_t bytes, const void* return_address = nullptr);
  bool made_by_program(driver::Context context) const;
  void describe() const;
  bool alone_on_dies(const char* asked) const;

  static std::atomic<Session*> current_;

  const driver::Verbs verbs_;
  const Setup setup_;
  std::vector<std::unique_ptr<DieState>> dies_;
  std::optional<Die> pool_;  // the die that has the HBM of all
  std::vector<Die> pooled_;  // the others of these
  std::unique_ptr<pager::Pager> pager_;
  std::unique_ptr<memory::Memory> memory_;
  std::unique_ptr<memory::Maps> maps_;
  std::unique_ptr<memory::Outside> outside_;
  std::unique_ptr<Crossing> crossing_;
  std::unique_ptr<Stopwatch> stopwatch_;
  std::unique_ptr<Foresight> foresight_;
  std::unique_ptr<Reach> reach_;
  std::unique_ptr<Turnstile> turnstile_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<Slicer> slicer_;
  std::unique_ptr<PartedGraphs> graphs_;
  std::atomic<std::uint64_t> allocation_order_{0};
  pager::Veil veil_;

  mutable Mutex<Rank::peers> mutex_;
  struct Known {
    driver::Context context;
    Die die;
    bool primary;
  };
  std::vector<Known> contexts_ BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

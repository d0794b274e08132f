// Router: launches go to the die of a pool that holds most of the bytes they name
// (routing.kernels = "data"). The program sees one device; its streams are of that device's
// context, and every call but a routed launch finds all order there.
//
// One chain of launches is away at a time: of one stream, on one die. Its first launch waits, by an
// event, for what the stream holds; those that follow it need no event. Any other call of the
// program brings the chain home first (at_home.hpp): the stream waits, by an event, for what the
// lane on the other die holds. So the end of a stream is never in two places, and kernels of the
// device run on one die at a time, but for work of other streams that was submitted while the chain
// was away (docs/routing.md).
//
// It owns a lane on each die that receives launches (a context of our own there, a stream a
// priority), the chain, what is known of kernels, and the decider; Rank::routing guards them. That
// lock is held while a routed launch and its events are submitted: the lane's queue is kept short,
// so that these calls do not sleep. It is wrong to send what keeps state in a context; `Kernels`
// (kernels.hpp) says which that is.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "barswap/stats.h"
#include "driver/verbs.hpp"
#include "pager/pager.hpp"
#include "policy/route.hpp"
#include "session/foreign.hpp"
#include "session/kernels.hpp"
#include "session/parting.hpp"

namespace barswap::session {

class Session;

// What a launch names, for routing.
struct RouteNames {
  static constexpr std::size_t kMost = 24;
  std::array<policy::Stretch, kMost> stretches;
  std::size_t count = 0;
  bool foreign = false;  // also device memory that is not of the pool's pages, or nobody can say
  std::span<const policy::Stretch> all() const { return {stretches.data(), count}; }
  void add(const policy::Stretch& stretch);
};

class Router final : public Parting {
 public:
  // Pages of `home` may lie on any of `dies`.
  Router(Session& session, Die home, std::vector<Die> dies);
  ~Router() override;
  Router(const Router&) = delete;
  Router& operator=(const Router&) = delete;

  Die home() const override { return home_; }
  Foreign& foreign() { return foreign_; }
  // Of kernels, under our lock.
  void library_loaded(driver::Library library, const void* bytes, bool stays);
  void library_gone(driver::Library library);
  // `image`: as the driver took it; `code`: how, without it.
  void module_loaded(driver::Module module, const void* image, driver::Code code);
  void module_goes(driver::Module module);
  void variable_asked(driver::Library library, Address address, std::uint64_t bytes);
  void variable_asked(driver::Module module, Address address, std::uint64_t bytes);
  void attributes_changed(driver::Function function);

  // Where a launch should go; what it names may be moved there before. Called outside the gate.
  // `tied`: something ties it to its own context, whatever its kernel.
  struct Order {
    driver::Function function = driver::Function::none;
    driver::Stream stream = driver::Stream::none;  // never 0
    bool tied = false;
  };
  std::optional<Die> plan(const Order& order, const RouteNames& names);
  // Before a graph is launched, which stays at home.
  void plan_graph(std::span<const policy::Route::Often> named);
  bool routes() const { return !stopped_.load(std::memory_order_relaxed); }

  // parting.hpp: graphs whose kernels run on several dies.
  bool parts() const override { return routes(); }
  bool may_part(driver::Stream stream) override;
  GraphPlan plan(std::span<const driver::GraphNode> nodes) override;
  std::size_t most_parts() const override { return 16; }  // more would rest more than they run
  std::size_t most_ahead() const override { return ~std::size_t{0}; }  // lanes have await_room
  std::uint64_t from_launch() const override { return 2; }
  // Raised when a kernel that could go away may have to stay from now on.
  std::uint64_t judged() const override { return judged_.load(); }
  std::optional<There> there(driver::Function function, Die die) override;
  bool may_run(const driver::KernelChange& change, Die die) override;
  Turnstile& turnstile() override;
  // Nobody else marks a stream between the two.
  bool begin() override { return routes() && !leaving_.exchange(true); }
  void end() override { leaving_.store(false); }
  void await_room(Die die) override;
  bool can_hop(driver::Stream stream, std::uint32_t dies) override;
  Result<driver::Stream> hop(driver::Stream stream, Die from, Die to) override;
  bool prepare(const GraphPart& part, std::span<const driver::GraphNode> nodes,
               driver::Stream stream) override;
  Result<void> upload(const GraphPart& part, driver::Stream there) override;
  Result<void> launch(const GraphPart& part, driver::Stream there, driver::Stream stream) override;
  void ended(driver::Stream stream, driver::Event done, std::span<const Die> dies,
             std::uint64_t away) override;
  void launched_on(driver::Stream stream) override;
  void lost_order() override;
  int lost(Error error) override;

  // Before a launch at home: kernels of one device run on one die at a time, so those of other
  // streams than the chain's wait here, for a second at most.
  void launches_at_home(driver::Stream stream);
  // A stream of the program's is gone, or has attributes that ours lack.
  void forget(driver::Stream stream);
  void tie(driver::Stream stream);

  // While one lives, the calling thread alone may submit to the lane. Made inside the gate. Without
  // a function it is no launch, but a copy or a fill of the chain's stream: it goes along if the
  // chain is away, in the lane's context, and never draws it there.
  class Sending {
   public:
    Sending(Router& router, const Order& order, Die die) BARSWAP_NO_ANALYSIS;
    Sending(Router& router, driver::Stream stream) BARSWAP_NO_ANALYSIS;
    ~Sending() BARSWAP_NO_ANALYSIS;
    Sending(const Sending&) = delete;
    Sending& operator=(const Sending&) = delete;
    bool ready() const { return stream_ != driver::Stream::none; }
    driver::Stream stream() const { return stream_; }
    driver::Function function() const { return function_; }
    // What the driver said of the launch. False: it is to be made at home after all.
    bool sent(int code, bool sticky) BARSWAP_NO_ANALYSIS;

   private:
    Router& router_;
    const Order order_;
    Die die_;
    std::optional<driver::Entered> there_;
    driver::Stream stream_ = driver::Stream::none;
    driver::Function function_ = driver::Function::none;
  };

  // Something of the program's ties all its kernels to its context from now on; `why` is for the
  // user.
  void stop(barswap_kept reason, const char* why);
  // The program's context has changed its limit.
  void stack_changed(std::uint64_t size_bytes);
  // It is gone, or about to go; and then it is.
  void context_ends(driver::Context context);
  void context_gone();
  void close();

  // at_home.hpp
  void enter_home();
  int check_away();

 private:
  struct Lane {
    driver::Context context = driver::Context::none;
    std::map<int, driver::Stream> streams;  // by priority
    driver::Event back = driver::Event::none;
    // Every so many launches a mark, so that the queue is never full.
    static constexpr std::uint64_t kMarkEvery = 128;
    std::array<driver::Event, 4> marks{};
    std::uint64_t launches = 0, awaited = 0;  // marks that were waited for
    bool refused = false;  // no context is to be had there, or the die is not alike
    bool unheard = false;  // launches since the program last waited for anything
    bool running = false;  // launches that are not known to have ended
  };
  struct Chain {
    driver::Stream stream = driver::Stream::none;  // the program's
    driver::Stream lane = driver::Stream::none;
    Die die{0};
  };
  // The last graph of several dies.
  struct Far {
    driver::Stream stream = driver::Stream::none;
    driver::Event done = driver::Event::none;
    bool running = false;  // not known to have ended
  };
  // `function`: none, if it is no kernel; `follows`: on the die of the one before.
  struct Node {
    driver::Function function = driver::Function::none;
    bool tied = false, follows = false;
    RouteNames names;
  };
  static std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

  std::uint32_t open_dies() const BARSWAP_REQUIRES(mutex_);
  std::optional<barswap_kept> kept_by(const Order& order, const RouteNames& names)
      BARSWAP_REQUIRES(mutex_);
  bool open(Die die);
  bool fill(Lane& lane, Die die);
  void join();
  void join_locked() BARSWAP_REQUIRES(mutex_);
  void at_random(std::uint32_t open, const RouteNames& names, policy::Route::Advice& advice)
      BARSWAP_REQUIRES(mutex_);
  std::optional<driver::Event> mark_stream(const Order& order);
  void count_launch(Lane& lane, driver::Stream stream) BARSWAP_REQUIRES(mutex_);
  bool leave_for(const Order& order, Die die, std::uint64_t epoch) BARSWAP_REQUIRES(mutex_);
  bool others_at_work(driver::Stream stream) BARSWAP_REQUIRES(mutex_);
  std::optional<driver::Stream> lane_for(const Order& order, Die die) BARSWAP_REQUIRES(mutex_);
  void lose(Error error);
  void carry(const policy::Route::Advice& advice);
  void settle(const policy::Route::Advice& advice);
  policy::Room room() const;
  void keep(barswap_kept reason) const;
  void make_twin(const Twins::Wanted& wanted);
  void make_twins(std::span<const Node> nodes);
  using Moved = std::unordered_map<std::uint64_t, Die>;
  bool plan_round(std::span<const Node> nodes, policy::Route& route, Moved& moved, GraphPlan& plan)
      BARSWAP_REQUIRES(mutex_);
  GraphPlan plan_nodes(std::span<const Node> nodes);
  GraphPlan plan_open(std::span<const Node> nodes);
  bool ended(driver::Event event);
  void note_busy(driver::Stream stream) BARSWAP_REQUIRES(mutex_);
  void unload_unneeded();

  Session& session_;
  const driver::Verbs& verbs_;
  pager::Pager& pager_;
  const Die home_;
  const std::vector<Die> dies_;
  Kernels kernels_ BARSWAP_GUARDED_BY(mutex_);
  Foreign foreign_;

  std::atomic<bool> stopped_{false};
  std::atomic<barswap_kept> stop_reason_{BARSWAP_KEPT_OUTSIDE};
  // A chain leaves only while no call of the program that submits or orders work at home is under
  // way. What makes it safe: whoever enters is counted by the turnstile and then reads `away_`;
  // whoever leaves with a chain sets `away_` and then reads the count.
  std::atomic<bool> away_{false};
  std::atomic<bool> opening_{false};       // a lane
  std::atomic<std::uint64_t> judged_{0};
  std::atomic<bool> leaving_{false};  // a thread marks a stream, to leave it

  Mutex<Rank::routing> mutex_;
  std::array<Lane, kDiesMax> lanes_ BARSWAP_GUARDED_BY(mutex_);
  Chain chain_ BARSWAP_GUARDED_BY(mutex_);  // the last one, while none is away
  Far far_ BARSWAP_GUARDED_BY(mutex_);
  policy::Route route_ BARSWAP_GUARDED_BY(mutex_);
  std::mt19937_64 random_ BARSWAP_GUARDED_BY(mutex_);  // for chaos
  // Where the last launch was to run: a chain that came home for a call of the program's is there
  // still, as far as the next launch is concerned.
  Die at_ BARSWAP_GUARDED_BY(mutex_){0};
  // Moves of what comes along, until when none is made so that they take a small share of the time.
  std::uint64_t carry_rests_until_ns_ BARSWAP_GUARDED_BY(mutex_) = 0;
  driver::Context program_ BARSWAP_GUARDED_BY(mutex_) = driver::Context::none;
  driver::Event out_ BARSWAP_GUARDED_BY(mutex_) = driver::Event::none;  // of its context
  std::vector<driver::Stream> busy_ BARSWAP_GUARDED_BY(mutex_);  // launched on, not known to rest
  std::vector<driver::Stream> tied_ BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

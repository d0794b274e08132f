#include "session/session.hpp"

#include <algorithm>
#include <cstdio>

#include "barswap/log.hpp"
#include "session/at_home.hpp"
#include "session/callsite.hpp"
#include "stats/stats.hpp"
#include "trace/trace.hpp"

namespace barswap::session {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }

constexpr int kOldestDriver = 12020;  // HOST_NUMA frames
constexpr std::uint64_t kArenaMaxBytes = 4096_GiB;

std::string text_of(const driver::Uuid& uuid) {
  char text[64];
  int used = std::snprintf(text, sizeof text, "GPU-");
  for (std::size_t i = 0; i < uuid.size(); ++i)
    used += std::snprintf(text + used, sizeof text - static_cast<std::size_t>(used), "%s%02x",
                          i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "", uuid[i]);
  return text;
}

}  // namespace

std::atomic<Session*> Session::current_{nullptr};

Session::Session(const driver::Api& api, const Setup& setup) : verbs_(api), setup_(setup) {}

Session::~Session() = default;

void Session::adopt_for_test(Session* session) {
  current_.store(session, std::memory_order_release);
}

bool Session::prepare(const char** why) {
  auto version = verbs_.version();
  *why = "the driver is older than 12.2";
  if (!version || *version < kOldestDriver) return false;
  auto count = verbs_.die_count();
  *why = "there is no die";
  if (!count || *count == 0) return false;
  std::vector<pager::DieSetup> setups;
  std::uint64_t granule = 0, tiers_bytes = 0;
  for (int i = 0; i < std::min(*count, kDiesMax); ++i) {
    auto state = std::make_unique<DieState>();
    state->die = Die{i};
    state->number = *count == 1 ? setup_.number_of_one.value_or(i) : i;
    auto uuid = verbs_.uuid(state->die);
    if (uuid) state->uuid = *uuid;
    state->uuid_text = text_of(state->uuid);
    auto total = verbs_.total_bytes(state->die);
    if (!total) return false;
    state->total_bytes = *total;
    auto vmm = verbs_.has_vmm(state->die);
    auto capable = verbs_.compute_major(state->die);
    const policy::DieFacts facts = state->facts(state->total_bytes);
    state->managed =
        vmm && *vmm && capable && *capable >= 7 && policy::uses_die(setup_.options, facts);
    if (state->managed) {
      auto unit = verbs_.granularity(state->die);
      if (!unit) return false;
      granule = std::max(granule, *unit);
      // Provisional: what is really free is known with the first context.
      state->budget_bytes.store(policy::budget_bytes(setup_.options, facts));
      setups.push_back({state->die, state->budget_bytes.load()});
      tiers_bytes += state->total_bytes;
    }
    dies_.push_back(std::move(state));
  }
  *why = "no die has virtual memory management and compute capability 7.0";
  if (setups.empty()) return false;
  if (setup_.options.dies_present == policy::Present::pooled) {
    pool_ = setups.front().die;
    pooled_ = lenders_of(*pool_);
    if (pooled_.empty())
      BARSWAP_LOG(warn, "session",
                  "dies.present = \"pooled\" finds no second die: die %d has what it has. Cure: "
                  "tiers.peer.enable, and dies in dies.use that can reach each other by NVLink",
                  index_of(*pool_));
  }

  const policy::Options& options = setup_.options;
  pager::Settings settings;
  settings.page_bytes = round_up(options.paging_page_bytes, granule);
  settings.headroom = options.vram_headroom;
  settings.forced_share = options.paging_forced_share;
  settings.deadline_ns = std::uint64_t{options.paging_deadline_ms} * 1'000'000;
  settings.prepare_bytes = options.tiers_host_prepare_bytes;
  settings.keep_copies = options.tiers_host_copies;
  settings.chaos = setup_.chaos;
  settings.chaos_seed = setup_.chaos_seed;
  settings.worker = setup_.worker;
  // Where the program maps memory itself it says who reaches it.
  settings.whole = options.routing_kernels == policy::Kernels::data && !pooled_.empty() &&
                   !setup_.verify && !options.vram_virtual_maps;
  settings.verify = setup_.verify;
  settings.may_move = options.paging_plan != policy::Plan::stream && !setup_.verify;
  settings.beside = options.paging_overlap == policy::Overlap::reach && settings.keep_copies &&
                    !setup_.verify && alone_on_dies("paging.overlap = \"reach\"");
  *why = "barswap verify does not run under MPS, where a fault ends other programs too";
  if (setup_.verify && !alone_on_dies("barswap verify")) return false;
  *why = "barswap verify needs a driver of 12.5 or later, which can prove that a context is idle";
  if (setup_.verify && !verbs_.has_idle_proof()) return false;
  pager_ = std::make_unique<pager::Pager>(verbs_, settings, setups, options.tiers_host_enable,
                                          options.tiers_host_limit);
  tiers_bytes += pager_->frames().host_limit();
  const std::uint64_t arena_bytes =
      std::clamp(round_up(4 * tiers_bytes, 1_GiB), 1_GiB, kArenaMaxBytes);
  memory_ = std::make_unique<memory::Memory>(verbs_, *pager_, granule, arena_bytes);
  maps_ = std::make_unique<memory::Maps>(*memory_);
  outside_ = std::make_unique<memory::Outside>(*pager_);
  crossing_ = std::make_unique<Crossing>(verbs_, *pager_);
  if (setup_.verify) pager_->start_flights();
  stopwatch_ = std::make_unique<Stopwatch>(verbs_);
  foresight_ = std::make_unique<Foresight>(*pager_, *stopwatch_, options.paging_plan);
  turnstile_ = std::make_unique<Turnstile>(*pager_);
  if (settings.whole) router_ = std::make_unique<Router>(*this, *pool_, pooled_);
  else if (options.routing_kernels == policy::Kernels::data)
    BARSWAP_LOG(warn, "session",
                "routing.kernels = \"data\" is not used: it needs dies.present = \"pooled\" with "
                "two dies, and goes neither with vram.virtual_maps nor with barswap verify");
  reach_ = std::make_unique<Reach>(verbs_, *memory_, *pager_, *foresight_, setup_.options,
                                   router_.get());
  if (!router_ && (settings.may_move || setup_.verify))
    slicer_ = std::make_unique<Slicer>(*this, setup_.verify);
  if (router_) graphs_ = std::make_unique<PartedGraphs>(verbs_, *router_);
  else if (slicer_) graphs_ = std::make_unique<PartedGraphs>(verbs_, *slicer_);
  if (setup_.verify) stats::set_state(BARSWAP_STATE_PLACE_ONLY, "barswap verify watches");
  else if (!settings.may_move)
    stats::set_state(BARSWAP_STATE_PLACE_ONLY, "the policy says paging.plan = \"stream\"");
  else if (!verbs_.has_idle_proof())
    pager_->stop_moving("the driver is older than 12.5, which cannot prove that a context is idle");
  describe();
  return true;
}

// A fault ends all clients of a server, not the program alone that asked for the risk.
bool Session::alone_on_dies(const char* asked) const {
  for (const auto& state : dies_) {
    auto shared = verbs_.shared_by_mps(state->die);
    if (!shared || !*shared) continue;
    BARSWAP_LOG(warn, "session",
                "%s is not used under MPS, where a fault of this program would end others as well. "
                "Cure: do not ask for it, or stop MPS",
                asked);
    return false;
  }
  return true;
}

void Session::describe() const {
  barswap_stats& live = stats::live();
  stats::set(live.dies, static_cast<std::uint32_t>(dies_.size()));
  stats::set(live.page_bytes, static_cast<std::uint32_t>(pager_->settings().page_bytes));
  for (const auto& state : dies_) {
    barswap_die_stats& out = live.die[slot(state->die)];
    std::copy(state->uuid.begin(), state->uuid.end(), out.uuid);
    stats::set(out.vram_total, state->total_bytes);
    stats::set(out.limit, state->budget_bytes.load());
  }
  pager_->publish();
}

DieState* Session::die_state(Die die) const {
  const auto index = slot(die);
  return index < dies_.size() ? dies_[index].get() : nullptr;
}

void Session::trace_die(const DieState& state) const {
  if (!state.managed || !trace::on()) return;
  trace::die(state.die, state.budget_bytes.load(std::memory_order_relaxed),
             pager_->frames().host_limit(), {});
}

bool Session::made_by_program(driver::Context context) const {
  Lock lock(mutex_);
  return std::any_of(contexts_.begin(), contexts_.end(), [&](const Known& known) {
    return known.context == context && !known.primary;
  });
}

// `context` is current on this thread. True: it is known now.
bool Session::adopt(driver::Context context, Die die, Owner owner) {
  DieState* state = die_state(die);
  if (!state || !state->managed || pager_->contexts().known(context)) return true;
  const driver::RelaxedCapture relaxed(verbs_);
  constexpr const char* kNoRoom = "a context has no room for our events";
  bool refused = false;
  {
    const pager::Pager::Hurry hurry(*pager_);
    Lock lock(pager_->mover_mutex());
    if (pager_->contexts().known(context)) return true;
    pager_->present_all();
    prepare_die(*state);
    const bool primary = owner == Owner::program && !made_by_program(context);
    auto outcome = pager_->contexts().adopt(context, die, primary, owner);
    refused = !outcome && !driver::sticky(outcome.error());
    if (!outcome && owner == Owner::ours) return false;
    if (refused) pager_->stop_moving(kNoRoom);
    if (outcome && primary) {
      Lock known(mutex_);
      contexts_.push_back({context, die, true});
    }
  }
  if (refused) pager_->lift_veil(kNoRoom);
  if (die == pool_) borrow(die);
  return !refused;
}

bool Session::adopt_ours(driver::Context context, Die die) {
  return adopt(context, die, Owner::ours);
}

void Session::tie_launches(const char* why) {
  if (router_) router_->stop(BARSWAP_KEPT_OUTSIDE, why);
}

// A primary context that the runtime retained through the driver's private tables.
void Session::adopt_strays() {
  for (const auto& state : dies_) {
    if (!state->managed || pager_->contexts().knows_primary(state->die)) continue;
    auto active = verbs_.primary_active(state->die);
    if (!active || !*active) continue;
    auto context = verbs_.retain_primary(state->die);
    if (!context) continue;
    {
      const driver::Entered entered(verbs_, *context);
      if (entered.ok()) adopt(*context, state->die);
    }
    (void)verbs_.release_primary(state->die);
  }
}

Session::Caller Session::caller() {
  Caller caller;
  auto context = verbs_.current();
  if (!context || *context == driver::Context::none) return caller;
  auto die = verbs_.current_die();
  if (!die) return caller;
  const DieState* state = die_state(*die);
  caller = {*context, *die, state && state->managed};
  if (caller.managed) adopt(*context, *die);
  return caller;
}

Result<Address> Session::allocate(const Caller& caller, std::uint64_t bytes,
                                  const void* return_address) {
  if (policy::refuses(setup_.options, bytes)) return Error{Fault::out_of_memory};
  look_for_room(caller.die, bytes);
  return memory_->allocate(bytes, caller.context, caller.die, place_for(bytes, return_address));
}

Result<std::uint64_t> Session::create(Die home, std::uint64_t bytes,
                                      const memory::Properties& properties,
                                      const void* return_address) {
  if (policy::refuses(setup_.options, bytes)) return Error{Fault::out_of_memory};
  look_for_room(home, bytes);
  return maps_->create(home, bytes, place_for(bytes, return_address), properties);
}

policy::Place Session::place_for(std::uint64_t bytes, const void* return_address) {
  const std::uint64_t order = allocation_order_.fetch_add(1, std::memory_order_relaxed);
  if (setup_.options.allocations.empty()) return policy::Place::automatic;
  policy::AllocationFacts facts;
  facts.size_bytes = bytes;
  facts.order = order;
  if (!policy::wants_callers(setup_.options)) return policy::place_of(setup_.options, facts);
  // A rule may name any library on the way here; the innermost that a rule knows decides.
  for (const CallSite& site : call_sites(return_address)) {
    facts.library = site.library;
    facts.symbol = site.symbol;
    const policy::Place place = policy::place_of(setup_.options, facts);
    if (place != policy::Place::automatic) return place;
  }
  return policy::Place::automatic;
}

Result<bool> Session::free(Address base) {
  come_home();
  const auto range = memory_->at(base);
  if (!range || range->handle != 0) return false;
  bool idle = false;
  if (!capturing()) {
    // As bare cuMemFree does, whatever the caller's current context is.
    const driver::Entered entered(verbs_, range->context);
    const trace::Wait wait(true, {range->home, 0});
    if (entered.ok()) BARSWAP_TRY_VOID(verbs_.synchronize());
    idle = entered.ok() && pager_->contexts().count() == 1;
  }
  return memory_->free(base, idle);
}

void Session::context_seen(driver::Context context, Die die) {
  Lock lock(mutex_);
  contexts_.push_back({context, die, false});
}

void Session::context_made(driver::Context context, Die die) {
  context_seen(context, die);
  adopt(context, die);
}

void Session::primary_retained(driver::Context context, Die die) {
  if (pager_->contexts().known(context)) return;
  const driver::RelaxedCapture relaxed(verbs_);
  const driver::Entered entered(verbs_, context);
  if (entered.ok()) adopt(context, die);
}

std::optional<driver::Context> Session::primary_of(Die die) const {
  Lock lock(mutex_);
  for (const Known& known : contexts_)
    if (known.die == die && known.primary) return known.context;
  return std::nullopt;
}

void Session::context_ends(driver::Context context) {
  const AtHome home;
  if (router_) router_->context_ends(context);
  reach_->functions_gone();
  collect_times();
  stopwatch_->forget(context);
  {
    const pager::Pager::Hurry hurry(*pager_);
    pager_->mover_mutex().lock();
  }
  // The driver may wait for work of the context, and that for work that others submit.
  pager_->present_all();
  pager_->contexts().suspend(context);
}

void Session::context_ended(driver::Context context, bool gone) {
  if (gone) pager_->context_gone(context);
  else pager_->contexts().resume(context);
  pager_->mover_mutex().unlock();
  if (!gone) return;
  {
    Lock lock(mutex_);
    std::erase_if(contexts_, [&](const Known& known) { return known.context == context; });
  }
  if (router_) router_->context_gone();
  if (graphs_) graphs_->context_gone(context);
  const driver::RelaxedCapture relaxed(verbs_);
  memory_->drop_context(context);
}

Result<Die> Session::die_of(driver::Context context) {
  for (const pager::ContextEntry& entry : pager_->contexts().all())
    if (entry.context == context) return entry.die;
  const driver::Entered entered(verbs_, context);
  BARSWAP_TRY_VOID(entered.outcome());
  const Die die = BARSWAP_TRY(verbs_.current_die());
  adopt(context, die);
  return die;
}

Result<void> Session::peer_enabled(driver::Context accessor, driver::Context owner) {
  const Die from = BARSWAP_TRY(die_of(accessor));
  const Die to = BARSWAP_TRY(die_of(owner));
  if (from == to || pager_->granted(to, from)) return {};
  const DieState* state = die_state(to);
  if (!state || !state->managed) return {};
  return pager_->grant(to, from);
}

void Session::peer_disabled(driver::Context accessor, driver::Context owner) {
  auto from = die_of(accessor), to = die_of(owner);
  if (from && to && *from != *to) (void)pager_->revoke(*to, *from);
}

std::optional<Die> Session::home_of(Address address) const {
  if (!memory_->ours(address)) return std::nullopt;
  const auto range = memory_->find(address);
  if (!range) return std::nullopt;
  return range->home;
}

void Session::forget(driver::Stream stream) {
  if (router_) router_->forget(stream);
  if (graphs_) graphs_->forget(stream);
}

bool Session::ordered_here(driver::Stream stream) const {
  const driver::Context only = pager_->contexts().only_one();
  auto current = verbs_.current();
  auto context = verbs_.context_of(stream);
  return only != driver::Context::none && current && context && *current == only &&
         *context == only;
}

// Beside a capture an event on another stream may be refused, or end it.
std::optional<Stopwatch::Lap> Session::begin_lap(driver::Stream stream, Timing timing) {
  if (!times_launches()) timing.traced.reset();
  if ((timing.traced || timing.sampled) && !capturing()) {
    const Submission inside(false, Says::nothing);
    return stopwatch_->begin(stream, timing);
  }
  stopwatch_->lose(timing);
  return std::nullopt;
}

void Session::end_lap(const Stopwatch::Lap& lap) {
  const Submission inside(false, Says::nothing);
  stopwatch_->end(lap);
}

// Beside a capture an event may not be asked.
void Session::collect_times() {
  if (times_launches() && !capturing()) stopwatch_->collect();
}

void Session::free_moment() {
  collect_times();
  if (!pager_->wants_move()) return;
  adopt_strays();
  pager_->free_moment();
}

bool Session::make_room() {
  adopt_strays();
  auto die = verbs_.current_die();
  const Die where = die ? *die : Die{0};
  borrow(where);
  const bool cached = memory_->release_cache(where);
  return pager_->make_room(where, !capturing()) || cached;
}

void Session::close() {
  collect_times();
  if (pager::Veil* veil = pager::Veil::current()) pager_->last_look(*veil);
  if (router_) router_->close();
  pager_->close();  // first: the turn in hand gives up its waits
  foresight_->close();
}

}  // namespace barswap::session

// Runs: their birth, retirement and burial, and the census of what lies where.
#include <algorithm>

#include "barswap/check.hpp"
#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "pager/pager.hpp"
#include "pager/run.hpp"
#include "policy/place.hpp"
#include "stats/stats.hpp"
#include "trace/trace.hpp"

namespace barswap::pager {
namespace {

std::size_t slot(Die die) { return static_cast<std::size_t>(index_of(die)); }
std::size_t slot(RunKind kind) { return static_cast<std::size_t>(kind); }
std::size_t slot(Tier tier) { return static_cast<std::size_t>(tier); }

}  // namespace

Pager::Pager(const driver::Verbs& verbs, const Settings& settings, std::span<const DieSetup> dies,
             bool host_enabled, const policy::Amount& host_limit)
    : verbs_(verbs),
      settings_(settings),
      contexts_(verbs),
      frames_(verbs),
      page_most_(settings.page_bytes),
      may_move_(settings.may_move),
      fingerprints_(verbs),
      detours_(verbs, frames_),
      patience_ns_(settings.deadline_ns),
      start_ns_(now_ns()),
      random_(settings.chaos_seed) {
  for (const DieSetup& setup : dies) {
    dies_.push_back(setup.die);
    frames_.set_budget(setup.die, setup.budget_bytes);
    granted_[slot(setup.die)][slot(setup.die)] = true;
  }
  frames_.set_host(host_enabled, host_limit);
}

Pager::~Pager() { close(); }

std::vector<Die> Pager::reach(Die home) const {
  std::vector<Die> dies;
  Lock lock(pages_);
  for (int i = 0; i < kDiesMax; ++i)
    if (granted_[slot(home)][i]) dies.push_back(Die{i});
  return dies;
}

bool Pager::granted(Die owner, Die accessor) const {
  Lock lock(pages_);
  return granted_[slot(owner)][slot(accessor)];
}

bool Pager::shared(Die owner) const { return reach(owner).size() > 1; }

std::uint64_t Pager::headroom(Die die) const {
  const bool turns = may_move_.load(std::memory_order_relaxed);
  return std::max(turns ? spare_bytes_[slot(die)] : 0, policy_headroom(die));
}

std::uint64_t Pager::policy_headroom(Die die) const {
  return policy::headroom_bytes(settings_.headroom, frames_.budget(die),
                                recent_[slot(die)].bytes(now_ns()));
}

Result<Run*> Pager::birth(const Birth& request) {
  heat_.forget(request.base, request.bytes);
  auto run = std::make_unique<Run>();
  run->home = request.home;
  run->kind = request.kind;
  run->place = request.place;
  run->order = request.order;
  run->base = request.base;
  run->bytes = request.bytes;
  {
    const driver::RelaxedCapture relaxed(verbs_);
    const std::uint64_t page_bytes = page_bytes_of(request);
    const std::uint64_t small_bytes = policy::page_bytes_of(request.bytes, settings_.page_bytes);
    auto filled = fill(*run, request, page_bytes);
    // Room that no whole page fits into.
    if (!filled && filled.error().fault == Fault::out_of_memory && page_bytes > small_bytes)
      filled = fill(*run, request, small_bytes);
    BARSWAP_TRY_VOID(filled);
  }
  if (request.kind != RunKind::large) {
    Lock lock(pages_);
    recent_[slot(request.home)].add(request.bytes, now_ns());
  }
  return admit(std::move(run));
}

// Its pages are mapped and granted; from here on others see it.
Result<Run*> Pager::admit(std::unique_ptr<Run> run) {
  Run* published = run.get();
  const Die home = run->home;
  std::vector<Die> late;
  bool spills = false;
  {
    Lock lock(pages_);
    spills = may_leave(home);
    // Access that was given between our grant and here would not have found the run.
    for (int i = 0; i < kDiesMax; ++i)
      if (granted_[slot(home)][i] && !run->reached_from(Die{i})) late.push_back(Die{i});
    for (const Die die : late) run->reach |= 1u << index_of(die);
    run->moving = late.empty() ? 0 : 1;
    count(*run, true);
    for (const Page& page : run->pages) places_.note(page.address, page.frame);
    if (run->has_spilled()) pressed_[slot(home)].store(true, std::memory_order_relaxed);
    trace_run(*run);
    run->index = runs_.size();
    runs_.push_back(std::move(run));
  }
  if (!late.empty()) BARSWAP_TRY_VOID(grant_late(published, late));
  update_wish();
  const std::uint64_t used_bytes = frames_.used(home);
  if (pressed_[slot(home)].load(std::memory_order_relaxed) ||
      (spills && used_bytes > frames_.budget(home) / 2))
    start_worker();
  return published;
}

// The run is marked as moving, so that the mover leaves it alone meanwhile.
Result<void> Pager::grant_late(Run* run, const std::vector<Die>& dies) {
  const driver::RelaxedCapture relaxed(verbs_);
  for (const Die die : dies)
    frames_.host_mapped(die, static_cast<std::int64_t>(residency(run).host_bytes));
  auto outcome = verbs_.grant(run->base, run->bytes, dies);
  {
    Lock lock(pages_);
    --run->moving;
  }
  if (outcome) return {};
  while (!try_bury(run)) sleep_ns(50'000);
  return outcome;
}

// How many pages of a new run are born outside its die's HBM, and how many of those on peers.
Pager::Shares Pager::shares_of(const Birth& request, std::uint64_t page_bytes) const {
  const std::uint64_t count_pages = (request.bytes + page_bytes - 1) / page_bytes;
  const bool pressed = pressed_[slot(request.home)].load(std::memory_order_relaxed);
  const std::uint64_t free_bytes = frames_.free_hbm(request.home);
  const bool may_host = frames_.host_enabled() && !request.never_host;
  const bool streamed = request.place == policy::Place::stream;
  Lock lock(pages_);
  std::uint64_t keep_bytes = 0;
  if (request.kind == RunKind::large && (pressed || request.bytes > free_bytes))
    keep_bytes = headroom(request.home);
  const std::uint64_t fitting_bytes = free_bytes - std::min(free_bytes, keep_bytes);
  Shares shares;
  if (streamed && may_host) shares.away = count_pages;
  else if (request.bytes > fitting_bytes && request.place != policy::Place::resident)
    shares.away = count_pages - std::min(count_pages, fitting_bytes / page_bytes);
  if (shares.away == 0) return shares;
  const bool whole = settings_.whole && request.kind == RunKind::large && !streamed;
  if (whole) shares.on = room_for_all(request.home, request.bytes);
  if (shares.on) return {count_pages, count_pages, shares.on};
  if (!streamed)
    shares.peer = std::min(shares.away, room_of_lenders(request.home, page_bytes) / page_bytes);
  if (!may_host) shares.away = shares.peer;
  return shares;
}

// A range that lies whole on one die is not spread, and what a move costs hardly depends on its
// size.
std::uint64_t Pager::page_bytes_of(const Birth& request) const {
  constexpr std::uint64_t kMostBytes = 64_MiB;
  if (request.kind == RunKind::packed) return request.bytes;
  const std::uint64_t bytes = policy::page_bytes_of(request.bytes, settings_.page_bytes);
  return settings_.whole ? std::clamp(request.bytes, bytes, std::max(bytes, kMostBytes)) : bytes;
}

// Frames first, then mappings, then one grant over the whole run: what can fail comes before what
// anybody else could see.
Result<void> Pager::fill(Run& run, const Birth& request, std::uint64_t page_bytes) {
  run.page_bytes = page_bytes;
  std::uint64_t most = page_most();
  while (page_bytes > most && !page_most_.compare_exchange_weak(most, page_bytes)) {}
  const std::uint64_t count_pages = (request.bytes + page_bytes - 1) / page_bytes;
  const Shares shares = shares_of(request, page_bytes);
  // A share is spread evenly over the range, so that every kernel reads the same small part.
  const auto spread = [](std::uint64_t i, std::uint64_t part, std::uint64_t whole) {
    return part > 0 && (i + 1) * part / whole != i * part / whole;
  };
  const auto take = [&](Tier tier, std::uint64_t bytes) -> Result<Frame> {
    if (tier == Tier::hbm) return frames_.take_hbm(run.home, bytes, 0);
    if (tier == Tier::peer && shares.on)
      if (auto there = take_on(run.home, *shares.on, bytes)) return there;
    if (tier == Tier::peer) return take_peer(run.home, bytes);
    if (request.never_host) return Error{Fault::out_of_memory};
    return take_host(run.home, bytes);
  };

  Result<void> outcome;
  run.pages.reserve(count_pages);
  std::uint64_t away = 0;
  for (std::uint64_t i = 0; i < count_pages && outcome; ++i) {
    const std::uint64_t bytes = std::min(page_bytes, request.bytes - i * page_bytes);
    Tier wanted = Tier::hbm;
    if (spread(i, shares.away, count_pages))
      wanted = spread(away++, shares.peer, shares.away) ? Tier::peer : Tier::host;
    auto frame = take(wanted, bytes);
    for (const Tier other : {Tier::peer, Tier::host, Tier::hbm}) {
      if (frame || other == wanted) continue;
      // Of several refusals the program is told the first.
      if (auto another = take(other, bytes)) frame = std::move(another);
    }
    if (!frame) {
      outcome = frame.error();
      break;
    }
    const Address address = request.base + i * page_bytes;
    auto mapped = verbs_.map(address, bytes, frame->handle);
    if (!mapped) {
      frames_.give_back(*frame);
      outcome = mapped.error();
      break;
    }
    Page page;
    page.address = address;
    page.frame = *frame;
    run.pages.push_back(page);
  }
  const std::vector<Die> dies = reach(run.home);
  if (outcome) outcome = verbs_.grant(run.base, run.bytes, dies);
  if (!outcome) {
    const Error error = outcome.error();
    unmap_all(run);
    return error;
  }
  for (const Die die : dies) {
    run.reach |= 1u << index_of(die);
    frames_.host_mapped(die, static_cast<std::int64_t>(run.host_bytes()));
  }
  return {};
}

void Pager::unmap_all(Run& run) {
  for (const Page& page : run.pages) {
    // A page that the driver will not unmap keeps its frame for good: reuse could mix two owners.
    if (page.hidden || verbs_.unmap(page.address, page.frame.bytes))
      frames_.give_back(page.frame);
  }
  run.pages.clear();
}

void Pager::retire(Run* run) {
  {
    Lock lock(pages_);
    count(*run, false);
    run->live = false;
    trace::run_ended(run->home, run->order);
  }
  drop_copies(run);
  update_wish();
}

void Pager::revive(Run* run, policy::Place place, std::uint64_t order) {
  heat_.forget(run->base, run->bytes);
  Lock lock(pages_);
  run->live = true;
  run->place = place;
  run->order = order;
  count(*run, true);
  trace_run(*run);
}

// In the lock that its moves are recorded under, so that the trace has them in order.
void Pager::trace_run(const Run& run) const {
  if (!trace::on()) return;
  std::vector<Tier> tiers;
  tiers.reserve(run.pages.size());
  for (const Page& page : run.pages) tiers.push_back(page.frame.tier);
  trace::run({run.order, run.home, run.bytes, run.page_bytes, static_cast<std::uint8_t>(run.kind),
              static_cast<std::uint8_t>(run.place)},
             tiers);
}

Pager::RunName Pager::name_of(const Run* run) const {
  Lock lock(pages_);
  return {run->order, run->base};
}

// Out of the books; from here on nobody sees it.
std::unique_ptr<Run> Pager::take_out(Run* run) {
  BARSWAP_CHECK(run->index < runs_.size() && runs_[run->index].get() == run);
  if (run->live) {
    count(*run, false);
    trace::run_ended(run->home, run->order);
  }
  std::swap(runs_[run->index], runs_.back());
  runs_[run->index]->index = run->index;
  std::unique_ptr<Run> out = std::move(runs_.back());
  runs_.pop_back();
  return out;
}

// Host pages cost page tables on every die that reaches them.
void Pager::count_tables(const Run& run, bool add) {
  const auto bytes = static_cast<std::int64_t>(run.host_bytes());
  for (const Die die : run.reachers()) frames_.host_mapped(die, add ? bytes : -bytes);
}

bool Pager::try_bury(Run* run) {
  std::unique_ptr<Run> dead;
  std::vector<Frame> copies;
  {
    Lock lock(pages_);
    if (run->moving != 0) return false;
    dead = take_out(run);
    std::uint64_t bytes = kAllCopies;
    take_copies(*dead, bytes, copies);
  }
  const driver::RelaxedCapture relaxed(verbs_);
  give_back_all(copies);
  count_tables(*dead, false);
  unmap_all(*dead);
  update_wish();
  return true;
}

Residency Pager::residency(const Run* run) const {
  Residency out;
  Lock lock(pages_);
  for (const Page& page : run->pages) {
    const Tier tier = page.frame.tier;
    (tier == Tier::hbm ? out.hbm_bytes : tier == Tier::peer ? out.peer_bytes : out.host_bytes) +=
        page.frame.bytes;
  }
  return out;
}

void Pager::outside_changed(Die die, std::int64_t bytes) {
  if (bytes >= 0) frames_.outside_grew(die, static_cast<std::uint64_t>(bytes));
  else frames_.outside_shrank(die, static_cast<std::uint64_t>(-bytes));
  // Frames over the lowered budget leave at the next free moment.
  if (bytes > 0 && frames_.free_hbm(die) == 0) {
    Lock lock(pages_);
    if (may_leave(die)) pressed_[slot(die)].store(true, std::memory_order_relaxed);
  }
  update_wish();
}

bool Pager::can_make_room(Die die) const {
  Lock lock(pages_);
  return may_move_.load(std::memory_order_relaxed) &&
         ((may_leave(die) && census_[slot(die)].large(Tier::hbm) > 0) || frames_.lent(die) > 0);
}

bool Pager::pinned(const Run* run) const {
  Lock lock(pages_);
  return run->pinned;
}

void Pager::count_page(const Run& run, const Frame& frame, bool add) {
  Census& census = census_[slot(run.home)];
  std::uint64_t& bytes = census.bytes[slot(run.kind)][slot(frame.tier)];
  bytes = add ? bytes + frame.bytes : bytes - frame.bytes;
  if (run.pinned) census.pinned = add ? census.pinned + frame.bytes : census.pinned - frame.bytes;
  if (!run.spilled(frame)) return;
  census.spilled = add ? census.spilled + frame.bytes : census.spilled - frame.bytes;
  if (frame.tier == Tier::host)
    census.spilled_host =
        add ? census.spilled_host + frame.bytes : census.spilled_host - frame.bytes;
}

void Pager::count(const Run& run, bool add) {
  for (const Page& page : run.pages) count_page(run, page.frame, add);
}

// What the die would gain from: what it lent; its small pages in; headroom back; unused HBM filled,
// its own and that of others.
bool Pager::wishes(Die die) const {
  if (settings_.chaos) return true;
  if (!pressed_[slot(die)].load(std::memory_order_relaxed)) return false;
  const Census& census = census_[slot(die)];
  // Where launches go to their bytes, what lies on a peer is not away.
  const auto on_peers = [&](std::uint64_t bytes) { return settings_.whole ? 0 : bytes; };
  const std::uint64_t small_away = on_peers(census.small(Tier::peer)) + census.small(Tier::host);
  const std::uint64_t large_hbm = census.large(Tier::hbm);
  const std::uint64_t large_away = on_peers(census.large(Tier::peer)) + census.large(Tier::host);
  const std::uint64_t free_bytes = frames_.free_hbm(die);
  const std::uint64_t keep_bytes = headroom(die);
  if (wants_back(die)) return true;
  // Less than the smallest page is room for nothing.
  if (small_away > 0 && (large_hbm > 0 || free_bytes >= 2_MiB)) return true;
  if (swap_wanted_[slot(die)] && (free_bytes >= page_most() || large_hbm > 0)) return true;
  if (free_bytes < keep_bytes / 2 && large_hbm > 0) return true;
  if (comes_nearer(die)) return true;
  return large_away > 0 && free_bytes > policy::refilled_bytes(keep_bytes) + page_most();
}

// Far above the mark at which a spill begins, so that a die does not waver between being pressed
// and not.
bool Pager::roomy(Die die) const {
  return frames_.free_hbm(die) > 2 * policy_headroom(die) + page_most();
}

void Pager::update_wish() {
  bool wanted = false, watching = false;
  {
    Lock lock(pages_);
    for (const Die die : dies_) {
      if (census_[slot(die)].spilled == 0 && roomy(die)) {
        pressed_[slot(die)].store(false, std::memory_order_relaxed);
        spare_bytes_[slot(die)] = 0;
      }
      wanted = wanted || wishes(die);
      watching = watching || pressed_[slot(die)].load(std::memory_order_relaxed);
    }
  }
  heat_.watch(watching && may_move_.load(std::memory_order_relaxed));
  wanted = wanted && may_move_.load(std::memory_order_relaxed);
  if (wanted && !wanted_.exchange(true, std::memory_order_relaxed)) worker_.ring();
  if (!wanted) wanted_.store(false, std::memory_order_relaxed);
  publish();
}

void Pager::publish() const {
  barswap_stats& live = stats::live();
  Lock lock(pages_);
  for (const Die die : dies_) {
    const Census census = census_[slot(die)];
    barswap_die_stats& out = live.die[slot(die)];
    stats::set(out.small_hbm, census.small(Tier::hbm));
    stats::set(out.small_peer, census.small(Tier::peer));
    stats::set(out.small_host, census.small(Tier::host));
    stats::set(out.large_hbm, census.large(Tier::hbm));
    stats::set(out.large_peer, census.large(Tier::peer));
    stats::set(out.large_host, census.large(Tier::host));
    for (const Tier tier : {Tier::hbm, Tier::peer, Tier::host})
      stats::set(out.tier[slot(tier)], census.small(tier) + census.large(tier));
    stats::set(out.lent, frames_.lent(die));
    stats::set(out.pinned, census.pinned);
    stats::set(out.budget, frames_.budget(die));
  }
  stats::set(live.host_bytes, frames_.host_bytes());
  stats::set(live.host_prepared, frames_.host_prepared());
  stats::set(live.host_copies, frames_.host_copies());
  stats::set(live.host_limit, frames_.host_limit());
}

void Pager::cover(Address base, std::uint64_t bytes) {
  heat_.cover(base, bytes);
  if (settings_.whole) places_.cover(base, bytes);
  if (settings_.beside || settings_.verify) flights_.cover(base, bytes);
}

void Pager::stop_moving(const char* why) {
  if (!may_move_.exchange(false, std::memory_order_relaxed)) return;
  wanted_.store(false, std::memory_order_relaxed);
  heat_.watch(false);
  stats::set_state(BARSWAP_STATE_PLACE_ONLY, why);
  BARSWAP_LOG(info, "pager", "pages stay where they are from now on: %s", why);
}

}  // namespace barswap::pager

#include "session/router.hpp"

#include <algorithm>
#include <utility>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "session/at_home.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"

namespace barswap::session {
namespace {

constexpr std::uint64_t kRestNs = 20'000;  // between looks at the device
constexpr std::uint64_t kCreditNs = 100'000'000;
constexpr std::uint64_t kImageMost = 64_MiB;        // of a module that is kept for a twin
constexpr std::uint64_t kOthersNs = 1'000'000'000;  // for kernels on another die to end

unsigned capability_of(const driver::Verbs& verbs, Die die) {
  auto capability = verbs.compute_capability(die);
  return capability ? static_cast<unsigned>(*capability) : 0;
}

}  // namespace

void RouteNames::add(const policy::Stretch& stretch) {
  for (std::size_t i = 0; i < count; ++i)
    if (stretches[i].first == stretch.first) return;
  if (count < kMost) stretches[count++] = stretch;
}

Router::Router(Session& session, Die home, std::vector<Die> dies)
    : session_(session),
      verbs_(session.verbs()),
      pager_(session.pager()),
      home_(home),
      dies_(std::move(dies)),
      kernels_(verbs_, session.options(), capability_of(verbs_, home)),
      random_(pager_.settings().chaos_seed) {}

Router::~Router() {
  close();
  counting.store(false);
  lost_away.store(0);
}

void Router::keep(barswap_kept reason) const {
  stats::add(stats::live().kept[static_cast<std::size_t>(reason)]);
}

std::uint32_t Router::open_dies() const {
  std::uint32_t open = 1u << index_of(home_);
  for (const Die die : dies_)
    if (!lanes_[slot(die)].refused && !pager_.contexts().program_on(die))
      open |= 1u << index_of(die);
  return open;
}

// What is known before anything is tried.
std::optional<barswap_kept> Router::kept_by(const Order& order, const RouteNames& names) {
  if (stopped_.load(std::memory_order_relaxed)) return stop_reason_.load();
  if (order.tied || order.stream == driver::kPerThreadStream) return BARSWAP_KEPT_KIND;
  if (std::find(tied_.begin(), tied_.end(), order.stream) != tied_.end()) return BARSWAP_KEPT_KIND;
  if (names.foreign || session_.outside().addressed()) return BARSWAP_KEPT_OUTSIDE;
  if (pager_.contexts().capturing()) return BARSWAP_KEPT_CAPTURE;
  return kernels_.kept(order.function);
}

// Any die, and now and then anything along: what the rules must survive.
void Router::at_random(std::uint32_t open, const RouteNames& names, policy::Route::Advice& advice) {
  do advice.die = Die{static_cast<int>(random_() % kDiesMax)};
  while ((open >> index_of(advice.die) & 1u) == 0);
  advice.carry.clear();
  advice.settle.clear();
  if (names.count > 0 && random_() % 8 == 0)
    advice.carry.push_back(names.stretches[random_() % names.count]);
}

std::optional<Die> Router::plan(const Order& order, const RouteNames& names) {
  policy::Route::Advice advice;
  Die at = home_;
  bool follows = false;  // on the chain, which is there
  auto current = verbs_.current();
  const policy::Room free = room();
  std::optional<Twins::Wanted> wanted;
  do {
    if (wanted) make_twin(*std::exchange(wanted, std::nullopt));
    Lock lock(mutex_);
    const std::uint32_t open = open_dies();
    at = at_;
    const auto missed = policy::Route::missed_bytes(home_, open, names.all());
    const auto kept = kept_by(order, names);
    const bool chaos = pager_.settings().chaos;
    if (kept == BARSWAP_KEPT_FUNCTION && (missed > 0 || chaos))
      wanted = kernels_.wanted(order.function);
    if (wanted) continue;
    advice = route_.launch(at, kept ? 1u << index_of(home_) : open, names.all(), free);
    if (chaos && !kept) at_random(open, names, advice);
    at_ = advice.die;
    follows = away_.load(std::memory_order_relaxed) && advice.die == chain_.die &&
              order.stream == chain_.stream && current && *current == program_;
    if (missed > 0 && advice.die == home_) keep(kept.value_or(BARSWAP_KEPT_SMALL));
  } while (wanted);
  if (advice.die != home_ && !follows &&
      (!session_.ordered_here(order.stream) || !open(advice.die))) {
    keep(BARSWAP_KEPT_KIND);
    return std::nullopt;
  }
  if (!advice.carry.empty()) carry(advice);
  if (!advice.settle.empty()) settle(advice);
  if (advice.die != at)
    for (const policy::Stretch& stretch : names.all())
      BARSWAP_LOG(debug, "session", "die %d to %d: %llu MiB at 0x%llx, %llu and %llu there",
                  index_of(at), index_of(advice.die),
                  static_cast<unsigned long long>(stretch.bytes / 1_MiB),
                  static_cast<unsigned long long>(stretch.first),
                  static_cast<unsigned long long>(stretch.on[slot(at)] / 1_MiB),
                  static_cast<unsigned long long>(stretch.on[slot(advice.die)] / 1_MiB));
  if (advice.die == home_) return std::nullopt;
  return advice.die;
}

// Loading may wait for the device, so it comes outside our lock.
void Router::make_twin(const Twins::Wanted& wanted) {
  const driver::RelaxedCapture relaxed(verbs_);
  auto library = verbs_.load(*wanted.code);
  if (!library) {
    BARSWAP_LOG(debug, "session", "a module cannot be loaded as a library: %d",
                library.error().driver_code);
    return;
  }
  bool kept = false;
  {
    Lock lock(mutex_);
    kept = kernels_.made(wanted, *library);
  }
  if (!kept) verbs_.unload(*library);
  unload_unneeded();
}

void Router::unload_unneeded() {
  std::vector<driver::Library> unneeded;
  {
    Lock lock(mutex_);
    unneeded = kernels_.take_unneeded();
  }
  for (const driver::Library library : unneeded) verbs_.unload(library);
}

// What is carried has to repay itself many times over; where it does not, since a program hands on
// much and changes dies often, reading from afar is the lesser evil.
void Router::carry(const policy::Route::Advice& advice) {
  constexpr std::uint64_t kShare = 8, kBubbleNs = 100'000;  // the device rests before a drain
  const std::uint64_t start_ns = now_ns();
  const std::uint64_t drained_ns = stats::get(stats::live().drain_ns);
  {
    Lock lock(mutex_);
    if (start_ns < carry_rests_until_ns_) return;
  }
  for (const policy::Stretch& stretch : advice.carry)
    BARSWAP_LOG(debug, "session", "along to die %d: %llu MiB at 0x%llx", index_of(advice.die),
                static_cast<unsigned long long>(stretch.bytes / 1_MiB),
                static_cast<unsigned long long>(stretch.first));
  const auto carried = pager_.carry(home_, advice.die, advice.carry);
  const std::uint64_t cost_ns = stats::get(stats::live().drain_ns) - drained_ns + kBubbleNs;
  Lock lock(mutex_);
  // Credit is not saved up for longer than a moment.
  carry_rests_until_ns_ =
      std::max(carry_rests_until_ns_, start_ns - std::min(start_ns, kCreditNs)) + kShare * cost_ns;
  if (carried != pager::Pager::Carried::no_room) return;
  for (const policy::Stretch& stretch : advice.carry) route_.refused(advice.die, stretch);
}

policy::Room Router::room() const {
  policy::Room out{};
  out[slot(home_)] = pager_.frames().free_hbm(home_);
  for (const Die die : dies_) out[slot(die)] = pager_.frames().free_hbm(die);
  return out;
}

void Router::settle(const policy::Route::Advice& advice) {
  for (const policy::Stretch& stretch : advice.settle)
    BARSWAP_LOG(debug, "session", "settles on die %d: %llu MiB at 0x%llx", index_of(advice.die),
                static_cast<unsigned long long>(stretch.bytes / 1_MiB),
                static_cast<unsigned long long>(stretch.first));
  if (pager_.carry(home_, advice.die, advice.settle) == pager::Pager::Carried::all) return;
  Lock lock(mutex_);
  for (const policy::Stretch& stretch : advice.settle) route_.unsettled(stretch);
}

// Only once somebody wants to go there, and outside our lock: it takes a tenth of a second, and the
// mover.
bool Router::open(Die die) {
  {
    Lock lock(mutex_);
    if (lanes_[slot(die)].refused) return false;
    if (lanes_[slot(die)].context != driver::Context::none) return true;
  }
  if (opening_.exchange(true)) return false;
  // Long before the first launch leaves, so that each call that submits by then was counted.
  counting.store(true);
  Lane lane;
  const bool filled = fill(lane, die);
  {
    Lock lock(mutex_);
    lane.refused = !filled;
    lanes_[slot(die)] = lane;
  }
  opening_.store(false);
  BARSWAP_LOG(info, "session", filled ? "die %d receives launches" : "die %d receives no launches",
              index_of(die));
  return filled;
}

// What can fail comes before anything else knows of it; a context that is of no use stays, since
// its end would wait for all work of the process.
bool Router::fill(Lane& lane, Die die) {
  auto same = verbs_.alike(home_, die);
  if (!same || !*same || pager_.contexts().program_on(die)) return false;
  const driver::RelaxedCapture relaxed(verbs_);
  auto stack_bytes = verbs_.stack_bytes();
  auto context = verbs_.make_context(die);
  if (!stack_bytes || !context) return false;
  lane.context = *context;
  const driver::Entered entered(verbs_, *context);
  if (!entered.ok() || !verbs_.set_stack_bytes(*stack_bytes)) return false;
  auto back = verbs_.make_event();
  auto stream = verbs_.make_stream(0);  // the usual priority; and whom to ask how the context is
  if (!back || !stream) return false;
  lane.back = *back;
  lane.streams.emplace(0, *stream);
  for (driver::Event& mark : lane.marks) {
    auto event = verbs_.make_event();
    if (!event) return false;
    mark = *event;
  }
  return session_.adopt_ours(*context, die) && pager_.grant(home_, die).has_value();
}

void Router::enter_home() {
  for (;;) {
    turnstile().enter();
    if (!away_.load()) break;
    turnstile().leave();
    join();
  }
}

Turnstile& Router::turnstile() { return session_.turnstile(); }

void Router::join() {
  Lock lock(mutex_);
  join_locked();
}

// The stream waits for all that was sent away. The caller may have no context, or another one.
void Router::join_locked() {
  if (!away_.load()) return;
  const Lane& lane = lanes_[slot(chain_.die)];
  Result<void> outcome;
  {
    const driver::RelaxedCapture relaxed(verbs_);
    {
      const driver::Entered there(verbs_, lane.context);
      outcome = there.ok() ? verbs_.record(lane.back, chain_.lane) : there.outcome();
    }
    const driver::Entered here(verbs_, program_);
    if (outcome) outcome = here.ok() ? verbs_.wait(chain_.stream, lane.back) : here.outcome();
  }
  stats::add(stats::live().die_changes);
  if (!outcome) lose(outcome.error());
  away_.store(false);
}

// What a failed context would have done is lost. The program meets the error that it made there.
void Router::lose(Error error) {
  constexpr int kUnspecific = 999;  // CUDA_ERROR_UNKNOWN
  lost_away.store(error.fault == Fault::driver ? error.driver_code : kUnspecific);
  stop(BARSWAP_KEPT_REFUSED, "a context on another die has failed");
}

void Router::stop(barswap_kept reason, const char* why) {
  if (stopped_.exchange(true)) return;
  stop_reason_.store(reason);
  BARSWAP_LOG(info, "session", "launches stay on their die from now on: %s", why);
}

// Streams that have come to rest, or are gone, are looked at no more.
bool Router::others_at_work(driver::Stream stream) {
  std::erase_if(busy_, [&](driver::Stream other) {
    if (other == stream) return true;
    auto idle = verbs_.idle(other);
    return idle && *idle;
  });
  return !busy_.empty();
}

std::optional<driver::Stream> Router::lane_for(const Order& order, Die die) {
  Lane& lane = lanes_[slot(die)];
  auto priority = verbs_.priority_of(order.stream);
  if (!priority) return std::nullopt;
  const auto found = lane.streams.find(*priority);
  if (found != lane.streams.end()) return found->second;
  const driver::Entered entered(verbs_, lane.context);
  if (!entered.ok()) return std::nullopt;
  auto stream = verbs_.make_stream(*priority);
  if (!stream) return std::nullopt;
  return lane.streams.emplace(*priority, *stream).first->second;
}

// The chain leaves, if nobody else is about to add to what it left behind. `epoch`: of before the
// event was recorded.
bool Router::leave_for(const Order& order, Die die, std::uint64_t epoch) {
  const auto lane = lane_for(order, die);
  if (!lane) return false;
  // What the last chain left away, its own stream waits for.
  if (chain_.stream != driver::Stream::none && chain_.stream != order.stream)
    busy_.push_back(chain_.stream);
  away_.store(true);
  const bool alone = turnstile().users() == 0 && turnstile().epoch() == epoch;
  // Captures begin inside of AtHome.
  if (!alone || pager_.contexts().capturing() || others_at_work(order.stream) ||
      !verbs_.wait(*lane, out_)) {
    away_.store(false);
    return false;
  }
  chain_ = {order.stream, *lane, die};
  stats::add(stats::live().die_changes);
  return true;
}

void Router::await_room(Die die) {
  driver::Event mark = driver::Event::none;
  {
    Lock lock(mutex_);
    Lane& lane = lanes_[slot(die)];
    const std::uint64_t marked = lane.launches / Lane::kMarkEvery;
    if (marked > std::exchange(lane.awaited, marked) && marked >= lane.marks.size())
      mark = lane.marks[(marked + 1) % lane.marks.size()];  // the oldest; the newest was just made
  }
  if (mark == driver::Event::none) return;
  const driver::RelaxedCapture relaxed(verbs_);
  for (auto ready = verbs_.ready(mark); ready && !*ready; ready = verbs_.ready(mark))
    sleep_ns(kRestNs);
}

// The event that a lane waits for before a chain leaves. Recording it may sleep, as any call of the
// program on that stream may, so it comes before the lock; one thread at a time.
std::optional<driver::Event> Router::mark_stream(const Order& order) {
  driver::Event out = driver::Event::none;
  {
    Lock lock(mutex_);
    const driver::Context only = pager_.contexts().only_one();
    if (out_ == driver::Event::none || program_ != only) {
      auto made = verbs_.make_event();
      if (!made) return std::nullopt;
      out_ = *made;
      program_ = only;
    }
    out = out_;
  }
  if (!verbs_.record(out, order.stream)) return std::nullopt;
  return out;
}

Router::Sending::Sending(Router& router, const Order& order, Die die)
    : router_(router), order_(order), die_(die) {
  router_.await_room(die);
  const bool leaves = !router_.away_.load();
  const std::uint64_t epoch = router_.turnstile().epoch();
  if (leaves && router_.leaving_.exchange(true)) {
    router_.keep(BARSWAP_KEPT_STREAMS);
    return;
  }
  const bool marked = leaves && router_.mark_stream(order).has_value();
  router_.mutex_.lock();
  const Chain& chain = router_.chain_;
  const bool joined = router_.away_.load() && chain.stream == order.stream && chain.die == die;
  if (!joined) router_.join_locked();
  const bool gone = joined || (marked && router_.leave_for(order, die, epoch));
  if (leaves) router_.leaving_.store(false);
  if (gone && router_.kernels_.prepare(order.function, router_.home_, die)) {
    stream_ = chain.lane;
    function_ = router_.kernels_.kernel_of(order.function);
    return;
  }
  router_.mutex_.unlock();
  router_.keep(gone ? BARSWAP_KEPT_REFUSED : BARSWAP_KEPT_STREAMS);
}

Router::Sending::Sending(Router& router, driver::Stream stream)
    : router_(router), order_({driver::Function::none, stream, false}), die_(router.home_) {
  if (!router_.away_.load()) return;
  router_.mutex_.lock();
  const Chain& chain = router_.chain_;
  if (router_.away_.load() && chain.stream == stream) {
    die_ = chain.die;
    there_.emplace(router_.verbs_, router_.lanes_[slot(die_)].context);
    if (there_->ok()) stream_ = chain.lane;
  }
  if (!ready()) router_.mutex_.unlock();
}

Router::Sending::~Sending() {
  if (ready()) router_.mutex_.unlock();
}

bool Router::Sending::sent(int code, bool sticky) {
  Lane& lane = router_.lanes_[slot(die_)];
  lane.unheard = lane.running = true;
  if (code == 0) {
    if (order_.function != driver::Function::none) stats::add(stats::live().routed);
    router_.count_launch(lane, stream_);
    return true;
  }
  if (sticky) {
    router_.lose(Error{Fault::driver, code});
    return true;
  }
  if (order_.function == driver::Function::none) return false;
  router_.kernels_.refuse(order_.function);
  router_.keep(BARSWAP_KEPT_REFUSED);
  return false;
}

void Router::count_launch(Lane& lane, driver::Stream stream) {
  if (++lane.launches % Lane::kMarkEvery != 0) return;
  const driver::Entered entered(verbs_, lane.context);
  (void)verbs_.record(lane.marks[lane.launches / Lane::kMarkEvery % lane.marks.size()], stream);
}

// A kernel that waits for one on another die, or is waited for, would never end if this had no
// limit; from then on nothing is sent away.
void Router::launches_at_home(driver::Stream stream) {
  driver::Event back = driver::Event::none, far = driver::Event::none;
  {
    Lock lock(mutex_);
    note_busy(stream);
    const Lane& lane = lanes_[slot(chain_.die)];
    if (chain_.stream != stream && lane.running) back = lane.back;
    if (far_.running && far_.stream != stream) far = far_.done;
  }
  if (stream == driver::kPerThreadStream)
    stop(BARSWAP_KEPT_STREAMS, "the program launches on per-thread streams, which have one name");
  // What is captured does not run now, and beside a capture an event may not be asked.
  const bool nothing = back == driver::Event::none && far == driver::Event::none;
  if (nothing || !routes() || pager_.contexts().capturing()) return;
  if (!ended(back) || !ended(far))
    return stop(BARSWAP_KEPT_STREAMS, "a kernel on another die outlasts a launch beside it");
  Lock lock(mutex_);
  if (back != driver::Event::none && !away_.load()) lanes_[slot(chain_.die)].running = false;
  if (far != driver::Event::none && far_.done == far) far_.running = false;
}

void Router::note_busy(driver::Stream stream) {
  if (std::find(busy_.begin(), busy_.end(), stream) == busy_.end()) busy_.push_back(stream);
}

void Router::launched_on(driver::Stream stream) {
  Lock lock(mutex_);
  note_busy(stream);
}

bool Router::ended(driver::Event event) {
  if (event == driver::Event::none) return true;
  const driver::RelaxedCapture relaxed(verbs_);
  const std::uint64_t limit_ns = now_ns() + kOthersNs;
  for (auto ready = verbs_.ready(event); ready && !*ready; ready = verbs_.ready(event)) {
    if (now_ns() > limit_ns) return false;
    sleep_ns(kRestNs);
  }
  return true;
}

void Router::forget(driver::Stream stream) {
  Lock lock(mutex_);
  if (chain_.stream == stream) {
    at_ = home_;
    chain_.stream = driver::Stream::none;
  }
  std::erase(busy_, stream);
  std::erase(tied_, stream);
  if (far_.stream == stream) far_.stream = driver::Stream::none;
}

void Router::tie(driver::Stream stream) {
  Lock lock(mutex_);
  if (std::find(tied_.begin(), tied_.end(), stream) == tied_.end()) tied_.push_back(stream);
}

// The driver tells an error of a context to whoever asks there.
int Router::check_away() {
  std::vector<std::pair<Lane*, driver::Stream>> asked;
  {
    Lock lock(mutex_);
    for (Lane& lane : lanes_) {
      if (!std::exchange(lane.unheard, away_.load())) continue;
      for (const auto& [priority, stream] : lane.streams) asked.emplace_back(&lane, stream);
    }
  }
  const driver::RelaxedCapture relaxed(verbs_);
  for (const auto& [lane, stream] : asked) {
    const driver::Entered entered(verbs_, lane->context);
    auto idle = verbs_.idle(stream);
    if (!idle && driver::sticky(idle.error())) lose(idle.error());
    // The program waited for something else.
    if (idle && !*idle) {
      Lock lock(mutex_);
      lane->unheard = true;
    }
  }
  return lost_away.load();
}

void Router::library_loaded(driver::Library library, const void* bytes, bool stays) {
  Lock lock(mutex_);
  kernels_.loaded(library, bytes, stays);
}

void Router::library_gone(driver::Library library) {
  Lock lock(mutex_);
  kernels_.unloaded(library);
}

void Router::variable_asked(driver::Library library, Address address, std::uint64_t bytes) {
  if (!foreign_.note(address, bytes))
    stop(BARSWAP_KEPT_OUTSIDE, "the program asks for the addresses of many variables");
  Lock lock(mutex_);
  kernels_.variables_asked(library);
  ++judged_;
}

void Router::variable_asked(driver::Module module, Address address, std::uint64_t bytes) {
  if (!foreign_.note(address, bytes))
    stop(BARSWAP_KEPT_OUTSIDE, "the program asks for the addresses of many variables");
  Lock lock(mutex_);
  kernels_.variables_asked(module);
  ++judged_;
}

// The program may free the image as soon as it is loaded.
void Router::module_loaded(driver::Module module, const void* image, driver::Code code) {
  if (stopped_.load(std::memory_order_relaxed)) return;
  const std::span<const std::byte> bytes = image::bytes_of(image);
  if (bytes.empty() || bytes.size() > kImageMost) return;
  code.image.assign(bytes.begin(), bytes.end());
  Lock lock(mutex_);
  kernels_.loaded(module, std::move(code));
}

void Router::module_goes(driver::Module module) {
  {
    Lock lock(mutex_);
    kernels_.unloaded(module);
  }
  unload_unneeded();
}

void Router::attributes_changed(driver::Function function) {
  Lock lock(mutex_);
  kernels_.attributes_changed(function);
}

void Router::stack_changed(std::uint64_t size_bytes) {
  std::vector<driver::Context> contexts;
  {
    Lock lock(mutex_);
    for (const Lane& lane : lanes_)
      if (lane.context != driver::Context::none && !lane.refused) contexts.push_back(lane.context);
  }
  for (const driver::Context context : contexts) {
    const driver::Entered entered(verbs_, context);
    if (!entered.ok() || !verbs_.set_stack_bytes(size_bytes))
      stop(BARSWAP_KEPT_REFUSED,
           "another die has no room for the stacks that the program asks for");
  }
}

// Its events and streams are gone with it. What it had away has come home before.
void Router::context_ends(driver::Context context) {
  Lock lock(mutex_);
  if (context != program_) return;
  program_ = driver::Context::none;
  out_ = driver::Event::none;
  chain_ = {};
  at_ = home_;
  busy_.clear();
  tied_.clear();
}

void Router::context_gone() {
  Lock lock(mutex_);
  far_ = {};
  kernels_.all_unloaded();
}

void Router::close() {
  stop(BARSWAP_KEPT_REFUSED, "the process ends");
  if (counting.load()) join();
}

}  // namespace barswap::session

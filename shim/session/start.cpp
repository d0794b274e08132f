// How a process starts and ends with us: the policy is looked at, the gate opened, the hooks for
// fork and exit registered; or, with one clear line, we step aside. Stepping aside is possible only
// here, before the first allocation is ours.
#include <pthread.h>
#include <unistd.h>

#include <cstdlib>

#include "barswap/log.hpp"
#include "base/environment.hpp"
#include "session/own_policy.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"
#include "trace/trace.hpp"

namespace barswap::session {
namespace {

constinit Mutex<Rank::start> start_mutex;
constinit std::atomic<pid_t> started_in{0};  // 0: not yet

void step_aside(const char* why) {
  stats::set_state(BARSWAP_STATE_BYPASS, why);
  BARSWAP_LOG(warn, "session", "the program runs as if we were not there: %s", why);
}

// A child inherits the mapped statistics and the trace's file, and the gate's page as zeroes. What
// its parent had away is not its own, and whoever would bring it home is not there.
void in_child() {
  counting.store(false);
  trace::forked_child();
  stats::forked_child();
}

// Registered after cuInit, so that it runs before the driver's own.
void at_exit() {
  Session* session = Session::current();
  if (!session || pager::Gate::word() == pager::GateWord::pass_through) return;
  if (getpid() != started_in.load(std::memory_order_relaxed)) return;
  stats::set_state(BARSWAP_STATE_CLOSING, "");
  session->close();
  trace::close();
}

void tell_policy(const policy::Loaded& loaded) {
  std::string files;
  for (const std::string& file : loaded.files) files += (files.empty() ? "" : ", ") + file;
  stats::set_policy(files.c_str());
}

// Tools that submit work of their own, which passes no gate.
const char* injected_tool(const Environment& environment) {
  if (*environment.injection) return "a tool is injected (CUDA_INJECTION64_PATH)";
  return unseen_submitter.load(std::memory_order_acquire);
}

}  // namespace

void Session::start(const driver::Api& api, FreeOf free_of) noexcept {
  const pid_t self = getpid();
  if (started_in.load(std::memory_order_acquire) != 0) return;
  const std::optional<int> number_of_one = OneDie::number();
  Lock lock(start_mutex);
  if (started_in.load(std::memory_order_relaxed) != 0) return;
  const Environment& environment = barswap::environment();
  started_in.store(self, std::memory_order_release);
  if (environment.disable) return;

  const OwnPolicy& own = own_policy();
  const policy::Loaded& loaded = own.loaded;
  if (!loaded.ok()) {
    const std::string text = policy::text_of(loaded.diagnostics.front());
    step_aside(text.c_str());
    return;
  }
  const char* name = own.program.c_str();
  (void)stats::open_file(name);
  tell_policy(loaded);

  Setup setup;
  setup.options = loaded.options;
  setup.chaos = environment.chaos;
  setup.chaos_seed = environment.chaos_seed;
  setup.trace_times = environment.trace_times;
  setup.verify = *environment.verify != '\0';
  setup.free_of = free_of;
  setup.number_of_one = number_of_one;
  auto* session = new Session(api, setup);
  const char* why = "";
  if (!session->prepare(&why)) {
    if (setup.verify && session->verify(environment.verify))
      pager::Veil::current()->stop(BARSWAP_VERIFY_GAVE_UP, why);
    step_aside(why);
    return;
  }
  if (pthread_atfork(nullptr, nullptr, in_child) != 0 || std::atexit(at_exit) != 0 ||
      !pager::Gate::start()) {
    step_aside("the process has no room for our hooks");
    return;
  }
  if (*environment.trace &&
      trace::open(environment.trace, name, session->pager().settings().page_bytes))
    for (const auto& state : session->dies()) session->trace_die(*state);
  if (setup.verify && !session->verify(environment.verify))
    BARSWAP_LOG(warn, "session", "nothing is verified: no record can be kept in %s",
                environment.verify);
  current_.store(session, std::memory_order_release);
  if (session->pager().settings().may_move && session->verbs().has_idle_proof())
    stats::set_state(BARSWAP_STATE_ACTIVE, "");
  if (const char* tool = injected_tool(environment)) {
    session->pager().stop_moving(tool);
    session->pager().lift_veil(tool);
  }
}

}  // namespace barswap::session

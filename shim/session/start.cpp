// How a process starts and ends with us: the policy is read, the gate opened, the hooks for fork
// and exit registered; or, with one clear line, we step aside. Stepping aside is possible only
// here, before the first allocation is ours.
#include <pthread.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "barswap/log.hpp"
#include "base/environment.hpp"
#include "session/paths.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"
#include "trace/trace.hpp"

namespace barswap::session {
namespace {

constinit Mutex<Rank::start> start_mutex;
constinit std::atomic<pid_t> started_in{0};  // 0: not yet

std::string read_words(const char* path) {
  std::string words;
  if (std::FILE* file = std::fopen(path, "re")) {
    char buffer[4096];
    for (std::size_t size; (size = std::fread(buffer, 1, sizeof buffer, file)) > 0;)
      words.append(buffer, size);
    std::fclose(file);
  }
  while (!words.empty() && words.back() == '\0') words.pop_back();
  for (char& letter : words)
    if (letter == '\0') letter = ' ';
  return words;
}

std::string executable() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  return size > 0 ? std::string(path, static_cast<std::size_t>(size)) : std::string();
}

policy::Request request_from(const Environment& environment) {
  policy::Request request;
  request.exe = executable();
  request.argv = read_words("/proc/self/cmdline");
  request.policy_file = environment.policy;
  if (*environment.set) request.sets.push_back(environment.set);
  request.shipped_apps_folder = kShippedAppsFolder;
  request.system_folder = "/etc/barswap";
  if (*environment.config_home)
    request.user_folder = std::string(environment.config_home) + "/barswap";
  else if (*environment.home)
    request.user_folder = std::string(environment.home) + "/.config/barswap";
  return request;
}

void step_aside(const char* why) {
  stats::set_state(BARSWAP_STATE_BYPASS, why);
  BARSWAP_LOG(warn, "session", "the program runs as if we were not there: %s", why);
}

// A child inherits the mapped statistics and the trace's file, and the gate's page as zeroes.
void in_child() {
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
  Lock lock(start_mutex);
  if (started_in.load(std::memory_order_relaxed) != 0) return;
  const Environment& environment = barswap::environment();
  started_in.store(self, std::memory_order_release);
  if (environment.disable) return;

  const policy::Request request = request_from(environment);
  const policy::Loaded loaded = policy::load(request);
  if (!loaded.ok()) {
    const std::string text = policy::text_of(loaded.diagnostics.front());
    step_aside(text.c_str());
    return;
  }
  const char* slash = std::strrchr(request.exe.c_str(), '/');
  const char* name = slash ? slash + 1 : request.exe.c_str();
  (void)stats::open_file(name);
  tell_policy(loaded);

  Setup setup;
  setup.options = loaded.options;
  setup.chaos = environment.chaos;
  setup.chaos_seed = environment.chaos_seed;
  setup.trace_times = environment.trace_times;
  setup.verify = *environment.verify != '\0';
  setup.free_of = free_of;
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

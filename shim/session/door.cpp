#include "session/door.hpp"

#include <atomic>
#include <cstring>

#include "barswap/log.hpp"
#include "base/clock.hpp"
#include "session/callsite.hpp"
#include "session/session.hpp"
#include "stats/stats.hpp"

namespace barswap::session {

thread_local constinit std::uint32_t door_depth = 0;
thread_local constinit pager::Names declared_names;
thread_local constinit driver::Function declared_function = driver::Function::none;
constinit std::atomic<const char*> unseen_submitter{nullptr};

void Submission::board(pager::Flights& flights, bool may_block, Says says) noexcept {
  const pager::Names names = says == Says::declared ? declared_names : pager::Names();
  if (pager::Veil* veil = pager::Veil::current()) return veiled(*veil, may_block, names);
  Session* session = Session::current();
  if (!session) return flights.name_everything();
  // It cannot leave the gate.
  if (pager::gate_thread.depth > 1) return flights.name_everything();
  if (flights.board(names)) return;
  const std::uint64_t start_ns = now_ns();
  do {
    pager::Gate::leave();
    if (flights.held(names)) flights.wait();
    else session->pager().present(names);
    pager::Gate::enter(may_block);
  } while (!flights.board(names));
  stats::add(stats::live().stalls, 1);
  stats::add(stats::live().stall_ns, now_ns() - start_ns);
}

// Outside the gate, so that the thread that is admitted may close it. The caller is looked up
// before that: unwinding may wait for the loader.
void Submission::veiled(pager::Veil& veil, bool may_block, const pager::Names& names) noexcept {
  Session* session = Session::current();
  if (!session) return;
  if (pager::gate_thread.depth > 1)
    return session->pager().lift_veil("work is submitted from inside other work");
  pager::Gate::leave();
  pager::Work work;
  if (declared_function != driver::Function::none) {
    if (auto name = session->verbs().kernel_name(declared_function)) work.kernel = *name;
    work.site = caller_text();
  }
  if (veil.admit()) {
    admitted_ = &veil;
    session->pager().show_only(veil, names, work);
  } else {
    session->pager().lift_veil("the work of one thread waits for that of another");
  }
  pager::Gate::enter(may_block);
}

bool after_out_of_memory() noexcept {
  Session* session = Session::current();
  if (!session || !session->make_room()) return false;
  stats::add(stats::live().driver_retries);
  return true;
}

void free_moment() noexcept {
  if (Session* session = Session::current()) session->free_moment();
}

void note_unseen_submitter(const char* what) noexcept {
  // Before cuInit there is no session yet; it will look here when it starts.
  unseen_submitter.store(what, std::memory_order_release);
  Session* session = Session::current();
  if (!session || pager::Gate::word() == pager::GateWord::pass_through) return;
  session->pager().stop_moving(what);
  session->pager().present(pager::Names());
  session->pager().lift_veil(what);
}

void note_unknown_function(const char* name) noexcept {
  stats::add(stats::live().unknown_functions);
  BARSWAP_LOG(info, "session", "%s is newer than our table; it passes the gate unread", name);
}

bool advertised(const unsigned char uuid[16], std::uint64_t* total_bytes,
                std::uint64_t* free_bytes) noexcept {
  Session* session = Session::current();
  if (!session || pager::Gate::word() == pager::GateWord::pass_through) return false;
  for (const auto& state : session->dies()) {
    if (!state->managed || std::memcmp(state->uuid.data(), uuid, state->uuid.size()) != 0) continue;
    const MemoryInfo info = session->info(state->die);
    *total_bytes = info.total_bytes;
    *free_bytes = info.free_bytes;
    return true;
  }
  return false;
}

bool active() noexcept {
  return Session::current() && pager::Gate::word() != pager::GateWord::pass_through;
}

const char* statistics_path() noexcept { return stats::path(); }

}  // namespace barswap::session

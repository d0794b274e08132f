#include "sim/machine.hpp"

#include <pthread.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>

#include "sim/core_dump.hpp"
#include "sim/objects.hpp"

namespace barswap::sim {
namespace {

Machine* the_machine = nullptr;
std::atomic<std::uint64_t> machine_count{0};

// What a program may call before cuInit, and in a host function.
bool needs_nothing(RowId id) {
  switch (id) {
    case RowId::cuInit:
    case RowId::cuDriverGetVersion:
    case RowId::cuGetErrorName:
    case RowId::cuGetErrorString:
    case RowId::cuGetExportTable:
    case RowId::cuGetProcAddress:
    case RowId::cuGetProcAddress_v2:
      return true;
    default:
      return false;
  }
}

}  // namespace

Machine::Machine(Config config)
    : config_(std::move(config)),
      number_(++machine_count),
      memory_(config_),
      scheduler_(*this, config_.seed),
      objects_(std::make_unique<Objects>()),
      calls_(row_count),
      fault_calls_(config_.faults.size()) {
  if (the_machine != nullptr) {
    std::fprintf(stderr, "sim: a second machine\n");
    std::abort();
  }
  the_machine = this;
}

Machine::~Machine() {
  stopping_ = true;
  work_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  the_machine = nullptr;
}

Machine* Machine::current() { return the_machine; }

ThreadState& Machine::thread() {
  // Never destroyed: calls come from exit handlers, after the destructors of a thread's objects.
  thread_local ThreadState& state = *new ThreadState;
  if (state.machine != number_) {
    state = ThreadState{};
    state.machine = number_;
  }
  return state;
}

CUresult Machine::begin_call(RowId id) {
  const Row& called = row(id);
  ++calls_[static_cast<std::size_t>(id)];
  ++calls_total_;
  if (deinitialized_ && (id == RowId::cuInit || !needs_nothing(id)))
    return CUDA_ERROR_DEINITIALIZED;
  if (!initialized_ && !needs_nothing(id)) return CUDA_ERROR_NOT_INITIALIZED;
  if (forked_ && (id == RowId::cuInit || !needs_nothing(id))) return CUDA_ERROR_NOT_INITIALIZED;
  if (thread().in_host_function && !needs_nothing(id)) return CUDA_ERROR_NOT_PERMITTED;
  clock_ns_ += config_.rates.call_ns;
  for (const Loss& loss : config_.losses)
    if (loss.after_calls == calls_total_) memory_.lose(loss.die, loss.bytes);
  if (const CUresult result = fault_for(called); result != CUDA_SUCCESS) return result;
  const std::uint64_t steps = scheduler_.random().below(config_.steps_per_call_max + 1);
  for (std::uint64_t i = 0; i < steps; ++i)
    if (!scheduler_.step(!config_.threads)) break;
  return CUDA_SUCCESS;
}

CUresult Machine::fault_for(const Row& called) {
  for (std::size_t i = 0; i < config_.faults.size(); ++i) {
    const Fault& fault = config_.faults[i];
    if (fault.function != called.symbol && fault.function != called.api) continue;
    const std::uint64_t call = ++fault_calls_[i];
    if (call == fault.nth || (fault.always && call > fault.nth)) return fault.result;
  }
  return CUDA_SUCCESS;
}

CUresult Machine::need(Context*& context) {
  const ThreadState& state = thread();
  context = state.stack.empty() ? nullptr : state.stack.back();
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  if (context_of(context->handle()) == nullptr) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return context->error;
}

Context* Machine::context_of(CUcontext handle) {
  for (Primary& primary : primaries_)
    if (primary.context != nullptr && primary.context->handle() == handle)
      return primary.context->active ? primary.context.get() : nullptr;
  const auto found = contexts_.find(handle);
  return found == contexts_.end() ? nullptr : found->second.get();
}

void Machine::poison(Context& context, const IllegalAddress& fault) {
  std::fprintf(stderr, "sim: die %d: illegal address %#zx (%s, %s)\n", context.die,
               static_cast<std::size_t>(fault.address), fault.is_write ? "write" : "read",
               fault.reason);
  write_core_dump(fault.address);
  context.error = fault.reason == std::string_view("misaligned") ? CUDA_ERROR_MISALIGNED_ADDRESS
                                                                 : CUDA_ERROR_ILLEGAL_ADDRESS;
  scheduler_.cancel(&context);
}

CUresult Machine::wait(Context& context, const std::function<bool()>& condition) {
  std::uint64_t fruitless = 0;
  std::uint64_t steps = 0;
  while (context.error == CUDA_SUCCESS && !condition()) {
    if (scheduler_.step(!config_.threads))
      fruitless = 0;
    else
      give_way(++fruitless);
    if (config_.threads && ++steps % 8 == 0) {
      unlock();
      lock();
    }
  }
  return context.error;
}

CUresult Machine::wait_for(Context& context, const std::vector<Dependency>& dependencies) {
  const CUresult result = wait(context, [&] {
    for (const Dependency& dependency : dependencies)
      if (!dependency.met()) return false;
    return true;
  });
  for (const Dependency& dependency : dependencies) advance_clock(dependency.stream->ready_ns);
  return result;
}

// Nothing can move until some other thread does something. In process that is another thread of the
// test; if none does for long, the test would hang without a word.
void Machine::give_way(std::uint64_t fruitless) {
  constexpr std::uint64_t naps_max = 600'000;
  if (!config_.threads && fruitless > naps_max) {
    std::fprintf(stderr, "sim: a call waits for work that can never proceed\n");
    std::abort();
  }
  unlock();
  if (fruitless < 16)
    sched_yield();
  else
    usleep(50);
  lock();
}

void Machine::work_arrived() {
  if (config_.threads) work_.notify_all();
}

void Machine::call_out(const std::function<void()>& function) {
  ThreadState& state = thread();
  const bool before = state.in_host_function;
  state.in_host_function = true;
  unlock();
  function();
  lock();
  state.in_host_function = before;
}

void Machine::remap_check(const Mapping& mapping, const char* what) {
  if (!config_.strict || !mapping.live()) return;
  for (int die = 0; die < config_.dies; ++die) {
    if (mapping.access[static_cast<std::size_t>(die)] == Access::None) continue;
    if (!scheduler_.device_work(die, mapping.base, mapping.size_bytes)) continue;
    char text[160];
    std::snprintf(text, sizeof text, "%s of %zu bytes at %#zx while die %d has work", what,
                  mapping.size_bytes, static_cast<std::size_t>(mapping.base), die);
    violations_.push_back(text);
    std::fprintf(stderr, "sim: VIOLATION %s\n", text);
    if (config_.aborts) std::abort();
    return;
  }
}

void Machine::initialize() {
  initialized_ = true;
  if (config_.threads && threads_.empty()) start_threads();
}

void Machine::deinitialize() {
  lock();
  deinitialized_ = true;
  unlock();
}

// Only the thread that forked is here, and the lock may be held by one that is not.
void Machine::forked() {
  new (&mutex_) std::mutex;
  new (&work_) std::condition_variable;
  if (initialized_) forked_ = true;
}

void Machine::start_threads() {
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (auto loop : {&Machine::tick, &Machine::host_functions})
    threads_.emplace_back([this, loop] { (this->*loop)(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

// Work proceeds while the program looks at its own memory.
void Machine::tick() {
  std::unique_lock<std::mutex> guard(mutex_);
  while (!stopping_) {
    bool moved = false;
    for (int i = 0; i < 4 && scheduler_.step(false); ++i) moved = true;
    if (moved) {
      guard.unlock();
      sched_yield();
      guard.lock();
    } else {
      work_.wait_for(guard, std::chrono::microseconds(scheduler_.idle() ? 20'000 : 100));
    }
  }
}

void Machine::host_functions() {
  std::unique_lock<std::mutex> guard(mutex_);
  while (!stopping_)
    if (!scheduler_.step_host_function())
      work_.wait_for(guard, std::chrono::microseconds(scheduler_.idle() ? 20'000 : 100));
}

}  // namespace barswap::sim

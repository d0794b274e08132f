// The simulated machine: dies, memory, streams and the objects of the driver, under one lock.
//
// What a program, and Barswap in front of it, must survive here:
//   - any driver call refused, once or from then on, with any result (Config::faults);
//   - frames and host memory running out, a die that loses memory to others while it runs
//     (Config::losses), a driver without VMM, without host-located pages, without peers or dies;
//   - work that proceeds in any order the streams allow, stands half done for any time, or never
//   ends
//     (a kernel that spins, a stream that waits for a value);
//   - events that say not ready for a while after they are (Config::late_queries);
//   - host functions that run late, on another thread, while the host waits;
//   - fresh memory that holds garbage, and frames that read as zero when they are made again.
// What it must never do, and what this machine reports as a violation when asked to be strict:
// unmap a live page, or change its access, while work is queued or running on a die that can reach
// the page.
//
// The lock is taken at each driver call and given back while a call waits. One machine exists at a
// time.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "sim/memory.hpp"
#include "sim/rows.hpp"
#include "sim/stream.hpp"

namespace barswap::sim {

struct Objects;

struct Context {
  std::uint64_t id = 0;
  int die = 0;
  bool primary = false;
  bool active = true;
  unsigned flags = 0;
  CUresult error = CUDA_SUCCESS;
  std::shared_ptr<Stream> legacy;
  std::unordered_map<std::thread::id, std::shared_ptr<Stream>> per_thread;
  std::unordered_set<Context*> peers;  // whose plain memory this one may reach
  std::size_t limits[16] = {};

  CUcontext handle() { return reinterpret_cast<CUcontext>(this); }
};

struct Primary {
  std::unique_ptr<Context> context;  // kept when released: its handle stays the same
  int references = 0;
  unsigned flags = 0;
};

// What belongs to a thread. It follows the machine: a later machine finds it empty.
struct ThreadState {
  std::uint64_t machine = 0;
  std::vector<Context*> stack;
  CUstreamCaptureMode capture_mode = CU_STREAM_CAPTURE_MODE_GLOBAL;
  bool per_thread_default = false;
  bool in_host_function = false;
};

struct Audit {
  std::size_t frames = 0;        // alive, whatever holds them
  std::size_t handles = 0;       // created and not released
  std::size_t mappings = 0;      // VMM mappings
  std::size_t reservations = 0;  // address ranges
  std::size_t allocations = 0;   // cuMemAlloc and its kin
  std::size_t pending = 0;       // pieces of work not done
  std::vector<std::string> violations;
  std::map<std::string, std::uint64_t> calls;
  std::uint64_t steps = 0;
  std::uint64_t trace = 0;
};

class Machine {
 public:
  explicit Machine(Config config);
  ~Machine();
  Machine(const Machine&) = delete;
  Machine& operator=(const Machine&) = delete;

  static Machine* current();
  // Finds the thread's state for this machine.
  ThreadState& thread();

  void lock() { mutex_.lock(); }
  void unlock() { mutex_.unlock(); }

  // Called at each driver call with the lock held; a result other than success is the call's
  // answer.
  CUresult begin_call(RowId id);

  // Contexts.
  CUresult need(Context*& context);  // the current one; an error if none, or if it is poisoned
  Context* context_of(CUcontext handle);
  CUresult create_context(int die, unsigned flags, bool primary, Context*& result);
  void empty_context(Context& context);
  void destroy_context(Context* context);
  void release_allocation(Allocation& allocation);
  CUresult free_host(std::uintptr_t base);
  void poison(Context& context, const IllegalAddress& fault);
  std::unordered_map<CUcontext, std::unique_ptr<Context>>& contexts() { return contexts_; }
  Primary& primary(int die) { return primaries_[static_cast<std::size_t>(die)]; }
  void refresh_peer_access();

  // Streams. The handle 0 means what the calling thread's mode says.
  CUresult stream_of(CUstream handle, std::shared_ptr<Stream>& result);
  std::shared_ptr<Stream> make_stream(Context& context, unsigned flags, int priority);
  std::unordered_map<CUstream, std::shared_ptr<Stream>>& stream_handles() {
    return stream_handles_;
  }
  Scheduler& scheduler() { return scheduler_; }
  // Waits, working meanwhile, until the condition holds or the context is poisoned.
  CUresult wait(Context& context, const std::function<bool()>& condition);
  CUresult wait_for(Context& context, const std::vector<Dependency>& dependencies);
  void work_arrived();
  // Runs a function of the program without the lock.
  void call_out(const std::function<void()>& function);

  Memory& memory() { return memory_; }
  Objects& objects() { return *objects_; }
  const Config& config() const { return config_; }
  // From the `nth` call from now on, or that one alone. Between calls only.
  void refuse(const char* function, CUresult result, std::uint64_t nth = 1, bool always = true) {
    config_.faults.push_back({function, nth, result, always});
    fault_calls_.push_back(0);
  }
  std::uint64_t clock_ns() const { return clock_ns_; }
  void advance_clock(std::uint64_t to_ns) { clock_ns_ = std::max(clock_ns_, to_ns); }

  bool initialized() const { return initialized_; }
  void initialize();
  // From now on the process has these dies alone, numbered in this order.
  void leave(const std::vector<int>& dies) {
    config_.visible = dies;
    config_.dies = static_cast<int>(dies.size());
  }
  void deinitialize();
  void forked();  // in the child

  void remap_check(const Mapping& mapping, const char* what);
  Audit audit();
  void write_audit();
  std::uint64_t new_id() { return ++last_id_; }

 private:
  void start_threads();
  void tick();
  void host_functions();
  void give_way(std::uint64_t fruitless);
  CUresult fault_for(const Row& called);

  Config config_;
  std::uint64_t number_;
  std::mutex mutex_;
  std::condition_variable work_;
  Memory memory_;
  Scheduler scheduler_;
  std::unordered_map<CUcontext, std::unique_ptr<Context>> contexts_;
  std::array<Primary, dies_max> primaries_;
  std::unordered_map<CUstream, std::shared_ptr<Stream>> stream_handles_;
  std::unique_ptr<Objects> objects_;
  std::vector<std::uint64_t> calls_;
  std::vector<std::uint64_t> fault_calls_;
  std::uint64_t calls_total_ = 0;
  std::vector<std::string> violations_;
  std::uint64_t clock_ns_ = 0;
  std::uint64_t last_id_ = 0;
  bool initialized_ = false;
  bool deinitialized_ = false;
  bool forked_ = false;
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace barswap::sim

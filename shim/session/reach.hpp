// Reach: which addresses an operation names, read from the parameters of its launch. What a kernel
// finds through pointers in device memory is not seen: reach is advice for placing pages and never
// a licence to move one, unless the policy says so (paging.overlap = "reach").
//
// It owns what executable graphs name, guarded by Rank::reach, and hands what it finds to the
// pager's counters, to foresight and to the trace. What a [[kernel]] rule says of a kernel's reach
// counts where moves depend on it. It is asked only while one of them wants to know.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "memory/memory.hpp"
#include "pager/pager.hpp"
#include "session/foresight.hpp"
#include "session/layouts.hpp"
#include "session/router.hpp"
#include "trace/trace.hpp"

namespace barswap::session {

struct Launch {
  driver::Function function = driver::Function::none;
  // As cuLaunchKernel takes them: one of the two lists, or neither.
  void* const* parameters = nullptr;
  void* const* extra = nullptr;
  // For the trace: what tells one use of the function from another.
  std::uint64_t block = 0, grid = 0;  // threads, blocks
  std::uintptr_t stream = 0;
  // What it is submitted to (never 0), and that something ties it to its own context.
  driver::Stream behind = driver::Stream::none;
  bool tied = false;
};

class Reach {
 public:
  // `options` outlives it.
  // `router`: null where launches are not routed.
  Reach(const driver::Verbs& verbs, const memory::Memory& memory, pager::Pager& pager,
        Foresight& foresight, const policy::Options& options, Router* router)
      : verbs_(verbs),
        memory_(memory),
        pager_(pager),
        heat_(pager.heat()),
        foresight_(foresight),
        options_(options),
        router_(router) {}
  Reach(const Reach&) = delete;
  Reach& operator=(const Reach&) = delete;

  bool wanted() const {
    return heat_.watching() || trace::on() || pager::Veil::current() != nullptr;
  }
  // What is told is declared for the submission that follows (session::declared_names), if somebody
  // asks. Answers what the launch is to be timed for; below as well.
  // `names`: filled, where launches are routed.
  Timing launch(const Launch& launch, RouteNames* names = nullptr);
  // Nodes of a graph that are launched as one. False in `known`: of some nobody could say what they
  // name.
  struct Together {
    std::vector<driver::GraphWork> work;
    bool known = true;
  };
  Timing launch_together(const Together& nodes, std::uintptr_t stream);
  // What a kernel names of what could change places.
  std::vector<policy::RangeId> large_ranges(const driver::GraphWork& kernel);
  // `host`: what the call names as memory of the host, if it does.
  void copy(Address to, Address from, std::uint64_t bytes, std::uintptr_t stream, bool blocks,
            Address host);
  void set(Address to, std::uint64_t bytes);
  // A graph was made executable from `graph`, or updated from it; `exec` is its handle. What it
  // names is counted at each of its launches.
  void graph_made(std::uintptr_t exec, driver::Graph graph);
  // `routed`: its kernels go to their bytes (router.hpp).
  Timing graph_launched(std::uintptr_t exec, std::uintptr_t stream, bool routed);
  // What a kernel of a graph names, for routing.
  RouteNames route_names(driver::Function function, void* const* parameters, void* const* extra);
  void graph_gone(std::uintptr_t exec);
  // Handles of functions may become those of others.
  void functions_gone() { layouts_.forget(); }

 private:
  // Calls `take` with each word that a launch passes to its kernel. False: the driver cannot say
  // what that is.
  template <class Take>
  bool each_word(driver::Function function, void* const* parameters, void* const* extra, Take take);

  std::shared_ptr<const Layout> layout_of(driver::Function function);
  // The ranges behind addresses, each once.
  class Ranges;
  // Who wants to know what a kernel's parameters name.
  struct Asked {
    bool heats = false, names = false, declares = false;
    RouteNames* routed = nullptr;
  };
  bool read(driver::Function function, void* const* parameters, void* const* extra,
            const Asked& asked, Ranges& ranges);
  bool touches_everything(driver::Function function) const;
  void add(RouteNames& names, Address word) const;
  struct Named;
  void route_graph(const Named& named);
  // What lies on dies alone takes no turns.
  bool foretells() const {
    return heat_.watching() && foresight_.wanted() && (!router_ || pager_.frames().host_needed());
  }
  std::optional<Sample> foretell(std::uint64_t site, std::uint64_t variant, Samples samples,
                                 const Ranges& ranges);
  trace::Where here(std::uintptr_t stream) const;

  const driver::Verbs& verbs_;
  const memory::Memory& memory_;
  pager::Pager& pager_;
  pager::Heat& heat_;
  Foresight& foresight_;
  const policy::Options& options_;
  Router* const router_;
  Layouts layouts_;

  Mutex<Rank::reach> mutex_;
  struct Named {
    std::uint64_t operations = 0;
    std::vector<std::pair<Address, std::uint32_t>> times;  // how often each address is named
  };
  std::unordered_map<std::uintptr_t, std::shared_ptr<const Named>> graphs_
      BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

// Reach: which addresses an operation names, read from the parameters of its launch. What a kernel
// finds through pointers in device memory is not seen: reach is advice for placing pages and never
// a licence to move one.
//
// It owns the layouts of kernels' parameters, guarded by Rank::reach, and hands what it finds to
// the pager's counters. It is asked only while those count.
#pragma once
#include <cstdint>
#include <map>
#include <memory>
#include <unordered_map>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"
#include "pager/pager.hpp"

namespace barswap::session {

class Reach {
 public:
  Reach(const driver::Verbs& verbs, pager::Heat& heat) : verbs_(verbs), heat_(heat) {}
  Reach(const Reach&) = delete;
  Reach& operator=(const Reach&) = delete;

  bool wanted() const { return heat_.watching(); }
  // As cuLaunchKernel takes them: one of the two lists, or neither.
  void launch(driver::Function function, void* const* parameters, void* const* extra);
  void copy(Address to, Address from);
  // A graph was made executable from `graph`, or updated from it; `exec` is its handle. What it
  // names is counted at each of its launches.
  void graph_made(std::uintptr_t exec, driver::Graph graph);
  void graph_launched(std::uintptr_t exec);
  void graph_gone(std::uintptr_t exec);
  // A module or library goes: its handles may come back as those of other kernels.
  void forget_functions();

 private:
  using Layout = std::vector<std::uint32_t>;  // the size of each parameter
  const Layout* layout_of(driver::Function function);
  // Calls `named` with each word that a launch passes to its kernel.
  template <class Take>
  void each_word(driver::Function function, void* const* parameters, void* const* extra,
                 Take take);

  const driver::Verbs& verbs_;
  pager::Heat& heat_;

  Mutex<Rank::reach> mutex_;
  // Null: the driver cannot say. The layouts themselves stay for good, each once: a launch may be
  // reading one while its kernel is unloaded by another thread.
  std::unordered_map<std::uintptr_t, const Layout*> known_ BARSWAP_GUARDED_BY(mutex_);
  std::map<Layout, bool> layouts_ BARSWAP_GUARDED_BY(mutex_);
  struct Named {
    std::uint64_t operations = 0;
    std::vector<std::pair<Address, std::uint32_t>> times;  // how often each address is named
  };
  std::unordered_map<std::uintptr_t, std::shared_ptr<const Named>> graphs_
      BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::session

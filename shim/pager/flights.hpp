// Flights: what submitted work may still touch, as far as it says what it names. Only for
// paging.overlap = "reach": there some ranges are moved while work that does not name them goes on.
//
// Time is cut into epochs. Whoever submits work does it inside the gate and marks what it names
// with the epoch under way; work that cannot say what it names counts as naming everything. An
// epoch ends, and a proof is recorded that it and all before it are done, while the gate is closed
// for an instant; so a range is at rest once the last epoch that named it is known to be done.
//
// While a range is held, work that names it leaves the gate again and waits until the hold ends. A
// hold is set before the gate is closed for that instant: whoever was inside earlier belongs to the
// epoch that ends there, and whoever enters later sees the hold.
//
// A range of which a page is mapped to nothing between turns is absent: work that names it leaves
// the gate as well, and comes back once the pager has mapped the range again (absent.cpp).
//
// It owns the marks. The mover's side is called under Rank::mover; the submitters' side takes no
// lock. It never calls the driver.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <span>
#include <vector>

#include "barswap/units.hpp"
#include "pager/granules.hpp"

namespace barswap::pager {

// Kernels also take the end of a range, to walk it backwards, or an address before its first
// element: an address names what lies so near.
constexpr std::uint64_t kEdgeBytes = 2_MiB;

// What the work that is about to be submitted names: the bases of its large ranges.
class Names {
 public:
  static constexpr std::size_t kMost = 32;

  // Does not touch device memory, or none that could move.
  static constexpr Names nothing() {
    Names names;
    names.all_ = false;
    return names;
  }
  bool everything() const { return all_; }
  void add(Address base) {
    for (std::size_t i = 0; i < count_; ++i)
      if (bases_[i] == base) return;
    if (count_ == kMost) all_ = true;
    else bases_[count_++] = base;
  }
  void add_everything() { all_ = true; }
  void forget() {
    all_ = true;
    count_ = 0;
  }
  std::span<const Address> bases() const { return {bases_.data(), count_}; }

 private:
  bool all_ = true;
  std::uint32_t count_ = 0;
  std::array<Address, kMost> bases_{};
};

class Flights {
 public:
  Flights() = default;
  ~Flights() { stop(); }
  Flights(const Flights&) = delete;
  Flights& operator=(const Flights&) = delete;

  // Null while nobody asks: then submissions pay one load.
  static Flights* current() { return current_.load(std::memory_order_acquire); }
  void start();  // once
  void stop();

  // Addresses in here are ours from now on. Ranges without marks are never moved beside work.
  void cover(Address base, std::uint64_t bytes) { marks_.cover(base, bytes); }

  // Submitters, inside the gate. False: something that is named is held or absent; leave the gate,
  // wait() or have it mapped, and come back.
  bool board(const Names& names);
  // Why one was turned away: it is held, else absent.
  bool held(const Names& names) const;
  // Of a thread that was inside already and cannot wait.
  void name_everything();
  void wait() const;

  bool any_absent() const { return absents_.load(std::memory_order_acquire) != 0; }
  bool absent_for(const Names& names) const;

  bool knows(Address base) const { return marks_.of(value_of(base)) != nullptr; }
  // The mover. False: the range has no mark.
  bool hold(Address base);
  void let_go();  // of everything
  // The mover; the first while the range is held.
  void make_absent(Address base);
  void make_present(Address base);
  std::vector<Address> absent_of(const Names& names) const;
  // The gate is closed, and the proof of all work so far has been recorded.
  void depart() { epoch_.fetch_add(1, std::memory_order_relaxed); }
  // A proof that was recorded at the last departure, or later, is ready.
  void arrived() { done_ = epoch_.load(std::memory_order_relaxed) - 1; }
  // Nobody who was submitted before the last departure names it and may still run.
  bool at_rest(Address base) const;

 private:
  struct Mark {
    std::atomic<std::uint64_t> last{0};  // epoch; 0: never named
    std::atomic<std::uint32_t> held{0};
    std::atomic<std::uint32_t> absent{0};
  };

  static std::atomic<Flights*> current_;
  Granules<Mark> marks_;
  std::atomic<std::uint64_t> epoch_{1};
  std::atomic<std::uint64_t> everything_{0};  // the last epoch in which work named everything
  std::atomic<std::uint32_t> holds_{0};       // ranges held; waited for
  std::atomic<std::uint32_t> absents_{0};     // ranges of which a page is mapped to nothing
  std::uint64_t done_ = 0;
  std::vector<Address> absent_;  // the mover's
  std::array<std::atomic<std::uint32_t>*, 64> held_{};
};

}  // namespace barswap::pager

// Contexts: which contexts live, with the shim's own objects in each (streams for copies, events),
// how many captures live, and the proof that all submitted work has ended. Guards its list with
// Rank::proofs; a context dies only under Rank::mover, so that a drain may keep pointers to
// entries.
//
// The proof is cuCtxRecordEvent on every context, then a query: exact, and it never blocks. It is
// never made while a capture lives, because it would invalidate the program's capture.
#pragma once
#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

#include "barswap/mutex.hpp"
#include "driver/verbs.hpp"

namespace barswap::pager {

struct ContextEntry {
  driver::Context context = driver::Context::none;
  Die die{0};
  bool primary = false;
  bool ours = false;  // we made it, and nobody else submits work to it
  // The link carries both directions at once; the first also copies between dies.
  driver::Stream copier = driver::Stream::none, out_copier = driver::Stream::none;
  // How far the copies of a batch have come, in either direction, and how long those in took.
  static constexpr std::size_t kMarks = 8;
  std::array<std::array<driver::Event, kMarks>, 2> marks{};
  driver::Event printed = driver::Event::none;  // our kernels
  driver::Event drained = driver::Event::none;  // the drain's proof
  driver::Event quiet = driver::Event::none;    // the proof for freed memory
};

class Contexts {
 public:
  explicit Contexts(const driver::Verbs& verbs) : verbs_(verbs) {}

  bool known(driver::Context context) const;
  bool knows_primary(Die die) const;
  // Makes our objects; `context` must be current on this thread.
  enum class Owner : std::uint8_t { program, ours };
  Result<void> adopt(driver::Context context, Die die, bool primary,
                     Owner owner = Owner::program);
  // While the program's call may end the context: nobody uses our objects in it, no drain begins
  // and no proof completes, until it is forgotten or resumed. The caller holds Rank::mover. The
  // objects die with the context.
  void suspend(driver::Context context);
  void resume(driver::Context context);
  void forget(driver::Context context);

  std::size_t count() const;
  // The program's, if it has one there.
  std::optional<ContextEntry> on(Die die) const;
  // The program has one there, whatever we have.
  bool program_on(Die die) const;
  // The only one that the program has; none if it has several, or none.
  driver::Context only_one() const;
  std::vector<ContextEntry> all() const;
  // Without the lock, which may be held while the driver answers.
  bool any_on(Die die) const {
    return (dies_.load(std::memory_order_relaxed) >> index_of(die) & 1u) != 0;
  }

  // Captures. A begin is counted before the driver's call, so that a proof never meets a capture.
  void capture_begins(std::uintptr_t stream, driver::Context context);
  void capture_ends(std::uintptr_t stream);
  bool capturing() const;

  // The drain's proof: true once everything submitted before record_drain() has ended.
  Result<void> record_drain();
  Result<bool> drained() const;

  // Freed memory. A ticket passes once all work submitted before it was taken has ended.
  std::uint64_t ticket() const;
  bool passed(std::uint64_t ticket) const;
  // Looks at the outstanding proof. True: none is, and the next one is wanted.
  bool poll_quiet();
  // Starts the next proof; the gate is closed.
  void ask_quiet();
  // Within a drain, everything submitted so far has ended.
  void all_quiet();

 private:
  void note_dies() BARSWAP_REQUIRES(mutex_);
  Result<void> make_objects(ContextEntry& entry) const;
  void destroy_objects(const ContextEntry& entry) const;

  const driver::Verbs& verbs_;
  mutable Mutex<Rank::proofs> mutex_;
  std::atomic<std::uint32_t> dies_{0};  // a bit for each with a context, suspended ones too
  std::vector<ContextEntry> entries_ BARSWAP_GUARDED_BY(mutex_);
  std::vector<ContextEntry> suspended_ BARSWAP_GUARDED_BY(mutex_);
  struct Capture {
    std::uintptr_t stream;
    driver::Context context;  // current when it began; a capture ends with its context
  };
  std::vector<Capture> captures_ BARSWAP_GUARDED_BY(mutex_);
  std::uint64_t epoch_ BARSWAP_GUARDED_BY(mutex_) = 1;
  std::uint64_t passed_ BARSWAP_GUARDED_BY(mutex_) = 0;
  std::uint64_t asked_ BARSWAP_GUARDED_BY(mutex_) = 0;  // 0: no proof outstanding
};

}  // namespace barswap::pager

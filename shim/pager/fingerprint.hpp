// Fingerprints of device memory, by a kernel of our own: whether anybody wrote to a page while it
// was in HBM. Owns a module and a buffer of answers in each context that asked for them, and a
// random key, which lives as long as the process and is made at first use. It has no lock: the
// caller holds Rank::mover. It waits for nobody, but that loading may, and never looks at host
// memory but its own.
//
// What it owns belongs to its context and dies with it, like the objects of Contexts: nothing is
// given back to the driver when a context has ended, and a process that ends leaks all.
#pragma once
#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "driver/verbs.hpp"
#include "pager/fingerprint_words.hpp"

namespace barswap::pager {

struct Fingerprint {
  std::uint64_t words[2] = {};
  bool operator==(const Fingerprint&) const = default;
};

class Fingerprints {
 public:
  static constexpr std::size_t kMost = 64;  // pieces in flight in a context

  explicit Fingerprints(const driver::Verbs& verbs) : verbs_(verbs) {}
  Fingerprints(const Fingerprints&) = delete;
  Fingerprints& operator=(const Fingerprints&) = delete;

  // `context` is current, and captures do not judge this thread (RelaxedCapture). The first time it
  // loads what is needed; the driver may wait for the device then, so that it is to be idle, as in
  // a drain. False: there are none to be had in this context; that is not tried again.
  bool prepare(driver::Context context);
  bool known(driver::Context context) const { return find(context) != nullptr; }
  bool usable(driver::Context context) const;
  // Queues one piece on a stream of the context; nothing waits. `index` < kMost says where its
  // answer goes. `address` and `bytes` are multiples of 16. An error: not queued.
  Result<void> submit(driver::Context context, driver::Stream stream, std::size_t index,
                      Address address, std::uint64_t bytes);
  // Once the stream's work is seen to have ended without an error.
  Fingerprint answer(driver::Context context, std::size_t index) const;
  // The context has ended. Where Contexts::forget is called, and not when it is merely suspended.
  void forget(driver::Context context);

 private:
  using Partial = std::array<std::uint64_t, 2 * kFingerprintBlocks>;
  struct Entry {
    driver::Context context = driver::Context::none;
    driver::Function function = driver::Function::none;  // none: none are to be had here
    driver::HostBuffer answers;                          // kMost times Partial
  };
  bool make_key();
  Result<void> make_objects(Entry& entry) const;
  const Entry* find(driver::Context context) const;

  const driver::Verbs& verbs_;
  std::optional<FingerprintKey> key_;
  std::vector<Entry> entries_;
  std::uint64_t submitted_ = 0;
};

}  // namespace barswap::pager

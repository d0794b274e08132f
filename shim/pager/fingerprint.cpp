#include "pager/fingerprint.hpp"

#include <sys/random.h>

#include "barswap/check.hpp"

extern const char barswap_fingerprint_ptx[];

namespace barswap::pager {

bool Fingerprints::make_key() {
  if (key_) return true;
  FingerprintKey key;
  // A process that starts before the system has gathered randomness does without fingerprints.
  if (getrandom(&key, sizeof key, GRND_NONBLOCK) != static_cast<ssize_t>(sizeof key)) return false;
  key_ = key;
  return true;
}

Result<void> Fingerprints::make_objects(Entry& entry) const {
  const driver::Module module = BARSWAP_TRY(verbs_.load(barswap_fingerprint_ptx));
  auto function = verbs_.function_in(module, "barswap_fingerprint");
  auto answers = function ? verbs_.make_host_buffer(kMost * sizeof(Partial))
                          : Result<driver::HostBuffer>(function.error());
  if (!answers) {
    verbs_.unload(module);
    return answers.error();
  }
  entry.function = *function;
  entry.answers = *answers;
  return {};
}

const Fingerprints::Entry* Fingerprints::find(driver::Context context) const {
  for (const Entry& entry : entries_)
    if (entry.context == context) return &entry;
  return nullptr;
}

bool Fingerprints::prepare(driver::Context context) {
  if (const Entry* known = find(context)) return known->function != driver::Function::none;
  Entry entry;
  entry.context = context;
  const bool made = make_key() && make_objects(entry);
  entries_.push_back(entry);
  return made;
}

bool Fingerprints::usable(driver::Context context) const {
  const Entry* entry = find(context);
  return entry && entry->function != driver::Function::none;
}

Result<void> Fingerprints::submit(driver::Context context, driver::Stream stream,
                                  std::size_t index, Address address, std::uint64_t bytes) {
  const Entry* entry = find(context);
  if (!entry || entry->function == driver::Function::none || index >= kMost ||
      value_of(address) % kFingerprintReadBytes != 0 || bytes % kFingerprintReadBytes != 0)
    return Error{Fault::invalid};
  std::uint64_t data = value_of(address);
  std::uint64_t words = bytes / sizeof(std::uint64_t);
  std::uint64_t partial = value_of(entry->answers.address) + index * sizeof(Partial);
  // If the kernel never ran, the last answer here must not pass for its own.
  Partial& old = static_cast<Partial*>(entry->answers.memory)[index];
  old.fill(0);
  old[0] = ++submitted_;
  FingerprintKey key = *key_;
  void* parameters[] = {&data, &words, &key.a, &key.b, &partial};
  return verbs_.launch(entry->function, kFingerprintBlocks, kFingerprintThreads, stream,
                       parameters);
}

Fingerprint Fingerprints::answer(driver::Context context, std::size_t index) const {
  const Entry* entry = find(context);
  // A made-up answer might equal another one, and a page that was written would be lost.
  BARSWAP_CHECK(entry && entry->answers.memory && index < kMost);
  FingerprintSums sums;
  const Partial& partial = static_cast<const Partial*>(entry->answers.memory)[index];
  for (std::size_t i = 0; i < partial.size(); i += 2) sums.add({partial[i], partial[i + 1]});
  return {{sums.a, sums.b}};
}

void Fingerprints::forget(driver::Context context) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.context == context; });
}

}  // namespace barswap::pager

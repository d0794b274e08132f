#include "base/environment.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>

namespace barswap {
namespace {

const char* read(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

Environment read_all() {
  Environment all;
  all.policy = read("BARSWAP_POLICY");
  all.set = read("BARSWAP_SET");
  all.log = read("BARSWAP_LOG");
  all.log_file = read("BARSWAP_LOG_FILE");
  all.trace = read("BARSWAP_TRACE");
  all.trace_times = std::strcmp(read("BARSWAP_TRACE_TIMES"), "1") == 0;
  all.verify = read("BARSWAP_VERIFY");
  const char* chaos = read("BARSWAP_CHAOS");
  all.chaos = *chaos != '\0';
  all.chaos_seed = std::strtoull(chaos, nullptr, 10);
  all.disable = std::strcmp(read("BARSWAP_DISABLE"), "1") == 0;
  all.one_die = read(kOneDie);
  all.config_home = read("XDG_CONFIG_HOME");
  all.home = read("HOME");
  all.runtime_dir = read("XDG_RUNTIME_DIR");
  all.injection = read("CUDA_INJECTION64_PATH");
  return all;
}

// Written by whoever comes first; every writer writes the same values, so a race is harmless and no
// lock is needed where a lock could deadlock.
std::atomic<int> state{0};
Environment stored;

}  // namespace

const Environment& environment() {
  if (state.load(std::memory_order_acquire) == 2) return stored;
  int expected = 0;
  if (state.compare_exchange_strong(expected, 1, std::memory_order_acq_rel)) {
    stored = read_all();
    state.store(2, std::memory_order_release);
  } else {
    while (state.load(std::memory_order_acquire) != 2) {
    }
  }
  return stored;
}

const char* visible_dies() { return std::getenv(kVisibleDies); }

}  // namespace barswap

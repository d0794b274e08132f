#include "interpose/lookup.hpp"

#include <dlfcn.h>

#include "interpose/resolver.hpp"
#include "interpose/rows.hpp"
#include "interpose/thunk.hpp"

namespace barswap::interpose {

constinit std::atomic<const void*> adopted_base{nullptr};
constinit std::atomic<bool> second_copy_seen{false};

bool adopt_base(const Object& object) {
  const void* base = adopted_base.load(std::memory_order_acquire);
  if (base == object.base) return true;
  // A copy that the program closed before its first call was only a probe.
  const bool gone =
      base && !adopted_api.load(std::memory_order_acquire) && object_at(base).base != base;
  if (base && !gone) {
    second_copy_seen.store(true, std::memory_order_relaxed);
    return false;
  }
  return adopted_base.compare_exchange_strong(base, object.base) || base == object.base;
}

}  // namespace barswap::interpose

// Inside dlsym: no allocation, no lock of ours, no log, no start-up. Returns what the program gets
// instead of the real answer, or null for "ask the real one".
extern "C" [[gnu::visibility("hidden")]] void* barswap_lookup(void* handle, const char* name,
                                                               const void* caller) noexcept {
  using namespace barswap::interpose;
  barswap_find_loader();
  // Scope lookups find our exports by themselves, and their meaning depends on the caller.
  if (handle == RTLD_DEFAULT || handle == RTLD_NEXT || !name) return nullptr;
  const Owner owner = owner_of(name);
  if (owner == Owner::none || is_driver_side(object_at(caller))) return nullptr;
  const Row row = row_named(name);
  if (row.name && !row.wrapper) return nullptr;
  if (!row.name && owner == Owner::nvml) return nullptr;
  void* found = barswap_real_dlsym(handle, name);
  if (!found) return nullptr;
  const Object object = object_at(found);
  if (owner == Owner::nvml) return object.named("libnvidia-ml.so") ? row.wrapper : nullptr;
  if (!object.named(kDriverName) || !adopt_base(object)) return nullptr;
  if (row.name) return row.wrapper;
  return object.is_function ? thunk_for(name, found) : nullptr;
}

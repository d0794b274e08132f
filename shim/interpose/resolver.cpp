#include "interpose/resolver.hpp"

#include <dlfcn.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

#include "barswap/log.hpp"
#include "interpose/elf_image.hpp"
#include "interpose/loader.hpp"
#include "interpose/lookup.hpp"
#include "interpose/rows.hpp"
#include "interpose/thunk.hpp"

namespace barswap::interpose {

struct Exchange {
  const void* real;
  void* wrapper;  // null: handed out as it is
};

constexpr std::size_t kExchangesMax = 1024;

struct AdoptedDriver {
  driver::Api api;
  std::size_t count = 0;
  Exchange exchanges[kExchangesMax];  // sorted by real
};

constinit std::atomic<const driver::Api*> adopted_api{nullptr};

namespace {

constexpr const char* kDriverFile = "libcuda.so.1";

constinit const driver::Api no_driver{};

const AdoptedDriver* adopted_driver() {
  // The Api is the first member, so that the hot path needs one load.
  static_assert(offsetof(AdoptedDriver, api) == 0);
  return reinterpret_cast<const AdoptedDriver*>(adopted_api.load(std::memory_order_acquire));
}

// The copy that the program's own symbol binding would have used without us, or one that it opened.
Object find_loaded_driver() {
  // Not a tail call: RTLD_NEXT must mean "behind us".
  void* found = barswap_real_dlsym(RTLD_NEXT, "cuInit");
  if (const Object object = object_at(found); found && object.named(kDriverName)) return object;
  void* handle = dlopen(kDriverFile, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle) handle = dlopen(kDriverFile, RTLD_LAZY);
  link_map* map = nullptr;
  if (!handle || dlinfo(handle, RTLD_DI_LINKMAP, &map) != 0) return {};
  return object_at(map->l_ld);
}

void build(AdoptedDriver& driver, const ElfImage& image) {
  driver::fill(
      driver.api,
      [](void* state, const char* symbol) {
        return static_cast<const ElfImage*>(state)->find_function(symbol);
      },
      const_cast<ElfImage*>(&image));
  for (std::size_t i = 0; i < row_count() && driver.count < kExchangesMax; ++i) {
    const Row row = row_at(i);
    if (owner_of(row.name) != Owner::driver) continue;
    if (void* address = image.find_function(row.name))
      driver.exchanges[driver.count++] = {address, row.wrapper};
  }
  // Two names may share one address; then the name that we handle wins.
  std::sort(driver.exchanges, driver.exchanges + driver.count, [](Exchange a, Exchange b) {
    return a.real != b.real ? a.real < b.real : (a.wrapper != nullptr) > (b.wrapper != nullptr);
  });
}

void publish(const Object& object) {
  void* memory = mmap(nullptr, sizeof(AdoptedDriver), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return;
  auto* driver = ::new (memory) AdoptedDriver{};
  build(*driver, ElfImage(*object.map));
  const driver::Api* none = nullptr;
  if (!adopted_api.compare_exchange_strong(none, &driver->api, std::memory_order_acq_rel))
    munmap(memory, sizeof(AdoptedDriver));
}

}  // namespace

const driver::Api& adopt_driver() noexcept {
  barswap_find_loader();
  const void* base = adopted_base.load(std::memory_order_acquire);
  Object object = base ? object_at(base) : Object{};
  if (!object.named(kDriverName) || object.base != base) object = find_loaded_driver();
  if (!object.base || !object.named(kDriverName) || !adopt_base(object)) return no_driver;
  // We hold its addresses from now on, so it must not go away.
  dlopen(object.path, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
  publish(object);
  const driver::Api* api = adopted_api.load(std::memory_order_acquire);
  return api ? *api : no_driver;
}

CUresult code_for_missing() noexcept {
  return adopted_driver() ? CUDA_ERROR_NOT_FOUND : CUDA_ERROR_STUB_LIBRARY;
}

void* exchange(const char* name, void* address) noexcept {
  const AdoptedDriver* driver = adopted_driver();
  if (!driver) return address;
  const Exchange* end = driver->exchanges + driver->count;
  const Exchange* found = std::lower_bound(
      driver->exchanges, end, address,
      [](const Exchange& entry, const void* wanted) { return entry.real < wanted; });
  if (found != end && found->real == address) return found->wrapper ? found->wrapper : address;
  // In no row of ours. Only the adopted copy's functions can submit work to the dies we look after.
  if (!name || owner_of(name) != Owner::driver) return address;
  if (object_at(address).base != adopted_base.load(std::memory_order_relaxed)) return address;
  return thunk_for(name, address);
}

const void* real_address(const char* name) noexcept {
  const Object object = object_at(adopted_base.load(std::memory_order_acquire));
  return adopted_driver() && object.map ? ElfImage(*object.map).find_function(name) : nullptr;
}

void report_second_copy() noexcept {
  if (second_copy_seen.load(std::memory_order_relaxed))
    BARSWAP_LOG_ONCE(info, "interpose", "a second copy of libcuda is in use: its calls pass by us");
}

void* next_nvml(const char* name) noexcept {
  constexpr const char* kFile = "libnvidia-ml.so.1";
  barswap_find_loader();
  void* found = barswap_real_dlsym(RTLD_NEXT, name);
  if (found) return found;
  void* handle = dlopen(kFile, RTLD_LAZY | RTLD_NOLOAD);
  if (!handle) handle = dlopen(kFile, RTLD_LAZY);
  if (handle) found = barswap_real_dlsym(handle, name);
  return found;
}

}  // namespace barswap::interpose

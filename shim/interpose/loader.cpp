#include "interpose/loader.hpp"

#include <dlfcn.h>

#include <cstring>

#include "interpose/elf_image.hpp"

extern "C" {
void* (*barswap_real_dlsym)(void*, const char*) = nullptr;
void* (*barswap_real_dlopen)(const char*, int) = nullptr;
void* (*barswap_real_dlvsym)(void*, const char*, const char*) = nullptr;
}

namespace barswap::interpose {
namespace {

const link_map* our_map() {
  for (const link_map* map = _r_debug.r_map; map; map = map->l_next)
    if (map->l_ld == _DYNAMIC) return map;
  return nullptr;
}

// First behind us, as RTLD_NEXT would; then, in case we were opened late, everywhere else.
void* next_function(const char* name) {
  const link_map* ours = our_map();
  for (const link_map* map = ours ? ours->l_next : nullptr; map; map = map->l_next)
    if (void* found = ElfImage(*map).find_function(name)) return found;
  for (const link_map* map = _r_debug.r_map; map && map != ours; map = map->l_next)
    if (void* found = ElfImage(*map).find_function(name)) return found;
  return nullptr;
}

template <class F>
void publish(F& slot, const char* name) {
  if (__atomic_load_n(&slot, __ATOMIC_RELAXED)) return;
  void* found = next_function(name);
  __atomic_store_n(&slot, reinterpret_cast<F>(found), __ATOMIC_RELAXED);
}

const char* base_name_of(const char* path) {
  const char* slash = std::strrchr(path, '/');
  return slash ? slash + 1 : path;
}

}  // namespace

bool Object::named(const char* prefix) const {
  return base && std::strncmp(base_name_of(path), prefix, std::strlen(prefix)) == 0;
}

Object object_at(const void* address) {
  Dl_info info{};
  void* map = nullptr;
  // dladdr1 takes only the lock that dlsym itself takes.
  if (!dladdr1(address, &info, &map, RTLD_DL_LINKMAP)) return {};
  return {info.dli_fname ? info.dli_fname : "", info.dli_fbase, static_cast<const link_map*>(map),
          info.dli_saddr == address};
}

bool is_driver_side(const Object& object) {
  constexpr const char* kPrefixes[] = {
      "libcuda.so",     // looks itself up while it starts
      "libnvidia-",     // its compilers, NVML, codecs
      "libcudadebugger", "libcupti", "libnvperf", "libsanitizer-", "libInterceptor",
      "libToolsInjection", "libcuinj"};
  for (const char* prefix : kPrefixes)
    if (object.named(prefix)) return true;
  return false;
}

bool is_before_us(const Object& object) {
  // Backwards: what stands before us was there at the start and is never unloaded.
  const link_map* ours = our_map();
  for (const link_map* map = ours ? ours->l_prev : nullptr; map; map = map->l_prev)
    if (map == object.map) return true;
  return false;
}

}  // namespace barswap::interpose

void barswap_find_loader() noexcept {
  barswap::interpose::publish(barswap_real_dlsym, "dlsym");
  barswap::interpose::publish(barswap_real_dlopen, "dlopen");
  barswap::interpose::publish(barswap_real_dlvsym, "dlvsym");
}

// For a preload before us that asks for the loader behind it by version. Our exports have no
// version, and an explicit one passes over them, so we answer for ourselves.
extern "C" [[gnu::visibility("hidden")]] void* barswap_lookup_version(void* handle,
                                                                      const char* name,
                                                                      const char* version,
                                                                      const void* caller) noexcept {
  using namespace barswap::interpose;
  barswap_find_loader();
  if ((handle != RTLD_NEXT && handle != RTLD_DEFAULT) || !name || !version) return nullptr;
  void* ours = nullptr;
  if (same_text(name, "dlsym")) ours = reinterpret_cast<void*>(&dlsym);
  if (same_text(name, "dlvsym")) ours = reinterpret_cast<void*>(&dlvsym);
  if (same_text(name, "dlopen")) ours = reinterpret_cast<void*>(&dlopen);
  if (!ours || !is_before_us(object_at(caller))) return nullptr;
  return barswap_real_dlvsym(RTLD_DEFAULT, name, version) ? ours : nullptr;
}

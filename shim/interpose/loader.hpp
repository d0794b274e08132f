// The C library's loader as it was before us, and what it knows of loaded objects.
//
// The real functions are found by walking the objects behind ours in the order of loading, without
// a call: dlvsym may belong to another preload, which would then be taken for the caller. If
// another preload behind us has its own dlsym, that one is the real one: chains keep working.
#pragma once
#include <link.h>

extern "C" {
extern void* (*barswap_real_dlsym)(void* handle, const char* name);
extern void* (*barswap_real_dlopen)(const char* path, int flags);
extern void* (*barswap_real_dlvsym)(void* handle, const char* name, const char* version);
// Fills all three. Idempotent, lock-free, allocates nothing.
void barswap_find_loader() noexcept;
}

namespace barswap::interpose {

// The object that an address lies in.
struct Object {
  const char* path = "";
  const void* base = nullptr;  // null: none
  const link_map* map = nullptr;
  bool is_function = false;    // the address is the start of an exported function

  bool named(const char* prefix) const;  // whether the base name starts so
};
Object object_at(const void* address);

// Parts and tools of the driver. What they look up is theirs, not the program's.
bool is_driver_side(const Object& object);

// Whether an object stands before ours in the order of lookups: the program, or a preload above us.
bool is_before_us(const Object& object);

}  // namespace barswap::interpose

/* Another preload, with hooks of its own: dlsym, written in C and therefore not forwarding the
 * caller, and wayin_value, which calls the next one. Preloaded above or below Barswap. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

#define VISIBLE __attribute__((visibility("default")))
#ifdef __aarch64__
#define BASE_VERSION "GLIBC_2.17"
#else
#define BASE_VERSION "GLIBC_2.2.5"
#endif

static int lookups;

VISIBLE void *dlsym(void *handle, const char *name) {
  static void *(*next)(void *, const char *);
  if (!next) next = (void *(*)(void *, const char *))dlvsym(RTLD_NEXT, "dlsym", BASE_VERSION);
  if (!next || next == dlsym) abort();
  ++lookups;
  void *volatile found = next(handle, name);
  return found;
}

VISIBLE int wayin_value(void) {
  int (*next)(void) = (int (*)(void))dlsym(RTLD_NEXT, "wayin_value");
  if (!next || next == wayin_value) abort();
  return 10 + next();
}

VISIBLE int wayin_lookups(void) { return lookups; }

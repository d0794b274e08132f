/* Another preload above Barswap, whose dlopen goes straight to the C library: RTLD_DEEPBIND works.
 */
#include <dlfcn.h>

__attribute__((visibility("default"))) void *dlopen(const char *path, int flags) {
  static void *(*next)(const char *, int);
  if (!next) {
#ifdef __aarch64__
    next = (void *(*)(const char *, int))dlvsym(RTLD_NEXT, "dlopen", "GLIBC_2.17");
#else
    next = (void *(*)(const char *, int))dlvsym(RTLD_NEXT, "dlopen", "GLIBC_2.2.5");
#endif
    /* Behind us stands Barswap; behind Barswap the C library. */
    void *libc = next("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
    if (libc) next = (void *(*)(const char *, int))dlsym(libc, "dlopen");
  }
  return next(path, flags);
}

/* Opens a library that only its own RUNPATH finds: glibc reads it from the caller's object. */
#include <dlfcn.h>

__attribute__((visibility("default"))) int outer(void) {
  void *inner = dlopen("libwayin_inner.so", RTLD_NOW);
  int (*value)(void) = inner ? (int (*)(void))dlsym(inner, "inner") : 0;
  return value ? value() : -1;
}

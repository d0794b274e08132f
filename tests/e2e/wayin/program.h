/* What the small programs of this folder share. Each says on standard output what it saw; the
 * pytest beside them judges. */
#ifndef WAYIN_PROGRAM_H
#define WAYIN_PROGRAM_H
#include <cuda.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The base name of the object that an address lies in. */
static inline const char *home_of(const void *address) {
  Dl_info info;
  if (!address) return "null";
  if (!dladdr(address, &info) || !info.dli_fname) return "?";
  const char *slash = strrchr(info.dli_fname, '/');
  return slash ? slash + 1 : info.dli_fname;
}

static inline void say(const char *what, const void *address) {
  printf("%s=%s\n", what, home_of(address));
  fflush(stdout);
}

static inline void require(int truth, const char *what) {
  if (truth) return;
  fprintf(stderr, "failed: %s\n", what);
  exit(3);
}
#endif

/* Calls the bottom of the chain of interposers and looks functions up in every scope. */
#include "program.h"

int wayin_value(void);

int main(void) {
  printf("value=%d\n", wayin_value());
  int (*by_default)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "wayin_value");
  require(by_default != NULL, "RTLD_DEFAULT");
  printf("default=%d\n", by_default());
  /* The program is first in the search order, so its next is the first preload that has one. */
  int (*next)(void) = (int (*)(void))dlsym(RTLD_NEXT, "wayin_value");
  printf("next=%s\n", next == by_default ? "first preload" : "other");
  int (*lookups)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "wayin_lookups");
  printf("hooked=%s\n", lookups && lookups() > 0 ? "yes" : "no");
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  require(driver != NULL, "libcuda.so.1");
  say("cuMemAlloc_v2", dlsym(driver, "cuMemAlloc_v2"));
  return 0;
}

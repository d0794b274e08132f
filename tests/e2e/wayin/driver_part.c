/* Named like a part of the driver: what it looks up is the driver's own. */
#include "program.h"

__attribute__((visibility("default"))) const char *driver_part_finds(const char *name) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  return driver ? home_of(dlsym(driver, name)) : "none";
}

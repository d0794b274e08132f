/* Two objects look the same function up: a part of the driver, and this program. */
#include "program.h"

const char *driver_part_finds(const char *name);

int main(void) {
  printf("part=%s\n", driver_part_finds("cuMemAlloc_v2"));
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  say("program", dlsym(driver, "cuMemAlloc_v2"));
  return 0;
}

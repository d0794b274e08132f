/* Calls cuInit if the global scope has one, on a machine without a driver. */
#include "program.h"

int main(void) {
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  printf("dlopen=%s\n", driver ? "found" : "none");
  CUresult (*init)(unsigned) = (CUresult(*)(unsigned))dlsym(RTLD_DEFAULT, "cuInit");
  printf("cuInit=%d\n", init ? (int)init(0) : -1);
  puts("done");
  return 0;
}

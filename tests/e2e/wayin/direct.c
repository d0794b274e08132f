/* Linked against libcuda, as most programs on the driver API are. Built lazily bound, bound at
 * start and without a PLT. Prints each call's result. */
#include "program.h"

int main(void) {
  CUstream stream = NULL;
  CUdeviceptr address = 0;
  char bytes[16] = {0};
  say("cuInit", (const void *)&cuInit);
  printf("init=%d\n", cuInit(0));
  printf("stream=%d\n", cuStreamCreate(&stream, 0));
  printf("alloc=%d\n", cuMemAlloc(&address, sizeof(bytes)));
  printf("copy=%d\n", cuMemcpyHtoD(address, bytes, sizeof(bytes)));
  printf("sync=%d\n", cuCtxSynchronize());
  printf("free=%d\n", cuMemFree(address));
  puts("done");
  return 0;
}

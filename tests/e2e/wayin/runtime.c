/* On the CUDA runtime, shared or static. Without dies it fails as it would bare; what counts is
 * whom it resolved. */
#include <cuda_runtime_api.h>
#include <stdio.h>

int main(void) {
  int version = 0, devices = 0;
  printf("version=%d\n", (int)cudaDriverGetVersion(&version));
  printf("driver=%d\n", version);
  printf("count=%d\n", (int)cudaGetDeviceCount(&devices));
  void *memory = NULL;
  printf("malloc=%d\n", (int)cudaMalloc(&memory, 1024));
  return 0;
}

/* Built for a newer driver than it may meet: one function of each kind that a driver 11.0 lacks. */
#define __CUDA_API_VERSION_INTERNAL
#include "program.h"

int main(void) {
  CUstream stream = NULL;
  CUdeviceptr address = 0;
  printf("init=%d\n", cuInit(0));
  printf("hook=%d\n", cuMemAllocAsync(&address, 16, stream));
  printf("submit=%d\n", cuMemBatchDecompressAsync(NULL, 0, 0, NULL, stream));
  printf("retry=%d\n", cuGreenCtxStreamCreate(&stream, NULL, 0, 0));
  printf("sync=%d\n", cuCtxSynchronize_v2(NULL));
  printf("old=%d\n", cuStreamCreate(&stream, 0));
  return 0;
}

/* A plugin linked against libcuda. Its host opens it with RTLD_DEEPBIND. */
#include "program.h"

__attribute__((visibility("default"))) int run_plugin(void) {
  CUstream stream = NULL;
  say("plugin.cuStreamCreate", (const void *)&cuStreamCreate);
  return cuInit(0) == CUDA_SUCCESS ? (int)cuStreamCreate(&stream, 0) : -1;
}

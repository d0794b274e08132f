/* Resolves the driver as libraries do: dlopen of argv[1], dlsym by name, both cuGetProcAddress. */
#include "program.h"

typedef CUresult (*Init)(unsigned);
typedef CUresult (*Alloc)(CUdeviceptr *, size_t);
typedef CUresult (*Free)(CUdeviceptr);
typedef CUresult (*GetAddress)(const char *, void **, int, cuuint64_t);
typedef CUresult (*GetAddress2)(const char *, void **, int, cuuint64_t,
                                CUdriverProcAddressQueryResult *);
typedef CUresult (*Twelve)(long, long, long, long, long, long, long, long, long, long, long, long);
typedef double (*Mixed)(int, double, long, double, double, void *, double, double, float, double,
                        double, double, int, int, int, long, double);

static void call_unknown(const char *way, void *twelve, void *mixed) {
  printf("%s.twelve=%ld\n", way,
         (long)((Twelve)twelve)(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12));
  printf("%s.mixed=%.3f\n", way,
         ((Mixed)mixed)(1, 0.5, 2, 0.25, 3.5, (void*)3L, 4.25, 5.125, 6.5f, 7.75, 8.5, 9.25, 10, 11,
                        12, 13, 14.5));
}

int main(int argc, char **argv) {
  void *driver = dlopen(argc > 1 ? argv[1] : "libcuda.so.1", RTLD_NOW);
  require(driver != NULL, "dlopen");

  say("dlsym.cuInit", dlsym(driver, "cuInit"));
  say("dlsym.cuMemAlloc_v2", dlsym(driver, "cuMemAlloc_v2"));
  say("dlsym.cuMemAlloc", dlsym(driver, "cuMemAlloc"));                /* left alone: CUDA 2 */
  say("dlsym.cuDriverGetVersion", dlsym(driver, "cuDriverGetVersion")); /* left alone */
  say("dlsym.cuNothing", dlsym(driver, "cuNothing"));
  const char *error = dlerror();
  printf("dlerror=%s\n", error && strstr(error, "cuNothing") ? "names it" : "wrong");
  say("dlsym.cudnnCreate", dlsym(driver, "cudnnCreate"));
  say("dlsym.null", dlsym(NULL, "cuNothing"));

  GetAddress get = (GetAddress)dlsym(driver, "cuGetProcAddress");
  GetAddress2 get2 = (GetAddress2)dlsym(driver, "cuGetProcAddress_v2");
  say("dlsym.cuGetProcAddress_v2", (void *)get2);
  void *found = NULL;
  require(get2("", &found, 0, 0, NULL) == CUDA_SUCCESS, "the runtime's probe");
  require(get2("cuMemAlloc", &found, 12000, 0, NULL) == CUDA_SUCCESS, "cuMemAlloc");
  say("address2.cuMemAlloc", found);
  require(found == dlsym(driver, "cuMemAlloc_v2"), "one address on both ways");
  require(get2("cuMemAlloc", &found, 2000, 0, NULL) == CUDA_SUCCESS, "cuMemAlloc of CUDA 2");
  say("address2.cuMemAlloc.2000", found);
  require(get2("cuLaunchKernel", &found, 12000, CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM,
               NULL) == CUDA_SUCCESS, "cuLaunchKernel");
  require(found == dlsym(driver, "cuLaunchKernel_ptsz"), "the per-thread variant");
  CUdriverProcAddressQueryResult status = CU_GET_PROC_ADDRESS_SUCCESS;
  require(get2("cuNothing", &found, 12000, 0, &status) == CUDA_SUCCESS && !found &&
              status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND, "cuNothing by version 2");
  found = (void *)&status;
  require(get("cuNothing", &found, 12000, 0) == CUDA_ERROR_NOT_FOUND && found == (void *)&status,
          "cuNothing by version 1");
  require(get("cuMemFree", &found, 12000, 0) == CUDA_SUCCESS, "cuMemFree by version 1");
  say("address.cuMemFree", found);
  require(get2("cuGetProcAddress", &found, 12000, 0, NULL) == CUDA_SUCCESS, "itself");
  require(found == (void *)get2, "itself through itself");

  void *twelve = dlsym(driver, "cuTestTwelveWords"), *mixed = dlsym(driver, "cuTestMixed");
  if (twelve && mixed) {
    call_unknown("dlsym", twelve, mixed);
    say("dlsym.cuTestMixed", mixed);
    require(get2("cuTestTwelveWords", &found, 13000, 0, NULL) == CUDA_SUCCESS, "unknown");
    require(found == twelve, "one stub on both ways");
  }

  CUdeviceptr address = 0;
  require(((Init)dlsym(driver, "cuInit"))(0) == CUDA_SUCCESS, "cuInit");
  require(((Alloc)dlsym(driver, "cuMemAlloc_v2"))(&address, 4096) == CUDA_SUCCESS, "alloc");
  require(((Free)dlsym(driver, "cuMemFree_v2"))(address) == CUDA_SUCCESS, "free");
  puts("done");
  return 0;
}

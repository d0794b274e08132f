/* Reads lines "symbol api version flags" and says where dlsym and cuGetProcAddress_v2 find each. */
#include "program.h"

typedef CUresult (*GetAddress2)(const char *, void **, int, cuuint64_t,
                                CUdriverProcAddressQueryResult *);

int main(void) {
  char symbol[128], api[128];
  int version, flags;
  void *driver = dlopen("libcuda.so.1", RTLD_NOW);
  require(driver != NULL, "libcuda.so.1");
  GetAddress2 get = (GetAddress2)dlsym(driver, "cuGetProcAddress_v2");
  while (scanf("%127s %127s %d %d", symbol, api, &version, &flags) == 4) {
    void *by_name = dlsym(driver, symbol), *by_api = NULL;
    require(get(api, &by_api, version, (cuuint64_t)flags, NULL) == CUDA_SUCCESS, api);
    printf("%s %s %s\n", symbol, home_of(by_name), by_name == by_api ? "same" : home_of(by_api));
  }
  return 0;
}

#include "program.h"

struct memory {
  unsigned long long total, free, used;
};
typedef int (*GetMemory)(void *, struct memory *);

int main(void) {
  struct memory memory = {0, 0, 0};
  void *nvml = dlopen("libnvidia-ml.so.1", RTLD_NOW);
  require(nvml != NULL, "libnvidia-ml.so.1");
  GetMemory get = (GetMemory)dlsym(nvml, "nvmlDeviceGetMemoryInfo");
  say("memory", (void *)get);
  say("memory_v2", dlsym(nvml, "nvmlDeviceGetMemoryInfo_v2")); /* this one lacks it */
  say("uuid", dlsym(nvml, "nvmlDeviceGetUUID"));
  printf("wrong=%d\n", get(NULL, &memory));
  printf("right=%d\n", get(&memory, &memory));
  printf("sum=%llu\n", memory.free + memory.used - memory.total);
  return 0;
}

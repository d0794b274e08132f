/* A libnvidia-ml.so.1 with one die. */
#include <string.h>
#define VISIBLE __attribute__((visibility("default")))

struct memory {
  unsigned long long total, free, used;
};

VISIBLE int nvmlDeviceGetMemoryInfo(void *device, struct memory *answer) {
  if (!device) return 2; /* NVML_ERROR_INVALID_ARGUMENT */
  answer->total = 100;
  answer->free = 60;
  answer->used = 40;
  return 0;
}

VISIBLE int nvmlDeviceGetUUID(void *device, char *text, unsigned bytes) {
  if (!device || bytes < 41) return 2;
  strcpy(text, "GPU-00010203-0405-0607-0809-0a0b0c0d0e0f");
  return 0;
}

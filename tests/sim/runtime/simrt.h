/* A minimal runtime with names of its own. It finds the driver exactly as the real runtimes 12 and
 * 13 do: dlopen, dlsym of one function, and cuGetProcAddress_v2 for everything else. Plain C. */
#ifndef BARSWAP_SIMRT_H
#define BARSWAP_SIMRT_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The driver's result codes travel unchanged; these are the runtime's own. */
enum { RT_SUCCESS = 0, RT_NO_DRIVER = 10001, RT_NO_FUNCTION = 10002, RT_INTEGRITY = 103 };

typedef void *rtStream_t;
typedef void *rtEvent_t;
typedef enum { RT_HOST_TO_DEVICE = 1, RT_DEVICE_TO_HOST = 2, RT_DEVICE_TO_DEVICE = 3 } rtCopyKind;

int rtGetDeviceCount(int *count);
int rtSetDevice(int device);
int rtDeviceSynchronize(void);
int rtDeviceReset(void);
int rtGetMemInfo(size_t *free_bytes, size_t *total_bytes);
int rtMalloc(void **pointer, size_t bytes);
int rtMallocPitch(void **pointer, size_t *pitch, size_t width, size_t height);
int rtFree(void *pointer);
int rtMallocHost(void **pointer, size_t bytes);
int rtFreeHost(void *pointer);
int rtMemcpy(void *to, const void *from, size_t bytes, rtCopyKind kind);
int rtMemcpyAsync(void *to, const void *from, size_t bytes, rtCopyKind kind, rtStream_t stream);
int rtMemset(void *pointer, int value, size_t bytes);
int rtMemsetAsync(void *pointer, int value, size_t bytes, rtStream_t stream);
int rtStreamCreate(rtStream_t *stream);
int rtStreamDestroy(rtStream_t stream);
int rtStreamSynchronize(rtStream_t stream);
int rtEventCreate(rtEvent_t *event);
int rtEventRecord(rtEvent_t event, rtStream_t stream);
int rtEventSynchronize(rtEvent_t event);
int rtEventDestroy(rtEvent_t event);
/* Kernels come from images that the program registers, as the compiler's start-up code does. */
int rtRegisterImage(const void *image);
int rtLaunch(const char* name, unsigned blocks, unsigned threads, void** parameters,
             rtStream_t stream);
/* How many requests the driver answered with a function, and how many there were. */
int rtResolved(int *found, int *asked);

#ifdef __cplusplus
}
#endif
#endif

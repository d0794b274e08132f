/* Barswap's public interface for programs that want to know or to help. Plain C, no CUDA.
 *
 * A program needs none of this: preloading libbarswap.so is enough. Look the functions up with
 * dlsym(RTLD_DEFAULT, "barswap_version") and use them only if they are there. */
#ifndef BARSWAP_BARSWAP_H
#define BARSWAP_BARSWAP_H
#ifdef __cplusplus
extern "C" {
#endif

/* The version of the shim in this process, "0.1.0". Never null. */
const char *barswap_version(void);

/* 1 when device memory of this process is virtual VRAM, 0 when the shim stepped aside or cuInit has
 * not been called yet. */
int barswap_active(void);

/* The path of this process's statistics file (see stats.h), or an empty string when there is none.
 * The string lives as long as the process. */
const char *barswap_stats_path(void);

#ifdef __cplusplus
}
#endif
#endif

/* The layout of the record that a process under `barswap verify` keeps, one file for each process
 * in the folder that BARSWAP_VERIFY names. It is mapped and written in place, so that what a
 * process that dies in the middle last did is there to be read. Native byte order. Plain C. */
#ifndef BARSWAP_VERIFY_H
#define BARSWAP_VERIFY_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define BARSWAP_VERIFY_MAGIC 0x3159465652534242ull /* "BBSRVFY1" */
#define BARSWAP_VERIFY_VERSION 1u
#define BARSWAP_VERIFY_TEXT \
  16384u /* bytes of a name, cut short if longer, with a zero at its end */
#define BARSWAP_VERIFY_RANGES 8192u

enum barswap_verify_state {
  BARSWAP_VERIFY_WATCHING = 1, /* the process runs, or ended without telling */
  BARSWAP_VERIFY_ENDED = 2,    /* it ended in order */
  BARSWAP_VERIFY_FAULT = 3,    /* the work described last faulted; nothing is checked after it */
  BARSWAP_VERIFY_GAVE_UP = 4   /* `reason` says why nothing is checked any more */
};

/* A large range, as the work described last finds it. */
struct barswap_verify_range {
  uint64_t base, bytes; /* an address of device memory */
  uint64_t page_bytes;  /* of all pages but perhaps the last */
  uint64_t number;      /* how many allocations came before it */
  uint64_t hidden;      /* 1: mapped to nothing */
};

struct barswap_verify {
  uint64_t magic;
  uint32_t version;
  uint32_t size; /* of this struct */
  uint32_t pid;
  uint32_t state;
  uint64_t checked;  /* pieces of work that found only what they named, to their end */
  uint64_t open;     /* that found everything, since they could not say: graphs, shapes, rules */
  uint64_t captured; /* that found everything because a capture was live */
  uint64_t waited;   /* that found everything, at the start or later on, because work did not end */
  char reason[BARSWAP_VERIFY_TEXT];
  /* The work that was submitted last, unless it found everything because earlier work did not end:
   * then that earlier work. */
  char kernel[BARSWAP_VERIFY_TEXT]; /* its name, mangled if it is C++; empty: not a kernel */
  char site[BARSWAP_VERIFY_TEXT];   /* "FILE+0xOFFSET (SYMBOL)" of its caller; may be empty */
  uint32_t everything;              /* 1: it found all ranges */
  uint32_t range_count;             /* in `ranges`; more than these are never hidden */
  struct barswap_verify_range ranges[BARSWAP_VERIFY_RANGES];
};

#ifdef __cplusplus
}
#endif
#endif

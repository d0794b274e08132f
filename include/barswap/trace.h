/* The layout of a trace: what a program asked of device memory and what became of it, for
 * `barswap replay`. A file in native byte order: one header, then records to its end, each behind
 * the other. It is only ever appended to, so a process that is killed leaves a trace that ends
 * early, perhaps inside a record; a reader takes the whole records and says so. Records appear in
 * the order in which they were written down; times of different threads may differ from it by
 * microseconds.
 *
 * Every record begins with struct barswap_trace_record, whose `words` is the record's whole size in
 * units of 8 bytes; a reader skips kinds that it does not know. Sizes are in bytes, times in
 * nanoseconds since `start_ns` of the header. Plain C. */
#ifndef BARSWAP_TRACE_H
#define BARSWAP_TRACE_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define BARSWAP_TRACE_MAGIC 0x3143415254534242ull /* "BBSTRAC1" */
#define BARSWAP_TRACE_VERSION 1u
#define BARSWAP_TRACE_ANY_DIE 255 /* the writer does not know which */

struct barswap_trace_header {
  uint64_t magic;
  uint32_t version;
  uint32_t header_bytes; /* the first record begins here */
  uint64_t page_bytes;   /* of large ranges; the tail of one may be smaller */
  uint64_t start_ns;     /* CLOCK_MONOTONIC: zero of the records' times */
  uint64_t wall_ns;      /* CLOCK_REALTIME at the same instant */
  uint32_t pid;
  uint32_t reserved;
  char program[64]; /* base name of the executable, ended by a zero */
  uint64_t reserved_words[2];
};

/* Values of `kind`. A number is never given a second meaning. */
enum barswap_trace_kind {
  BARSWAP_TRACE_DIE = 1,     /* a die's limits and rates; the last one holds */
  BARSWAP_TRACE_RUN = 2,     /* pages came to life, or serve a new range */
  BARSWAP_TRACE_RUN_END = 3, /* they are no longer held by the program */
  BARSWAP_TRACE_ALLOC = 4,   /* a range, in the pages of a run */
  BARSWAP_TRACE_FREE = 5,
  BARSWAP_TRACE_LAUNCH = 6,
  BARSWAP_TRACE_GRAPH = 7, /* as LAUNCH: the union of what its nodes reach */
  BARSWAP_TRACE_COPY = 8,
  BARSWAP_TRACE_MEMSET = 9,
  BARSWAP_TRACE_SYNC = 10,
  BARSWAP_TRACE_MOVE = 11,
  BARSWAP_TRACE_DRAIN = 12, /* the gate was closed */
  BARSWAP_TRACE_TIMED = 13, /* how long a launch took on its die */
  BARSWAP_TRACE_LOST = 14,  /* records that are missing here */
  BARSWAP_TRACE_END = 15    /* the process ended in order; the header of the record alone */
};

struct barswap_trace_record {
  uint8_t kind;
  uint8_t die;     /* or BARSWAP_TRACE_ANY_DIE */
  uint16_t words;  /* of 8 bytes, this head included */
  uint32_t stream; /* a name, the same for the same stream; 0: none, or all */
  uint64_t time_ns;
};

struct barswap_trace_die {
  struct barswap_trace_record head;
  uint64_t budget_bytes; /* what pages may hold of the die */
  uint64_t host_limit_bytes;
  /* Bytes a second; 0: not known. */
  uint64_t copy_in_rate;  /* host to die, copy engine */
  uint64_t copy_out_rate;
  uint64_t in_place_rate; /* a kernel that reads host pages */
  uint64_t peer_rate;
  uint64_t local_rate;    /* a kernel that reads the die's own memory */
};

/* What a run is. The order is that of the pager's RunKind. */
enum barswap_trace_run_kind {
  BARSWAP_TRACE_PACKED = 0,
  BARSWAP_TRACE_SMALL = 1,
  BARSWAP_TRACE_LARGE = 2
};

/* One byte for each page follows: its tier, 0 hbm, 1 peer, 2 host; then zeroes to a whole word. */
struct barswap_trace_run {
  struct barswap_trace_record head;
  uint64_t run;   /* a number that no other living run has, counting up */
  uint64_t bytes;
  uint64_t page_bytes;
  uint32_t pages;
  uint8_t kind;   /* enum barswap_trace_run_kind */
  uint8_t place;  /* of the policy: 0 automatic, 1 resident, 2 stream */
  uint16_t reserved;
};

struct barswap_trace_run_end {
  struct barswap_trace_record head;
  uint64_t run;
};

struct barswap_trace_alloc {
  struct barswap_trace_record head;
  uint64_t bytes; /* as the program asked */
  uint64_t run;   /* whose pages it lies in; that of a packed range has others in it */
  uint64_t offset_bytes;
  uint32_t range; /* 1 to BARSWAP_TRACE_RANGE_MAX */
  uint32_t reserved;
};

struct barswap_trace_free {
  struct barswap_trace_record head;
  uint32_t range;
  uint32_t reserved;
};

/* A word that names a range: its number, and what is known of the use in the upper four bits. */
#define BARSWAP_TRACE_RANGE_MAX 0x0ffffffeu
#define BARSWAP_TRACE_EVERYTHING 0x0fffffffu /* in place of a range: nobody knows what is reached */
#define BARSWAP_TRACE_RANGE_OF(word) ((word) & 0x0fffffffu)
#define BARSWAP_TRACE_READS 0x10000000u  /* neither of these two: reads or writes, unknown */
#define BARSWAP_TRACE_WRITES 0x20000000u
#define BARSWAP_TRACE_SOME 0x40000000u   /* some of its pages, unknown which; else all of them */
#define BARSWAP_TRACE_HIDDEN 0x80000000u /* not by a parameter */

/* Words that name ranges follow to the end of the record; a zero at the end is padding. A launch
 * that names two ranges takes 40 bytes. */
struct barswap_trace_launch {
  struct barswap_trace_record head; /* time_ns: of the submission */
  uint64_t site;     /* the same for the same function and block, wherever it works */
  uint64_t variant;  /* and for the same grid as well */
};

enum barswap_trace_direction {
  BARSWAP_TRACE_TO_DIE = 1,
  BARSWAP_TRACE_TO_HOST = 2,
  BARSWAP_TRACE_ON_DIE = 3,
  BARSWAP_TRACE_TO_PEER = 4
};

/* COPY and MEMSET. Words that name ranges follow, as for a launch. */
struct barswap_trace_copy {
  struct barswap_trace_record head;
  uint64_t bytes;
  uint32_t direction; /* enum barswap_trace_direction; 0 for MEMSET */
  uint32_t blocking;  /* 1: the program waited for it in this call */
};

struct barswap_trace_sync {
  struct barswap_trace_record head; /* time_ns: when the program began to wait */
  uint64_t after_ns;
};

struct barswap_trace_move {
  struct barswap_trace_record head; /* time_ns: after the fact */
  uint64_t run;
  uint32_t page;
  uint8_t from; /* tiers */
  uint8_t to;
  uint8_t cause; /* as in stats.h: headroom, small and so on */
  uint8_t reserved;
};

struct barswap_trace_drain {
  struct barswap_trace_record head; /* time_ns: when the gate closed */
  uint64_t closed_ns;
};

struct barswap_trace_timed {
  struct barswap_trace_record head;
  uint64_t launch; /* how many LAUNCH and GRAPH records stand before the one that is meant */
  uint64_t device_ns;
};

struct barswap_trace_lost {
  struct barswap_trace_record head;
  uint64_t records;
};

#ifdef __cplusplus
}
#endif
#endif

/* The layout of the statistics file: one per process, memory-mapped, native byte order, version
 * checked by its reader. The shim writes with relaxed atomic stores and never waits for a reader; a
 * reader takes each 64-bit word as it finds it. The file lies in $XDG_RUNTIME_DIR/barswap, else in
 * /dev/shm/barswap-UID, is named PID.stats, and is allocated whole when made. Its process holds an
 * exclusive flock on it: a file that can be locked belongs to a process that has ended. Plain C. */
#ifndef BARSWAP_STATS_H
#define BARSWAP_STATS_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define BARSWAP_STATS_MAGIC 0x3153544154534242ull /* "BBSTATS1" */
#define BARSWAP_STATS_VERSION 5u
#define BARSWAP_STATS_DIES 16
#define BARSWAP_STATS_TIERS 3   /* hbm, peer, host */
#define BARSWAP_STATS_CAUSES 9  /* headroom, small, refill, hot, pin, pressure, chaos, turn,
                                   carry */
#define BARSWAP_STATS_EVENTS 256
#define BARSWAP_STATS_KEPT 10   /* enum barswap_kept */

enum barswap_state {
  BARSWAP_STATE_ACTIVE = 1,     /* device memory is virtual, pages may move */
  BARSWAP_STATE_PLACE_ONLY = 2, /* pages get a tier at birth and never move; see reason */
  BARSWAP_STATE_BYPASS = 3,     /* the program runs as if we were not there; see reason */
  BARSWAP_STATE_CLOSING = 4     /* the process is at its end */
};

/* Why a launch stayed on its own die though most of the bytes that it names lie on another one. */
enum barswap_kept {
  BARSWAP_KEPT_STATE = 0,     /* its kernel's module keeps globals, constants, printf, malloc */
  BARSWAP_KEPT_UNKNOWN = 1,   /* nobody can say what its module keeps */
  BARSWAP_KEPT_FUNCTION = 2,  /* a CUfunction, which belongs to one context */
  BARSWAP_KEPT_KIND = 3,      /* cooperative, or with attributes or on a stream that tie it */
  BARSWAP_KEPT_POLICY = 4,    /* a [[kernel]] rule */
  BARSWAP_KEPT_STREAMS = 5,   /* other streams had kernels under way, or other threads submitted */
  BARSWAP_KEPT_OUTSIDE = 6,   /* it names memory, or the program has some, out of the die's reach */
  BARSWAP_KEPT_CAPTURE = 7,   /* a capture lived */
  BARSWAP_KEPT_REFUSED = 8,   /* the driver refused it there */
  BARSWAP_KEPT_SMALL = 9      /* a change of die would have cost more than reading from afar */
};

/* All sizes in bytes. */
struct barswap_die_stats {
  uint8_t uuid[16];
  uint64_t vram_total;           /* physical */
  uint64_t limit;                /* vram.limit as it came out for this die */
  uint64_t budget;               /* what pages may hold of it now */
  uint64_t tier[BARSWAP_STATS_TIERS]; /* bytes of this die's ranges by tier */
  uint64_t small_hbm;            /* of these: packed pages and ranges under 32 MiB, in HBM */
  uint64_t small_host;           /* the same, on the host */
  uint64_t small_peer;           /* the same, in HBM of other dies */
  uint64_t large_hbm;
  uint64_t large_host;
  uint64_t large_peer;
  uint64_t lent;                 /* of this die's HBM: behind pages of other dies */
  uint64_t asked;                /* bytes the program asked for and holds */
  uint64_t asked_peak;
  uint64_t outside; /* device memory the driver keeps for the program: arrays, pools, handles */
  uint64_t pinned;
};

struct barswap_cause_stats {
  uint64_t pages_out;
  uint64_t bytes_out;
  uint64_t pages_in;
  uint64_t bytes_in;
};

struct barswap_event {
  uint64_t time_ns;  /* CLOCK_MONOTONIC; 0: empty */
  uint64_t sequence; /* counts up by one an event */
  uint64_t bytes;
  uint32_t kind;     /* enum barswap_event_kind */
  uint16_t cause;    /* index into causes */
  uint16_t die;
};

enum barswap_event_kind {
  BARSWAP_EVENT_MOVE_OUT = 1,
  BARSWAP_EVENT_MOVE_IN = 2,
  BARSWAP_EVENT_DRAIN_FAILED = 3,
  BARSWAP_EVENT_OUT_OF_MEMORY = 4,
  BARSWAP_EVENT_MOVES_OFF = 5
};

struct barswap_stats {
  uint64_t magic;
  uint32_t version;
  uint32_t size;                 /* of this struct */
  uint32_t pid;
  uint32_t state;                /* enum barswap_state */
  uint64_t start_time_ns;        /* CLOCK_REALTIME when made */
  char program[64];              /* base name of the executable */
  char reason[160];              /* why the state is not ACTIVE, or empty */
  char policy[160];              /* the policy files that took part */
  uint32_t dies;
  uint32_t page_bytes;
  uint64_t host_limit;           /* most the host tier may hold now */
  uint64_t host_bytes;           /* what it holds, prepared frames included */
  uint64_t host_prepared;        /* of these: frames ready and unused */
  uint64_t allocations;          /* calls that succeeded */
  uint64_t frees;
  uint64_t out_of_memory;        /* calls refused because every tier was full */
  uint64_t driver_retries;       /* driver calls repeated after making room */
  uint64_t drains;               /* that proved idleness */
  uint64_t drains_failed;        /* given up before the first unmap */
  uint64_t drain_ns;             /* time the gate was closed */
  uint64_t stalls;               /* submissions that waited: at the gate, for bytes, for a time */
  uint64_t stall_ns;
  uint64_t unknown_functions;    /* driver functions handed out through the gated thunk */
  uint64_t moves_off;            /* 1 after a sticky error or a failed batch */
  uint64_t host_copies;          /* of host_bytes: copies of pages in HBM, given up when needed */
  uint64_t clean_bytes;          /* left HBM for such a copy, without being copied */
  uint64_t beside_bytes;         /* came into HBM while other work ran (paging.overlap) */
  uint64_t routed;               /* launches that ran on another die than they were launched on */
  uint64_t die_changes;          /* of a chain of launches, each with two calls for events */
  uint64_t kept[BARSWAP_STATS_KEPT]; /* see enum barswap_kept */
  uint64_t reserved[1];
  struct barswap_cause_stats causes[BARSWAP_STATS_CAUSES];
  struct barswap_die_stats die[BARSWAP_STATS_DIES];
  uint64_t event_count;          /* events ever; the newest is events[(event_count - 1) % EVENTS] */
  struct barswap_event events[BARSWAP_STATS_EVENTS];
};

#ifdef __cplusplus
}
#endif
#endif

/* Before GLIBC_2.33 the stat family were inline calls of versioned functions. Our headers are
 * newer, so the functions that they name stand here, on top of the old ones. Only in portable
 * builds. */
struct stat;

#ifdef __x86_64__
#define STAT_VERSION 1
#else
#define STAT_VERSION 0
#endif

int __xstat(int version, const char *path, struct stat *answer);
int __lxstat(int version, const char *path, struct stat *answer);
int __fxstat(int version, int file, struct stat *answer);
int __fxstatat(int version, int folder, const char *path, struct stat *answer, int flags);

/* With 64-bit offsets both names mean one struct on our architectures. */
#define BOTH(name, parameters, call)   \
  int name parameters;                 \
  int name parameters { return call; } \
  int name##64 parameters;             \
  int name##64 parameters { return call; }

BOTH(stat, (const char *path, struct stat *answer), __xstat(STAT_VERSION, path, answer))
BOTH(lstat, (const char *path, struct stat *answer), __lxstat(STAT_VERSION, path, answer))
BOTH(fstat, (int file, struct stat *answer), __fxstat(STAT_VERSION, file, answer))
BOTH(fstatat, (int folder, const char *path, struct stat *answer, int flags),
     __fxstatat(STAT_VERSION, folder, path, answer, flags))

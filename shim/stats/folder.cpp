#include "stats/folder.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace barswap::stats {
namespace {

bool ours(const struct stat& status) { return status.st_uid == geteuid(); }

// False when the place does not exist for us or its path is too long.
bool name_folder(Place place, const char* runtime_dir, char (&path)[kPathMax]) {
  int length = 0;
  if (place == Place::shared_memory) {
    length = snprintf(path, sizeof path, "/dev/shm/barswap-%u", static_cast<unsigned>(geteuid()));
  } else {
    struct stat status;
    if (runtime_dir[0] != '/' || stat(runtime_dir, &status) != 0 || !ours(status)) return false;
    length = snprintf(path, sizeof path, "%s/barswap", runtime_dir);
  }
  return length > 0 && static_cast<std::size_t>(length) < sizeof path;
}

bool same_file(int folder, const char* name, int descriptor) {
  struct stat by_name;
  struct stat by_descriptor;
  return fstatat(folder, name, &by_name, AT_SYMLINK_NOFOLLOW) == 0 &&
         fstat(descriptor, &by_descriptor) == 0 && by_name.st_ino == by_descriptor.st_ino &&
         by_name.st_dev == by_descriptor.st_dev;
}

const char* skip_digits(const char* text) {
  while (*text >= '0' && *text <= '9') ++text;
  return text;
}

}  // namespace

bool open_folder(Place place, const char* runtime_dir, bool create, Folder& folder) {
  if (!name_folder(place, runtime_dir, folder.path)) return false;
  if (create && mkdir(folder.path, 0700) != 0 && errno != EEXIST) return false;
  int descriptor = open(folder.path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (descriptor < 0) return false;
  struct stat status;
  if (fstat(descriptor, &status) != 0 || !ours(status) || (status.st_mode & 0777) != 0700) {
    close(descriptor);
    return false;
  }
  folder.descriptor = descriptor;
  return true;
}

void close_folder(Folder& folder) {
  if (folder.descriptor >= 0) close(folder.descriptor);
  folder.descriptor = -1;
}

bool is_stats_name(const char* name) {
  const char* rest = skip_digits(name);
  if (rest == name) return false;
  if (*rest == '-') {
    const char* number = rest + 1;
    rest = skip_digits(number);
    if (rest == number) return false;
  }
  return strcmp(rest, ".stats") == 0;
}

bool remove_if_ended(int folder, const char* name) {
  int file = openat(folder, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return false;
  // Between our open and our lock the name may have passed to a new process: compare before
  // removing.
  bool ended = flock(file, LOCK_EX | LOCK_NB) == 0 && same_file(folder, name, file) &&
               unlinkat(folder, name, 0) == 0;
  close(file);
  return ended;
}

int remove_ended(int folder) {
  // The raw system call, because opendir allocates from the program's heap. A second open
  // description keeps the caller's read position out of play.
  int listing = openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listing < 0) return 0;
  int removed = 0;
  alignas(dirent64) char buffer[4096];
  for (;;) {
    long length = syscall(SYS_getdents64, listing, buffer, sizeof buffer);
    if (length <= 0) break;
    for (long at = 0; at < length;) {
      const auto* entry = reinterpret_cast<const dirent64*>(buffer + at);
      if (is_stats_name(entry->d_name) && remove_if_ended(folder, entry->d_name)) ++removed;
      at += entry->d_reclen;
    }
  }
  close(listing);
  return removed;
}

bool file_size_allowed(std::size_t size) {
  rlimit limit;
  return getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY ||
         limit.rlim_cur >= size;
}

}  // namespace barswap::stats

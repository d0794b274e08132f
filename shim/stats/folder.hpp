// Where statistics files lie, and when one may be removed. The shim and the `barswap` command share
// these rules, so that both always look in the same place. Nothing here allocates or prints; every
// descriptor is close-on-exec.
#pragma once
#include <cstddef>

namespace barswap::stats {

// Long enough for any folder that we accept: a longer XDG_RUNTIME_DIR is passed over.
constexpr std::size_t kPathMax = 256;

// The two places, in order of preference: $XDG_RUNTIME_DIR/barswap, and /dev/shm/barswap-UID for
// processes without a session (services, containers).
enum class Place { runtime_dir, shared_memory };

struct Folder {
  int descriptor = -1;
  char path[kPathMax] = {};
};

// Opens the folder of `place`. It must be ours alone: a real folder (no symbolic link), owned by
// the effective user, of mode 0700, because others can write into /dev/shm. XDG_RUNTIME_DIR must
// belong to us as well: under sudo it may be another user's. `runtime_dir` is that variable's value
// or empty. With `create`, a missing folder is made.
bool open_folder(Place place, const char* runtime_dir, bool create, Folder& folder);
void close_folder(Folder& folder);

// Whether `name` is one that a statistics file can have: PID.stats, or PID-N.stats where another
// process of that number, in another pid namespace, took the first name.
bool is_stats_name(const char* name);

// Whether the process that made this file has ended: its lock, held for life, can be taken. Removes
// the file if so.
bool remove_if_ended(int folder, const char* name);

// Removes the files of all processes that have ended. Returns how many.
int remove_ended(int folder);

// Growing a file beyond RLIMIT_FSIZE raises a signal that would end the program.
bool file_size_allowed(std::size_t size);

}  // namespace barswap::stats

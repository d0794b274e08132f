#include "reading.hpp"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "base/environment.hpp"
#include "stats/folder.hpp"

namespace barswap::tools {
namespace {

// Word by word, because the writer goes on meanwhile.
void copy_words(barswap_stats& to, void* mapped) {
  auto* source = static_cast<std::uint64_t*>(mapped);
  auto* target = reinterpret_cast<std::uint64_t*>(&to);
  for (std::size_t i = 0; i < sizeof to / sizeof(std::uint64_t); ++i)
    target[i] = std::atomic_ref<std::uint64_t>(source[i]).load(std::memory_order_acquire);
}

std::string trouble_in(const barswap_stats& stats) {
  if (stats.magic != BARSWAP_STATS_MAGIC) return "is no statistics file, or not yet complete";
  if (stats.version != BARSWAP_STATS_VERSION || stats.size != sizeof(barswap_stats))
    return "has version " + std::to_string(stats.version) +
           " of the layout, and this command reads " + std::to_string(BARSWAP_STATS_VERSION) +
           "; use the `barswap` of that installation";
  return "";
}

void end_texts(barswap_stats& stats) {
  stats.program[sizeof stats.program - 1] = '\0';
  stats.reason[sizeof stats.reason - 1] = '\0';
  stats.policy[sizeof stats.policy - 1] = '\0';
  stats.dies = std::min<std::uint32_t>(stats.dies, BARSWAP_STATS_DIES);
}

Reading read_file(int folder, const std::string& path, const char* name) {
  Reading reading;
  reading.path = path;
  int file = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  struct stat status;
  constexpr auto kSize = static_cast<off_t>(sizeof(barswap_stats));
  if (file < 0 || fstat(file, &status) != 0 || status.st_size < kSize) {
    reading.trouble = "is no statistics file, or not yet complete";
  } else {
    void* mapped = mmap(nullptr, sizeof(barswap_stats), PROT_READ, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
      reading.trouble = std::string("cannot be read: ") + std::strerror(errno);
    } else {
      copy_words(reading.stats, mapped);
      munmap(mapped, sizeof(barswap_stats));
      reading.trouble = trouble_in(reading.stats);
      end_texts(reading.stats);
    }
  }
  if (file >= 0) close(file);
  return reading;
}

void read_folder(stats::Place place, int pid, std::vector<Reading>& all) {
  stats::Folder folder;
  if (!stats::open_folder(place, environment().runtime_dir, false, folder)) return;
  DIR* listing = fdopendir(dup(folder.descriptor));
  while (dirent* entry = listing != nullptr ? readdir(listing) : nullptr) {
    const char* name = entry->d_name;
    if (!stats::is_stats_name(name)) continue;
    // Read first: a file that turns out to be an ended process's is gone after the question.
    bool asked_for = std::atoi(name) == pid;
    Reading reading = read_file(folder.descriptor, std::string(folder.path) + "/" + name, name);
    reading.living = !stats::remove_if_ended(folder.descriptor, name);
    if (pid == 0 ? reading.living : asked_for) all.push_back(reading);
  }
  if (listing != nullptr) closedir(listing);
  stats::close_folder(folder);
}

}  // namespace

std::vector<Reading> read_all(int pid) {
  std::vector<Reading> all;
  read_folder(stats::Place::runtime_dir, pid, all);
  read_folder(stats::Place::shared_memory, pid, all);
  std::sort(all.begin(), all.end(),
            [](const Reading& a, const Reading& b) { return a.stats.pid < b.stats.pid; });
  return all;
}

}  // namespace barswap::tools

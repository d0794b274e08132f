// The statistics file: its folder's rules, its life, and what a fork leaves of it.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <doctest/doctest.h>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "stats/folder.hpp"
#include "stats/stats.hpp"

namespace stats = barswap::stats;
namespace fs = std::filesystem;
using barswap::Cause;
using barswap::Die;

namespace {

std::string runtime_dir;  // of this test alone; set before anything reads the environment

std::string folder_path() { return runtime_dir + "/barswap"; }

// Each case needs a process of its own, because a process opens its file once. The body returns 0
// or the number of the check that failed.
int in_child(const std::function<int()>& body) {
  pid_t child = fork();
  if (child == 0) _exit(body());
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<std::string> files() {
  std::vector<std::string> names;
  std::error_code missing;
  for (const auto& entry : fs::directory_iterator(folder_path(), missing))
    names.push_back(entry.path().filename());
  return names;
}

barswap_stats read_file(const std::string& path) {
  barswap_stats stats{};
  std::ifstream in(path, std::ios::binary);
  in.read(reinterpret_cast<char*>(&stats), sizeof stats);
  return stats;
}

struct FreshFolder {
  FreshFolder() { fs::remove_all(folder_path()); }
  ~FreshFolder() { fs::remove_all(folder_path()); }
};

bool opens(stats::Place place, const char* parent) {
  stats::Folder folder;
  bool opened = stats::open_folder(place, parent, true, folder);
  stats::close_folder(folder);
  return opened;
}

}  // namespace

TEST_CASE_FIXTURE(FreshFolder, "without a file the counters work all the same") {
  CHECK(in_child([] {
          stats::add(stats::live().allocations, 3);
          if (stats::live().allocations != 3) return 1;
          return std::strcmp(stats::path(), "") == 0 ? 0 : 2;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "the file is whole, private, locked, and keeps earlier counts") {
  CHECK(in_child([] {
          stats::add(stats::live().frees, 7);
          if (!stats::open_file("train")) return 1;
          std::string path = stats::path();
          if (path != folder_path() + "/" + std::to_string(getpid()) + ".stats") return 2;
          struct stat status;
          if (stat(path.c_str(), &status) != 0) return 3;
          if (status.st_size != sizeof(barswap_stats)) return 4;
          if (static_cast<std::size_t>(status.st_blocks) * 512 < sizeof(barswap_stats)) return 5;
          if ((status.st_mode & 0777) != 0600) return 6;
          int other = open(path.c_str(), O_RDWR | O_CLOEXEC);
          if (flock(other, LOCK_EX | LOCK_NB) == 0) return 7;
          stats::add(stats::live().frees, 1);
          barswap_stats seen = read_file(path);
          if (seen.magic != BARSWAP_STATS_MAGIC || seen.version != BARSWAP_STATS_VERSION) return 8;
          if (seen.size != sizeof(barswap_stats) || seen.frees != 8) return 9;
          if (seen.pid != static_cast<std::uint32_t>(getpid())) return 10;
          return std::string(seen.program) == "train" ? 0 : 11;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "an over-long program name is cut, not overrun") {
  CHECK(in_child([] {
          std::string name(500, 'x');
          if (!stats::open_file(name.c_str())) return 1;
          stats::set_state(BARSWAP_STATE_BYPASS, std::string(500, 'y').c_str());
          stats::set_policy(std::string(500, 'z').c_str());
          const barswap_stats& live = stats::live();
          if (strnlen(live.program, sizeof live.program) != sizeof live.program - 1) return 2;
          if (strnlen(live.reason, sizeof live.reason) != sizeof live.reason - 1) return 3;
          if (strnlen(live.policy, sizeof live.policy) != sizeof live.policy - 1) return 4;
          return live.start_time_ns != 0 && live.dies == 0 ? 0 : 5;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "the file of an ended process is removed by the next start") {
  CHECK(in_child([] {
          if (!stats::open_file("first")) return 1;
          raise(SIGKILL);
          return 2;
        }) == 128 + SIGKILL);
  REQUIRE(files().size() == 1);
  CHECK(in_child([] {
          if (!stats::open_file("second")) return 1;
          auto names = files();
          return names.size() == 1 && names[0] == std::to_string(getpid()) + ".stats" ? 0 : 2;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "the file of a living process stays") {
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  pid_t living = fork();
  if (living == 0) {
    char answer = stats::open_file("living") ? 'y' : 'n';
    if (write(ready[1], &answer, 1) != 1) _exit(1);
    for (;;) pause();
  }
  char answer = 'n';
  REQUIRE(read(ready[0], &answer, 1) == 1);
  CHECK(answer == 'y');
  stats::Folder folder;
  REQUIRE(stats::open_folder(stats::Place::runtime_dir, runtime_dir.c_str(), false, folder));
  CHECK(stats::remove_ended(folder.descriptor) == 0);
  CHECK(files().size() == 1);
  kill(living, SIGKILL);
  waitpid(living, nullptr, 0);
  CHECK(stats::remove_ended(folder.descriptor) == 1);
  CHECK(files().empty());
  stats::close_folder(folder);
  close(ready[0]);
  close(ready[1]);
}

TEST_CASE_FIXTURE(FreshFolder, "a name taken by another pid namespace gets a number") {
  CHECK(in_child([] {
          fs::create_directory(folder_path());
          fs::permissions(folder_path(), fs::perms::owner_all);
          std::string taken = folder_path() + "/" + std::to_string(getpid()) + ".stats";
          int holder = open(taken.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
          if (flock(holder, LOCK_EX) != 0) return 1;
          if (!stats::open_file("p")) return 2;
          std::string expected = folder_path() + "/" + std::to_string(getpid()) + "-1.stats";
          return stats::path() == expected ? 0 : 3;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "a file that cannot be whole is not made, and no signal is sent") {
  fs::create_directory(folder_path());
  fs::permissions(folder_path(), fs::perms::owner_all);
  CHECK(in_child([] {
          rlimit small{4096, 4096};
          setrlimit(RLIMIT_FSIZE, &small);
          if (stats::open_file("p")) return 1;
          stats::add(stats::live().allocations);
          return stats::live().allocations == 1 && files().empty() ? 0 : 2;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "a forked child writes nothing into its parent's file") {
  CHECK(in_child([] {
          if (!stats::open_file("parent")) return 1;
          std::string path = stats::path();
          barswap_stats& before = stats::live();
          stats::add(before.allocations, 5);
          int in_fork = in_child([&] {
            stats::forked_child();
            if (std::strcmp(stats::path(), "") != 0) return 1;
            if (before.allocations != 0) return 2;
            stats::add(before.allocations, 100);
            stats::event(BARSWAP_EVENT_MOVE_OUT, Cause::headroom, Die{0}, 1);
            return stats::live().allocations == 100 ? 0 : 3;
          });
          if (in_fork != 0) return 10 + in_fork;
          barswap_stats seen = read_file(path);
          return seen.allocations == 5 && seen.event_count == 0 ? 0 : 2;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "a child that outlives its parent does not keep the file alive") {
  CHECK(in_child([] {
          int done[2];
          if (pipe(done) != 0) return 1;
          pid_t parent = fork();
          if (parent == 0) {
            if (!stats::open_file("parent")) _exit(1);
            if (fork() == 0) {
              stats::forked_child();
              char byte;
              while (read(done[0], &byte, 1) < 0) {}
              _exit(0);
            }
            // The grandchild must have let go before we look.
            usleep(100000);
            _exit(0);
          }
          int status = 0;
          waitpid(parent, &status, 0);
          stats::Folder folder;
          stats::open_folder(stats::Place::runtime_dir, runtime_dir.c_str(), false, folder);
          int removed = stats::remove_ended(folder.descriptor);
          if (write(done[1], "x", 1) != 1) return 2;
          return status == 0 && removed == 1 ? 0 : 3;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "events come in order and the ring keeps the newest") {
  CHECK(in_child([] {
          for (std::uint64_t i = 0; i < BARSWAP_STATS_EVENTS + 10; ++i)
            stats::event(BARSWAP_EVENT_MOVE_IN, Cause::small, Die{3}, i);
          const barswap_stats& live = stats::live();
          if (live.event_count != BARSWAP_STATS_EVENTS + 10) return 1;
          const barswap_event& newest = live.events[(live.event_count - 1) % BARSWAP_STATS_EVENTS];
          if (newest.bytes != BARSWAP_STATS_EVENTS + 9 || newest.die != 3) return 2;
          if (newest.cause != static_cast<int>(Cause::small)) return 3;
          return newest.time_ns != 0 && newest.kind == BARSWAP_EVENT_MOVE_IN ? 0 : 4;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "threads lose no count") {
  CHECK(in_child([] {
          if (!stats::open_file("p")) return 1;
          constexpr int kThreads = 4;
          constexpr int kMoves = 5000;
          std::vector<std::thread> threads;
          for (int i = 0; i < kThreads; ++i) {
            threads.emplace_back([i] {
              for (int move = 0; move < kMoves; ++move) {
                stats::moved_out(Cause::headroom, Die{0}, 2);
                stats::raise_to(stats::of_die(Die{0}).asked_peak,
                                static_cast<std::uint64_t>(i * kMoves + move));
              }
            });
          }
          for (auto& thread : threads) thread.join();
          const barswap_cause_stats& counts = stats::live().causes[0];
          if (counts.pages_out != kThreads * kMoves) return 2;
          if (counts.bytes_out != 2 * kThreads * kMoves) return 3;
          if (stats::live().event_count != kThreads * kMoves) return 4;
          return stats::live().die[0].asked_peak == kThreads * kMoves - 1 ? 0 : 5;
        }) == 0);
}

TEST_CASE_FIXTURE(FreshFolder, "a folder that others could have prepared is refused") {
  using stats::Place;
  SUBCASE("a symbolic link") {
    fs::create_directory(runtime_dir + "/elsewhere");
    fs::permissions(runtime_dir + "/elsewhere", fs::perms::owner_all);
    fs::create_directory_symlink(runtime_dir + "/elsewhere", folder_path());
    CHECK_FALSE(opens(Place::runtime_dir, runtime_dir.c_str()));
    fs::remove(folder_path());
    fs::remove(runtime_dir + "/elsewhere");
  }
  SUBCASE("readable by others") {
    fs::create_directory(folder_path());
    fs::permissions(folder_path(), fs::perms::owner_all | fs::perms::others_read);
    CHECK_FALSE(opens(Place::runtime_dir, runtime_dir.c_str()));
  }
  SUBCASE("no folder at all") {
    std::ofstream(folder_path()) << "a file";
    CHECK_FALSE(opens(Place::runtime_dir, runtime_dir.c_str()));
  }
  SUBCASE("a relative, missing or over-long XDG_RUNTIME_DIR") {
    CHECK_FALSE(opens(Place::runtime_dir, ""));
    CHECK_FALSE(opens(Place::runtime_dir, "tmp"));
    CHECK_FALSE(opens(Place::runtime_dir, (runtime_dir + "/nowhere").c_str()));
    std::string deep = runtime_dir;
    while (deep.size() < stats::kPathMax) deep += "/.";
    CHECK_FALSE(opens(Place::runtime_dir, deep.c_str()));
  }
  SUBCASE("a good one") { CHECK(opens(Place::runtime_dir, runtime_dir.c_str())); }
}

TEST_CASE_FIXTURE(FreshFolder, "only our own file names are ever removed") {
  CHECK(stats::is_stats_name("1.stats"));
  CHECK(stats::is_stats_name("4194304-12.stats"));
  for (const char* other : {"", ".stats", "-1.stats", "1-.stats", "1.stats.txt", "a.stats",
                            "1stats", "1-2-3.stats", "stats"})
    CHECK_FALSE(stats::is_stats_name(other));

  fs::create_directory(folder_path());
  fs::permissions(folder_path(), fs::perms::owner_all);
  std::ofstream(folder_path() + "/notes.txt") << "mine";
  std::ofstream(folder_path() + "/99.stats") << "";
  fs::create_symlink(folder_path() + "/notes.txt", folder_path() + "/98.stats");
  stats::Folder folder;
  REQUIRE(stats::open_folder(stats::Place::runtime_dir, runtime_dir.c_str(), false, folder));
  CHECK(stats::remove_ended(folder.descriptor) == 1);
  CHECK(fs::exists(folder_path() + "/notes.txt"));
  CHECK(fs::is_symlink(folder_path() + "/98.stats"));
  stats::close_folder(folder);
}

int main(int argc, char** argv) {
  char made[] = "/tmp/barswap-stats-XXXXXX";
  if (mkdtemp(made) == nullptr) return 1;
  runtime_dir = made;
  setenv("XDG_RUNTIME_DIR", made, 1);
  doctest::Context context(argc, argv);
  int failed = context.run();
  fs::remove_all(runtime_dir);
  return failed;
}

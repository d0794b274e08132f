// The file by which processes that choose a die hear of each other, and what may be found in its
// place.
#include "dies/claims.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <set>

#include "base/clock.hpp"

namespace barswap::dies {
namespace {

namespace fs = std::filesystem;

constexpr const char* kFirst = "GPU-51515151-5151-5151-5151-515151515100";
constexpr const char* kSecond = "GPU-51515151-5151-5151-5151-515151515101";

// A runtime folder of one test, and the file in it.
struct Place {
  std::string folder;
  Place() {
    std::string pattern = fs::temp_directory_path() / "claims.XXXXXX";
    folder = mkdtemp(pattern.data());
    fs::create_directory(folder + "/barswap");
    fs::permissions(folder + "/barswap", fs::perms::owner_all);
  }
  ~Place() { fs::remove_all(folder); }
  std::string path() const { return folder + "/barswap/claims"; }
  void write(const std::string& text) const { std::ofstream(path(), std::ios::binary) << text; }
  std::string text() const {
    std::ifstream file(path(), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  }
  std::vector<Claim> living() const { return Claims(folder.c_str()).living(); }
  std::string last() const { return Claims(folder.c_str()).last(); }
};

// A process that does `work` and then lives for as long as this does.
class Neighbour {
 public:
  explicit Neighbour(const std::function<void()>& work) {
    int ready[2];
    REQUIRE(pipe(ready) == 0);
    pid_ = fork();
    if (pid_ == 0) {
      work();
      close(ready[0]);
      close(ready[1]);
      while (true) pause();
    }
    close(ready[1]);
    char none;
    CHECK(read(ready[0], &none, 1) == 0);
    close(ready[0]);
  }
  ~Neighbour() { end(); }
  Neighbour(const Neighbour&) = delete;
  Neighbour& operator=(const Neighbour&) = delete;
  void kill() { ::kill(pid_, SIGKILL); }
  void end() {
    if (pid_ <= 0) return;
    kill();
    waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = 0;
};

TEST_CASE("claims are written as lines, and what is none is passed over") {
  const std::vector<Claim> two = {{kFirst, 12, 345, 6789}, {kSecond, 2147483647, 0, ~0ull}};
  CHECK(read_claims(write_claims(two)) == two);
  const std::string good = write_claims({two[0]});
  for (const char* bad :
       {"", "\n", "GPU-51\n", "GPU-51 1 2\n", "GPU-51 1 2 3 4\n", "GPU-51 0 2 3\n",
        "GPU-51 -1 2 3\n", "GPU-51 1 2 3", "GPU-51 99999999999 2 3\n", "gpu 1 2 3\n",
        "GPU-51 1 2 0x3\n", "GPU-XY 1 2 3\n", "GPU-51  1 2 3\n",
        "GPU-5151515151515151515151515151515151515151515151515 1 2 3\n"}) {
    CAPTURE(bad);
    CHECK(read_claims(bad).empty());
    CHECK(read_claims(good + bad).size() == 1);
  }
  CHECK(read_claims(std::string(70000, '\0') + "\n" + good).size() == 1);
  CHECK(read_claims("\xff\xfe \n" + good) == std::vector<Claim>{two[0]});
}

TEST_CASE("a process that lives has a start, one that has ended has none") {
  CHECK(started_at(getpid()));
  CHECK(started_at(getpid()) == started_at(getpid()));
  Neighbour other([] {});
  const pid_t pid = other.pid();
  CHECK(started_at(pid));
  // Nobody has heard of its end yet; it holds nothing any more.
  other.kill();
  siginfo_t info;
  REQUIRE(waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT) == 0);
  CHECK_FALSE(started_at(pid));
  other.end();
  CHECK_FALSE(started_at(pid));
  CHECK_FALSE(started_at(0));
}

TEST_CASE_FIXTURE(Place, "a claim is heard of for as long as its process lives") {
  CHECK(living().empty());
  CHECK(last().empty());
  Neighbour first([&] { Claims(folder.c_str()).add(kFirst); });
  Neighbour second([&] { Claims(folder.c_str()).add(kSecond); });
  auto claims = living();
  REQUIRE(claims.size() == 2);
  CHECK((claims[0].uuid == kFirst && claims[0].pid == first.pid()));
  CHECK((claims[1].uuid == kSecond && claims[1].pid == second.pid()));
  CHECK(claims[0].when_ns <= claims[1].when_ns);
  CHECK(claims[1].when_ns <= now_ns());
  CHECK(last() == kSecond);
  second.end();
  CHECK(living().size() == 1);
  // In turns the next die comes after that of a process that is gone.
  CHECK(last() == kSecond);
  Claims(folder.c_str()).add(kFirst);
  CHECK(read_claims(text()).size() == 2);
  CHECK(last() == kFirst);
  // One's own claim is none to be heard of, and a second one takes its place.
  CHECK(living().size() == 1);
  Claims(folder.c_str()).add(kSecond);
  CHECK(read_claims(text()).size() == 2);
}

TEST_CASE_FIXTURE(Place, "a number that came again is another process") {
  Neighbour other([] {});
  Claim claim{kFirst, other.pid(), *started_at(other.pid()), 1};
  write(write_claims({claim}));
  CHECK(living().size() == 1);
  ++claim.started;
  write(write_claims({claim}));
  CHECK(living().empty());
}

TEST_CASE_FIXTURE(Place, "garbage is replaced") {
  write("no claims at all\n\n\x01\x02 GPU-");
  CHECK(living().empty());
  Claims(folder.c_str()).add(kFirst);
  CHECK(read_claims(text()).size() == 1);
  CHECK(text() == write_claims(read_claims(text())));
  write(std::string(1 << 20, 'x'));
  CHECK(living().empty());
  Claims(folder.c_str()).add(kFirst);
  CHECK(text().size() < 200);
}

TEST_CASE_FIXTURE(Place, "those who choose at the same moment choose one after another") {
  std::vector<pid_t> children;
  int gate[2];
  REQUIRE(pipe(gate) == 0);
  for (int i = 0; i < 8; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      close(gate[1]);
      char none;
      if (read(gate[0], &none, 1) != 0) _exit(1);
      {
        Claims claims(folder.c_str());
        claims.add("GPU-" + std::to_string(claims.living().size()));
      }
      while (true) pause();
    }
    children.push_back(child);
  }
  close(gate[0]);
  close(gate[1]);
  std::set<std::string> uuids;
  for (int tries = 0; tries < 2000 && uuids.size() < 8; ++tries, sleep_ns(1'000'000)) {
    uuids.clear();
    for (const Claim& claim : read_claims(text())) uuids.insert(claim.uuid);
  }
  CHECK(uuids.size() == 8);
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
}

TEST_CASE_FIXTURE(Place, "a lock that nobody gives up is waited for, not for long") {
  Neighbour first([&] { Claims(folder.c_str()).add(kFirst); });
  const int held = open(path().c_str(), O_RDWR | O_CLOEXEC);
  REQUIRE(flock(held, LOCK_EX | LOCK_NB) == 0);
  const std::string before = text();
  const std::uint64_t start_ns = now_ns();
  {
    Claims claims(folder.c_str());
    const std::uint64_t waited_ns = now_ns() - start_ns;
    CHECK(waited_ns >= 150'000'000);
    CHECK(waited_ns < 2'000'000'000);
    // What stands there is known all the same; but only its holder may write.
    CHECK(claims.living().size() == 1);
    claims.add(kSecond);
  }
  CHECK(text() == before);
  close(held);
}

TEST_CASE_FIXTURE(Place, "what is not a file of ours is left alone") {
  const auto stays = [&] {
    Claims claims(folder.c_str());
    CHECK(claims.living().empty());
    claims.add(kFirst);
  };
  const std::string target = folder + "/target";
  std::ofstream(target) << "precious\n";
  fs::create_symlink(target, path());
  stays();
  CHECK(fs::file_size(target) == 9);
  fs::remove(path());
  REQUIRE(mkfifo(path().c_str(), 0600) == 0);
  stays();
  CHECK(fs::is_fifo(path()));
  fs::remove(path());
  fs::create_directory(path());
  stays();
  fs::remove(path());
  if (geteuid() != 0) return;
  write("");
  REQUIRE(chown(path().c_str(), 1, 1) == 0);
  stays();
  CHECK(text().empty());
}

TEST_CASE_FIXTURE(Place, "a process that may write no file is not ended by it") {
  Neighbour small([&] {
    const rlimit none{0, 0};
    setrlimit(RLIMIT_FSIZE, &none);
    Claims(folder.c_str()).add(kFirst);
  });
  CHECK(started_at(small.pid()));
  CHECK(text().empty());
}

}  // namespace
}  // namespace barswap::dies

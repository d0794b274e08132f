#include "process.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <stdexcept>

#include "../barswap/preload.hpp"
#include "../barswap/reading.hpp"
#include "timing.hpp"

namespace barswap::bench {
namespace {

std::vector<std::string> environment_of_child() {
  std::vector<std::string> all;
  for (char** entry = environ; *entry != nullptr; ++entry)
    if (std::strncmp(*entry, "LD_PRELOAD=", 11) != 0) all.emplace_back(*entry);
  const char* preloads = std::getenv("LD_PRELOAD");
  const std::string kept = tools::without_preload(preloads != nullptr ? preloads : "");
  if (!kept.empty()) all.push_back("LD_PRELOAD=" + kept);
  return all;
}

std::vector<char*> pointers_to(std::vector<std::string>& words) {
  std::vector<char*> all;
  for (std::string& word : words) all.push_back(word.data());
  all.push_back(nullptr);
  return all;
}

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (pipe2(ends, O_CLOEXEC) != 0) throw std::runtime_error(std::strerror(errno));
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(int which) {
    if (ends[which] >= 0) close(ends[which]);
    ends[which] = -1;
  }
};

// One process; killed, if it has not ended, when this goes.
class Process {
 public:
  Process(std::vector<std::string> words, int limit_s) : deadline_s_(now_s() + limit_s) {
    std::vector<std::string> environment = environment_of_child();
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in_.ends[0], STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, out_.ends[1], STDOUT_FILENO);
    const int failed = posix_spawnp(&pid_, words[0].c_str(), &actions, nullptr,
                                    pointers_to(words).data(), pointers_to(environment).data());
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) pid_ = -1;
    in_.close_end(0);
    out_.close_end(1);
  }
  ~Process() {
    if (pid_ <= 0) return;
    kill(pid_, SIGKILL);
    reap();
  }
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  bool started() const { return pid_ > 0; }
  pid_t pid() const { return pid_; }
  bool late() const { return late_; }

  // What it says until the end of a line or of its output, or until its time is over.
  std::string line() {
    std::string text;
    char letter = 0;
    while (wait_for_output() && read(out_.ends[0], &letter, 1) == 1 && letter != '\n')
      text += letter;
    return text;
  }
  // Lets it end; its exit status, or -1.
  int end() {
    in_.close_end(1);
    char ignored[256];
    while (wait_for_output() && read(out_.ends[0], ignored, sizeof ignored) > 0) {}
    if (late_) kill(pid_, SIGKILL);
    return reap();
  }

 private:
  bool wait_for_output() {
    pollfd one{out_.ends[0], POLLIN, 0};
    const double left_s = deadline_s_ - now_s();
    const int ready = poll(&one, 1, left_s > 0 ? static_cast<int>(left_s * 1e3) + 1 : 0);
    late_ |= ready == 0;
    return ready > 0;
  }
  int reap() {
    int status = 0;
    const pid_t ended = waitpid(pid_, &status, 0);
    pid_ = -1;
    return ended > 0 && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

  const double deadline_s_;
  bool late_ = false;
  Pipe in_, out_;
  pid_t pid_ = -1;
};

}  // namespace

std::string own_path() { return std::filesystem::read_symlink("/proc/self/exe").string(); }

Ended run_program(std::vector<std::string> words, int limit_s) {
  Process process(std::move(words), limit_s);
  Ended ended;
  if (!process.started()) {
    ended.trouble = "cannot be started";
    return ended;
  }
  const std::string line = process.line();
  ended.found = nlohmann::ordered_json::parse(line, nullptr, false);
  if (ended.found.is_discarded()) ended.found = nullptr;
  const pid_t pid = process.pid();
  for (const tools::Reading& reading : tools::read_all(pid))
    if (reading.trouble.empty()) ended.stats = reading.stats;
  ended.status = process.end();
  // Reading the statistics of what has ended removes them.
  tools::read_all(pid);
  if (process.late()) ended.trouble = "was not done after " + std::to_string(limit_s) + " s";
  else if (ended.status != 0) ended.trouble = "failed with status " + std::to_string(ended.status);
  else if (ended.found.is_null()) ended.trouble = "told nothing";
  return ended;
}

}  // namespace barswap::bench

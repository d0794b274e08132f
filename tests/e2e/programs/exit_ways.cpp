// The ways a process ends while it still holds device memory: --mode return (as without), thread,
// static, quick, abandon (work is still queued), fork_before, fork_after, exec; and, with a thread
// that works through more than fits all the while: fork_beside, exit_beside; and, if each round of
// it is a graph, fork_beside_graph, exit_beside_graph.
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>

#include "program.hpp"

namespace {

using e2e::Buffer;

// Frees at the very end, when other libraries may be gone already. The driver may be, too: then it
// says so with a code, which is all that a program may rely on.
struct FreesLate {
  CUdeviceptr address = 0;
  ~FreesLate() {
    if (address == 0) return;
    const CUresult result = cuMemFree(address);
    std::printf("late free is answered: %s\n",
                result == CUDA_SUCCESS || result == CUDA_ERROR_DEINITIALIZED ? "yes" : "no");
    std::fflush(stdout);
  }
};
FreesLate frees_late;

std::uint64_t work(const e2e::Options& options) {
  const e2e::Die die;
  e2e::Hash hash;
  for (std::uint32_t i = 0; i < 6; ++i) {
    const Buffer buffer = Buffer::make(options.bytes() / 8);
    die.kernels.fill(buffer.address, buffer.words(), i);
    e2e::hash_device(hash, buffer);
    frees_late.address = options.mode == "static" ? buffer.address : 0;
  }
  return hash.value();
}

void print(std::uint64_t hash) {
  std::printf("hash %016llx\nok\n", static_cast<unsigned long long>(hash));
  std::fflush(stdout);
}

int child_status(pid_t child) {
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

void abandon(const e2e::Options& options) {
  const e2e::Die die;
  const Buffer buffer = Buffer::make(options.bytes() / 2);
  for (std::uint32_t i = 0; i < 50; ++i)
    die.kernels.xorshift_update(buffer.address, buffer.words(), i);
}

void forks_after(const e2e::Options& options) {
  const std::uint64_t hash = work(options);
  const pid_t child = fork();
  CHECK(child >= 0);
  // CUDA is out of use in this child; it only ends, by way of its exit handlers.
  if (child == 0) std::exit(0);
  std::printf("child: %d\n", child_status(child));
  print(hash);
}

void forks_before(const e2e::Options& options) {
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    print(work(options));
    std::exit(0);
  }
  std::printf("child: %d\n", child_status(child));
  std::fflush(stdout);
  print(work(options));
}

// Works through large ranges in the same order, round after round, so that they take turns.
struct Rounds {
  explicit Rounds(const e2e::Options& options) : layers(e2e::make_layers(options, die)) {
    if (!options.mode.ends_with("_graph")) return;
    NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    NEED(cuCtxSynchronize());  // the layers are made
    NEED(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
    CHECK(submit(7));
    CUgraph nodes = nullptr;
    NEED(cuStreamEndCapture(stream, &nodes));
    NEED(cuGraphInstantiateWithFlags(&graph, nodes, 0));
    NEED(cuGraphDestroy(nodes));
  }
  void run(std::uint64_t count) {
    die.use();
    for (; done < count; ++done) {
      if (graph ? !fine(cuGraphLaunch(graph, stream)) : !submit(static_cast<std::uint32_t>(done)))
        return;
      if (done % 4 == 3 && !fine(cuCtxSynchronize())) return;
    }
  }
  bool submit(std::uint32_t seed) {
    constexpr std::uint64_t kWords = 4096;
    for (const Buffer& layer : layers)
      if (!fine(die.kernels.xorshift_update.launch(stream, 264, layer.address, kWords, seed)))
        return false;
    return true;
  }

  // The driver may be gone already, where nobody waits for the thread.
  static bool fine(CUresult result) {
    if (result != CUDA_ERROR_DEINITIALIZED) NEED(result);
    return result == CUDA_SUCCESS;
  }

  const e2e::Die die;
  const std::vector<Buffer> layers;
  CUstream stream = nullptr;
  CUgraphExec graph = nullptr;
  std::atomic<std::uint64_t> done{0};
};

// As a program starts others: what the child inherits is used by nobody there.
void forks_beside(const e2e::Options& options) {
  constexpr std::uint64_t kRounds = 40;
  Rounds rounds(options);
  std::thread worker([&] { rounds.run(kRounds); });
  int children = 0, failed = 0;
  while (rounds.done < kRounds) {
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0 && children % 2 == 0) _exit(0);
    if (child == 0) {
      execl("/bin/true", "true", static_cast<char*>(nullptr));
      _exit(1);
    }
    failed += child_status(child) != 0;
    ++children;
    usleep(3000);
  }
  worker.join();
  std::printf("children: %s\n", children > 0 && failed == 0 ? "well" : "failed");
  e2e::Hash hash;
  for (const Buffer& layer : rounds.layers) e2e::hash_device(hash, layer);
  print(hash.value());
}

// What the thread had in hand is the process's no more. It is not waited for, as at any exit.
void exits_beside(const e2e::Options& options) {
  static Rounds* rounds = new Rounds(options);
  std::thread([] { rounds->run(~std::uint64_t{0}); }).detach();
  while (rounds->done < 24) usleep(1000);
  print(0);
  std::exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 32);
  if (options.mode.empty() || options.mode == "return" || options.mode == "static")
    print(work(options));
  else if (options.mode == "quick") {
    print(work(options));
    _exit(0);
  } else if (options.mode == "thread") {
    std::thread([&] {
      print(work(options));
      std::exit(0);
    }).join();
  } else if (options.mode == "abandon") {
    abandon(options);
    print(0);
  } else if (options.mode == "fork_before") forks_before(options);
  else if (options.mode == "fork_after") forks_after(options);
  else if (options.mode.starts_with("fork_beside")) forks_beside(options);
  else if (options.mode.starts_with("exit_beside")) exits_beside(options);
  else if (options.mode == "exec") {
    work(options);
    execl("/proc/self/exe", argv[0], "--mib", std::to_string(options.mib).c_str(), "--mode",
          "return", static_cast<char*>(nullptr));
    e2e::stop(e2e::kStatusFailed, "exec failed");
  } else e2e::stop(e2e::kStatusFailed, "unknown --mode");
  return 0;
}

// How programs start, split and end. argv[1] names the way. Linked against libcuda.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstring>
#include <thread>

#include "program.h"

namespace {

bool start() {
  CUdevice die = 0;
  CUcontext context = nullptr;
  return cuInit(0) == CUDA_SUCCESS && cuDeviceGet(&die, 0) == CUDA_SUCCESS &&
         cuDevicePrimaryCtxRetain(&context, die) == CUDA_SUCCESS &&
         cuCtxSetCurrent(context) == CUDA_SUCCESS;
}

int use_driver() {
  CUdeviceptr address = 0;
  CUstream stream = nullptr;
  char there[64] = "bytes that go there and come back", back[64] = "";
  const bool good = start() && cuMemAlloc(&address, 4096) == CUDA_SUCCESS &&
                    cuStreamCreate(&stream, 0) == CUDA_SUCCESS &&
                    cuMemcpyHtoD(address, there, sizeof(there)) == CUDA_SUCCESS &&
                    cuMemcpyDtoH(back, address, sizeof(back)) == CUDA_SUCCESS &&
                    cuStreamSynchronize(stream) == CUDA_SUCCESS &&
                    cuMemFree(address) == CUDA_SUCCESS;
  return good && std::memcmp(there, back, sizeof(back)) == 0 ? 0 : 1;
}

// Frees what it holds after main has returned.
struct Holder {
  CUdeviceptr address = 0;
  ~Holder() {
    if (address) std::printf("late free=%d\n", cuMemFree(address));
  }
};
Holder holder;

int in_child(int (*work)()) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    const int code = work();
    std::fflush(stdout);
    std::exit(code);  // as forked workers do: with all exit handlers
  }
  int status = 0;
  require(waitpid(child, &status, 0) == child, "waitpid");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int query_only() {
  int version = 0;
  return cuDriverGetVersion(&version) == CUDA_SUCCESS ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  const char* way = argc > 1 ? argv[1] : "";
  if (!std::strcmp(way, "fork-before")) {
    std::printf("child=%d\n", in_child(use_driver));
    std::printf("parent=%d\n", use_driver());
  } else if (!std::strcmp(way, "fork-after")) {
    std::printf("parent=%d\n", use_driver());
    std::printf("child=%d\n", in_child(query_only));
    std::printf("parent=%d\n", use_driver());
  } else if (!std::strcmp(way, "exec")) {
    std::printf("before=%d\n", use_driver());
    std::fflush(stdout);
    execl("/proc/self/exe", argv[0], "plain", nullptr);
    require(0, "exec");
  } else if (!std::strcmp(way, "thread-exit")) {
    std::printf("before=%d\n", use_driver());
    std::thread([] { std::exit(7); }).join();
  } else if (!std::strcmp(way, "static-destructor")) {
    require(start() && cuMemAlloc(&holder.address, 4096) == CUDA_SUCCESS,
            "alloc");
  } else if (!std::strcmp(way, "threads")) {
    std::thread threads[8];
    for (auto& thread : threads) thread = std::thread([] { require(use_driver() == 0, "thread"); });
    for (auto& thread : threads) thread.join();
  } else {
    std::printf("plain=%d\n", use_driver());
  }
  std::puts("done");
  return 0;
}

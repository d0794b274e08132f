// Each driver call that the shim makes fails in turn, once and for good: the program must see a
// code that CUDA documents or the right bytes. A first run counts the calls of each function; then
// for each function and each n a run in a child of its own, in which the n-th call fails.
//
// A child may stop only as the rules allow: with the one line that says that neither the new nor
// the old frame of a page could be mapped.
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "property/live.hpp"

namespace {

using namespace barswap::property;
using barswap::sim::Fault;

struct Target {
  const char* function;
  CUresult code;
};

// What the rooms call through their verbs, with a code that the function documents.
constexpr Target targets[] = {
    {"cuMemCreate", CUDA_ERROR_OUT_OF_MEMORY},
    {"cuMemCreate", CUDA_ERROR_NOT_SUPPORTED},
    {"cuMemMap", CUDA_ERROR_OUT_OF_MEMORY},
    {"cuMemUnmap", CUDA_ERROR_INVALID_VALUE},
    {"cuMemSetAccess", CUDA_ERROR_OUT_OF_MEMORY},
    {"cuMemRelease", CUDA_ERROR_INVALID_VALUE},
    {"cuMemAddressReserve", CUDA_ERROR_OUT_OF_MEMORY},
    {"cuCtxRecordEvent", CUDA_ERROR_INVALID_VALUE},
    {"cuEventQuery", CUDA_ERROR_INVALID_VALUE},
    {"cuEventCreate", CUDA_ERROR_OUT_OF_MEMORY},
    {"cuEventRecord", CUDA_ERROR_INVALID_VALUE},
    {"cuStreamWaitEvent", CUDA_ERROR_INVALID_VALUE},
    {"cuStreamCreate", CUDA_ERROR_OUT_OF_MEMORY},
    {"cuMemcpyDtoDAsync_v2", CUDA_ERROR_INVALID_VALUE},
    {"cuStreamGetCtx", CUDA_ERROR_INVALID_VALUE},
    {"cuStreamIsCapturing", CUDA_ERROR_INVALID_VALUE},
    {"cuCtxPushCurrent_v2", CUDA_ERROR_INVALID_VALUE},
    {"cuCtxGetCurrent", CUDA_ERROR_INVALID_VALUE},
    {"cuCtxGetDevice", CUDA_ERROR_INVALID_VALUE},
    {"cuCtxSynchronize", CUDA_ERROR_INVALID_VALUE},
    {"cuMemGetInfo_v2", CUDA_ERROR_INVALID_VALUE},
    {"cuDevicePrimaryCtxGetState", CUDA_ERROR_INVALID_VALUE},
    {"cuDeviceGetAttribute", CUDA_ERROR_INVALID_VALUE},
    {"cuDeviceGetCount", CUDA_ERROR_INVALID_VALUE},
    {"cuDeviceTotalMem_v2", CUDA_ERROR_INVALID_VALUE},
    {"cuMemGetAllocationGranularity", CUDA_ERROR_INVALID_VALUE},
    {"cuThreadExchangeStreamCaptureMode", CUDA_ERROR_INVALID_VALUE},
};

constexpr const char* kAllowedStop = "the driver maps neither the new nor the old frame";

struct Ended {
  int status = 0;
  std::string said;
};

// The run in a child, because it may stop; what it says comes back through a pipe.
Ended in_child(const Plan& plan, bool telling) {
  int ends[2];
  if (pipe(ends) != 0) std::abort();
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    alarm(60);
    const Outcome outcome = live(plan, telling);
    if (!outcome.why.empty()) std::fprintf(stderr, "wrong: %s\n", outcome.why.c_str());
    _exit(outcome.why.empty() ? 0 : 1);
  }
  close(ends[1]);
  Ended ended;
  char buffer[4096];
  for (ssize_t size; (size = read(ends[0], buffer, sizeof buffer)) > 0;)
    ended.said.append(buffer, static_cast<std::size_t>(size));
  close(ends[0]);
  waitpid(child, &ended.status, 0);
  return ended;
}

bool allowed(const Ended& ended) {
  if (WIFEXITED(ended.status)) return WEXITSTATUS(ended.status) == 0;
  return WIFSIGNALED(ended.status) && WTERMSIG(ended.status) == SIGABRT &&
         ended.said.find(kAllowedStop) != std::string::npos;
}

struct Count {
  std::uint64_t runs = 0, failed = 0, stopped = 0;
};

void strike(std::uint64_t seed, const Target& target, std::uint64_t nth, bool always,
            Count& count, bool telling = false) {
  Plan plan = draw_small_plan(seed);
  plan.fault_code = target.code;
  plan.books_hold = std::strcmp(target.function, "cuMemRelease") != 0;
  plan.setting.machine.faults.push_back(Fault{target.function, nth, target.code, always});
  const Ended ended = in_child(plan, telling);
  ++count.runs;
  if (allowed(ended)) {
    count.stopped += WIFSIGNALED(ended.status) ? 1 : 0;
    return;
  }
  ++count.failed;
  const std::size_t most = telling ? ended.said.size() : 400;
  const std::size_t last = ended.said.size() - std::min(ended.said.size(), most);
  std::printf("seed %llu, %s call %llu fails %s with %d: status %d\n%s\n",
              static_cast<unsigned long long>(seed), target.function,
              static_cast<unsigned long long>(nth), always ? "for good" : "once", target.code,
              ended.status, ended.said.c_str() + last);
  std::printf("  again: property_faults %llu %s %llu %s\n", static_cast<unsigned long long>(seed),
              target.function, static_cast<unsigned long long>(nth), always ? "always" : "once");
}

// All of the first calls, then ever wider apart.
std::vector<std::uint64_t> places(std::uint64_t calls, std::uint64_t most) {
  std::vector<std::uint64_t> out;
  const std::uint64_t step = std::max<std::uint64_t>(1, calls / most);
  for (std::uint64_t n = 1; n <= calls; n += n < 8 ? 1 : step) out.push_back(n);
  return out;
}

int again(char** argv) {
  Count count;
  for (const Target& target : targets)
    if (std::strcmp(target.function, argv[2]) == 0)
      strike(std::strtoull(argv[1], nullptr, 10), target, std::strtoull(argv[3], nullptr, 10),
             std::strcmp(argv[4], "always") == 0, count, true);
  return count.failed == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc == 5) return again(argv);
  // BARSWAP_SEEDS says how much time there is: a few hundred seeds are a short run.
  const char* asked = std::getenv("BARSWAP_SEEDS");
  const std::uint64_t effort = asked && *asked ? std::strtoull(asked, nullptr, 10) : 100;
  const std::uint64_t seeds = std::clamp<std::uint64_t>(effort / 100, 2, 16);
  const std::uint64_t most = std::clamp<std::uint64_t>(effort / 10, 10, 200);
  Count count;
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Plan plan = draw_small_plan(seed);
    const Outcome counted = live(plan, false);
    if (!counted.why.empty()) {
      std::printf("seed %llu without a fault: %s\n", static_cast<unsigned long long>(seed),
                  counted.why.c_str());
      ++count.failed;
      continue;
    }
    for (const Target& target : targets) {
      const auto found = counted.calls.find(target.function);
      if (found == counted.calls.end()) continue;
      for (const std::uint64_t nth : places(found->second, most))
        for (const bool always : {false, true}) strike(seed, target, nth, always, count);
    }
  }
  std::printf("%llu faults, %llu stops that the rules allow, %llu failed\n",
              static_cast<unsigned long long>(count.runs),
              static_cast<unsigned long long>(count.stopped),
              static_cast<unsigned long long>(count.failed));
  return count.failed == 0 && count.runs > 0 ? 0 : 1;
}

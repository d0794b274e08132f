// Fills its memory with large ranges that each round reads once, and asks last for one that every
// launch works on, as frameworks do with weights and activations: the late one is worth more fast
// memory than any of the others. Half of the rounds are launched as a graph. With --hold it waits
// while it holds everything.
#include "program.hpp"

using e2e::Buffer;

namespace {

constexpr std::uint64_t kLargeBytes = 32ull << 20;
constexpr int kHotAtOnce = 8;

void work(const e2e::Kernels& kernels, const std::vector<Buffer>& cold, const Buffer& hot,
          CUstream stream) {
  for (const Buffer& buffer : cold) {
    kernels.xorshift_update.on(stream, buffer.address, buffer.words(), 1);
    // Different words of it each time, so that the order of moves and launches shows in the bytes.
    for (std::uint64_t i = 0; i < kHotAtOnce; ++i)
      kernels.xorshift_update.on(stream, hot.address + i * hot.bytes / kHotAtOnce, 1024,
                                 static_cast<std::uint32_t>(i));
  }
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 256);
  const e2e::Die die;
  std::vector<Buffer> cold;
  for (std::uint64_t held = kLargeBytes; held + kLargeBytes <= options.bytes();
       held += kLargeBytes) {
    cold.push_back(Buffer::make(kLargeBytes));
    die.kernels.fill(cold.back().address, cold.back().words(),
                     static_cast<std::uint32_t>(cold.size()));
    NEED(cuCtxSynchronize());
  }
  const Buffer hot = Buffer::make(kLargeBytes);
  die.kernels.fill(hot.address, hot.words(), 99);
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  NEED(cuCtxSynchronize());

  NEED(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  work(die.kernels, cold, hot, stream);
  CUgraph graph = nullptr;
  CUgraphExec exec = nullptr;
  NEED(cuStreamEndCapture(stream, &graph));
  NEED(cuGraphInstantiate(&exec, graph, 0));
  NEED(cuGraphDestroy(graph));
  for (std::uint64_t round = 0; round < options.rounds; ++round) {
    if (round % 2 == 0) work(die.kernels, cold, hot, stream);
    else NEED(cuGraphLaunch(exec, stream));
    NEED(cuStreamSynchronize(stream));
  }
  NEED(cuGraphExecDestroy(exec));
  options.hold_here();
  e2e::Hash hash;
  for (const Buffer& buffer : cold) e2e::hash_device(hash, buffer);
  e2e::hash_device(hash, hot);
  return e2e::finish(hash);
}

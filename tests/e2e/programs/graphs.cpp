// Captures kernels, copies and memsets over all of its memory into a graph and replays it many
// times, with ranges coming and going between replays; then asks for memory during captures of
// every mode.
#include "program.hpp"

namespace {

using e2e::Buffer;

const char* mode_name(CUstreamCaptureMode mode) {
  switch (mode) {
    case CU_STREAM_CAPTURE_MODE_GLOBAL: return "global";
    case CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: return "thread local";
    case CU_STREAM_CAPTURE_MODE_RELAXED: return "relaxed";
  }
  return "?";
}

CUgraphExec capture(const e2e::Die& die, CUstream stream, const std::vector<Buffer>& buffers,
                    const Buffer& fold) {
  NEED(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
  for (std::size_t i = 0; i + 2 < buffers.size(); ++i) {
    const Buffer& in = buffers[i];
    const Buffer& out = buffers[i + 1];
    die.kernels.stencil.on(stream, in.address, out.address, in.words());
    die.kernels.xorshift_update.on(stream, in.address, in.words(), static_cast<std::uint32_t>(i));
    die.kernels.checksum.on(stream, out.address, out.words(), fold.address);
  }
  const Buffer& last = buffers.back();
  const Buffer& source = buffers[buffers.size() - 2];
  NEED(cuMemcpyDtoDAsync(last.address, source.address, last.bytes, stream));
  NEED(cuMemsetD32Async(source.address, 0x5a5a5a5a, source.words() / 2, stream));
  CUgraph graph = nullptr;
  NEED(cuStreamEndCapture(stream, &graph));
  CUgraphExec executable = nullptr;
  NEED(cuGraphInstantiate(&executable, graph, 0));
  NEED(cuGraphDestroy(graph));
  return executable;
}

// What the calls answer while a stream captures; the second thread is one that captures nothing.
void ask_during_capture(const e2e::Die& die, CUstreamCaptureMode mode, const Buffer& buffer) {
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  NEED(cuStreamBeginCapture(stream, mode));
  die.kernels.fill.on(stream, buffer.address, buffer.words(), 3);
  CUdeviceptr small = 0, large = 0, elsewhere = 0;
  const CUresult small_result = cuMemAlloc(&small, 1000);
  const CUresult large_result = cuMemAlloc(&large, 3 << 20);
  CUresult other_result = CUDA_SUCCESS;
  std::thread([&] {
    die.use();
    other_result = cuMemAlloc(&elsewhere, 5000);
  }).join();
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult status_result = cuStreamIsCapturing(stream, &status);
  CUgraph graph = nullptr;
  const CUresult end_result = cuStreamEndCapture(stream, &graph);
  std::printf("%s capture: small %s, large %s, other thread %s, status %s %d, end %s, graph %s\n",
              mode_name(mode), e2e::name_of(small_result), e2e::name_of(large_result),
              e2e::name_of(other_result), e2e::name_of(status_result), static_cast<int>(status),
              e2e::name_of(end_result), graph != nullptr ? "made" : "none");
  if (graph != nullptr) {
    CUgraphExec executable = nullptr;
    NEED(cuGraphInstantiate(&executable, graph, 0));
    NEED(cuGraphLaunch(executable, stream));
    NEED(cuStreamSynchronize(stream));
    NEED(cuGraphExecDestroy(executable));
    NEED(cuGraphDestroy(graph));
  }
  for (const CUdeviceptr address : {small, large, elsewhere})
    if (address != 0) NEED(cuMemFree(address));
  NEED(cuStreamDestroy(stream));
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 12);
  const e2e::Die die;
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  std::vector<Buffer> buffers;
  const std::uint64_t bytes = options.bytes() / 10 / 4096 * 4096;
  for (std::uint32_t i = 0; i < 8; ++i) {
    buffers.push_back(Buffer::make(bytes));
    die.kernels.fill(buffers.back().address, buffers.back().words(), i);
  }
  const Buffer fold = Buffer::make(8);
  NEED(cuMemsetD8(fold.address, 0, 8));
  NEED(cuCtxSynchronize());
  const CUgraphExec executable = capture(die, stream, buffers, fold);
  for (std::uint64_t i = 0; i < options.count; ++i) {
    NEED(cuGraphLaunch(executable, stream));
    // A range that comes and goes beside the graph, so that something may move.
    Buffer passing = Buffer::make(bytes);
    die.kernels.fill.on(stream, passing.address, passing.words(), static_cast<std::uint32_t>(i));
    if (i % 3 == 0) NEED(cuStreamSynchronize(stream));
    passing.free();
  }
  NEED(cuStreamSynchronize(stream));
  NEED(cuGraphExecDestroy(executable));
  for (const CUstreamCaptureMode mode :
       {CU_STREAM_CAPTURE_MODE_RELAXED, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL,
        CU_STREAM_CAPTURE_MODE_GLOBAL})
    ask_during_capture(die, mode, buffers[0]);
  NEED(cuStreamDestroy(stream));
  e2e::Hash hash;
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  e2e::hash_device(hash, fold);
  return e2e::finish(hash);
}

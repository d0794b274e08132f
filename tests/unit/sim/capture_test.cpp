// Capture, its prohibitions, and graphs.
#include "bench.hpp"

using namespace barswap::sim;
using namespace barswap::sim::bench;

namespace {

CUstreamCaptureStatus status_of(Bench& b, CUstream stream) {
  CUstreamCaptureStatus status{};
  OK(b.api.cuStreamIsCapturing(stream, &status));
  return status;
}

void destroy_graph(CUgraph graph) {
  OK(reinterpret_cast<CUresult (*)(CUgraph)>(find("cuGraphDestroy"))(graph));
}

}  // namespace

TEST_CASE("what is captured runs when launched, each time anew") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Bench b(small_config(seed));
    const CUdeviceptr at = b.alloc(4096);
    const CUdeviceptr copy = b.alloc(4096);
    const CUstream stream = b.stream();
    const CUstream other = b.stream();
    const CUevent fork = b.event();
    const CUevent join = b.event();
    OK(b.api.cuMemsetD8_v2(at, 0, 4096));
    OK(b.api.cuMemsetD8_v2(copy, 0, 4096));
    OK(b.api.cuCtxSynchronize());
    OK(b.api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
    OK(b.launch("barswap_xorshift_update", stream, at, std::uint64_t{1024}, std::uint32_t{3}));
    OK(b.api.cuEventRecord(fork, stream));
    OK(b.api.cuStreamWaitEvent(other, fork, 0));
    OK(b.api.cuMemcpyDtoDAsync_v2(copy, at, 4096, other));
    OK(b.api.cuEventRecord(join, other));
    OK(b.api.cuStreamWaitEvent(stream, join, 0));
    CUgraph graph = nullptr;
    OK(b.api.cuStreamEndCapture(stream, &graph));
    OK(b.api.cuCtxSynchronize());
    CHECK(b.word(at) == 0);
    CUgraphExec exec = nullptr;
    OK(b.api.cuGraphInstantiateWithFlags(&exec, graph, 0));
    destroy_graph(graph);
    OK(b.api.cuGraphLaunch(exec, stream));
    OK(b.api.cuGraphLaunch(exec, stream));
    OK(b.api.cuStreamSynchronize(stream));
    CHECK(b.word(at) != 0);
    CHECK(b.word(at) != 3);
    CHECK(b.word(copy) == b.word(at));
  }
}

TEST_CASE("a capture voids itself at calls that it forbids") {
  Bench b;
  const CUstream stream = b.stream();
  CUgraph graph = nullptr;
  CUdeviceptr at = 0;
  OK(b.api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  CHECK(status_of(b, stream) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  CHECK(b.api.cuMemAlloc_v2(&at, 16) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  CHECK(status_of(b, stream) == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  CHECK(b.api.cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
  CHECK(status_of(b, stream) == CU_STREAM_CAPTURE_STATUS_NONE);
}

TEST_CASE("a relaxed thread may allocate beside a capture, but not look at the whole context") {
  Bench b;
  const CUstream stream = b.stream();
  const CUevent event = b.event();
  CUgraph graph = nullptr;
  CUdeviceptr at = 0;
  OK(b.api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL));
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  OK(b.api.cuThreadExchangeStreamCaptureMode(&mode));
  CHECK(mode == CU_STREAM_CAPTURE_MODE_GLOBAL);
  OK(b.api.cuMemAlloc_v2(&at, 16));
  OK(b.api.cuMemFree_v2(at));
  CHECK(status_of(b, stream) == CU_STREAM_CAPTURE_STATUS_ACTIVE);
  SUBCASE("an event of the context") {
    CHECK(b.api.cuCtxRecordEvent(b.context, event) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  }
  SUBCASE("a synchronise of the context") {
    CHECK(b.api.cuCtxSynchronize() == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  }
  SUBCASE("a query of the stream") {
    CHECK(b.api.cuStreamQuery(stream) == CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  }
  CHECK(status_of(b, stream) == CU_STREAM_CAPTURE_STATUS_INVALIDATED);
  CHECK(b.api.cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_CASE("work that is never joined spoils the capture's end") {
  Bench b;
  const CUstream stream = b.stream();
  const CUstream other = b.stream();
  const CUevent fork = b.event();
  const CUdeviceptr at = b.alloc(4096);
  CUgraph graph = nullptr;
  OK(b.api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  OK(b.fill_words(at, 16, 1, stream));
  OK(b.api.cuEventRecord(fork, stream));
  OK(b.api.cuStreamWaitEvent(other, fork, 0));
  OK(b.fill_words(at, 16, 2, other));
  CHECK(b.api.cuStreamEndCapture(other, &graph) == CUDA_ERROR_STREAM_CAPTURE_UNMATCHED);
  CHECK(b.api.cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_UNJOINED);
  CHECK(status_of(b, other) == CU_STREAM_CAPTURE_STATUS_NONE);
}

TEST_CASE("the legacy stream may not be used beside the capture of a blocking stream") {
  Bench b;
  const CUstream stream = b.stream(CU_STREAM_DEFAULT);
  const CUdeviceptr at = b.alloc(4096);
  CUgraph graph = nullptr;
  CHECK(b.api.cuStreamBeginCapture_v2(nullptr, CU_STREAM_CAPTURE_MODE_RELAXED) ==
        CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED);
  OK(b.api.cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_RELAXED));
  CHECK(b.fill_words(at, 16, 1, nullptr) == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
  CHECK(b.api.cuStreamEndCapture(stream, &graph) == CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
}

TEST_CASE("a graph made by hand follows its edges") {
  Bench b;
  const CUdeviceptr at = b.alloc(4096);
  const auto create = reinterpret_cast<decltype(&::cuGraphCreate)>(find("cuGraphCreate"));
  const auto add_memset =
      reinterpret_cast<decltype(&::cuGraphAddMemsetNode)>(find("cuGraphAddMemsetNode"));
  CUgraph graph = nullptr;
  CUgraphNode first = nullptr;
  CUgraphNode second = nullptr;
  CUDA_MEMSET_NODE_PARAMS memset{at, 0, 0x11, 1, 4096, 1};
  OK(create(&graph, 0));
  OK(add_memset(&first, graph, nullptr, 0, &memset, b.context));
  memset.value = 0x22;
  OK(add_memset(&second, graph, &first, 1, &memset, b.context));
  CUgraphExec exec = nullptr;
  OK(b.api.cuGraphInstantiateWithFlags(&exec, graph, 0));
  OK(b.api.cuGraphLaunch(exec, nullptr));
  CHECK(b.word(at) == 0x22222222u);
  const auto set = reinterpret_cast<decltype(&::cuGraphExecMemsetNodeSetParams)>(
      find("cuGraphExecMemsetNodeSetParams"));
  memset.value = 0x33;
  OK(set(exec, second, &memset, b.context));
  OK(b.api.cuGraphLaunch(exec, nullptr));
  CHECK(b.word(at) == 0x33333333u);
}

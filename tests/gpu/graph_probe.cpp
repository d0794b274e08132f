// What the driver does with a graph some of whose kernels belong to a context of our own, on
// another die if there is one: the ground of shim/session/far_graphs (docs/adr/0024). Needs no
// Barswap.
//
//   graph_probe kernels.ptx   (tests/e2e/kernels.ptx)
//
// Prints one line a question and ends with status 1 if one was answered in a way that graphs on
// several dies could not live with.
#include <cuda.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPage = 2u << 20;
constexpr int kKernels = 100;
bool failed = false;

void must(CUresult code, const char* what) {
  if (code == CUDA_SUCCESS) return;
  const char* name = "?";
  cuGetErrorName(code, &name);
  std::printf("%s: %s\n", what, name);
  std::exit(1);
}

void expect(bool good, const char* what) {
  std::printf("%s: %s\n", what, good ? "right" : "WRONG");
  failed = failed || !good;
}

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct Probe {
  explicit Probe(const char* file) {
    must(cuInit(0), "start");
    int dies = 0;
    must(cuDeviceGetCount(&dies), "dies");
    const int there = dies > 1 ? 1 : 0;
    std::printf("the other context is on die %d\n", there);
    must(cuDevicePrimaryCtxRetain(&home, 0), "context");
    CUctxCreateParams none{};
    must(cuCtxCreate_v4(&other, &none, 0, there), "another context");
    must(cuCtxSetCurrent(home), "current");
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    image = text.str();
    must(cuLibraryLoadData(&library, image.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0),
         "library");
    must(cuModuleLoadData(&module, image.c_str()), "module");
    must(cuLibraryGetKernel(&update, library, "barswap_xorshift_update"), "kernel");
    must(cuModuleGetFunction(&update_of_module, module, "barswap_xorshift_update"), "function");
    CUmemAllocationProp place{};
    place.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    place.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUmemGenericAllocationHandle handle;
    must(cuMemCreate(&handle, kPage, &place, 0), "create");
    must(cuMemAddressReserve(&page, kPage, 0, 0, 0), "reserve");
    must(cuMemMap(page, kPage, 0, handle, 0), "map");
    for (int die = 0; die <= there; ++die) {
      const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, die},
                                   CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
      must(cuMemSetAccess(page, kPage, &access, 1), "access");
    }
    must(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING), "stream");
    must(cuStreamCreate(&second, CU_STREAM_NON_BLOCKING), "second stream");
  }

  CUgraph capture(void* function, std::uint64_t words, int kernels) {
    CUgraph graph = nullptr;
    must(cuStreamBeginCapture(stream, CU_STREAM_CAPTURE_MODE_GLOBAL), "capture");
    std::uint32_t salt = 3;
    void* parameters[] = {&page, &words, &salt};
    for (int i = 0; i < kernels; ++i)
      must(cuLaunchKernel(static_cast<CUfunction>(function), 1, 1, 1, 1, 1, 1, 0, stream,
                          parameters, nullptr),
           "captured launch");
    must(cuStreamEndCapture(stream, &graph), "end of the capture");
    return graph;
  }
  // Every so many kernels in the other context, as the kernel of a library.
  CUgraphExec split(CUgraph graph, int every) {
    CUgraph clone = nullptr;
    must(cuGraphClone(&clone, graph), "clone");
    std::size_t count = 0;
    must(cuGraphGetNodes(graph, nullptr, &count), "nodes");
    std::vector<CUgraphNode> nodes(count);
    must(cuGraphGetNodes(graph, nodes.data(), &count), "nodes");
    for (std::size_t i = 0; i < count; i += static_cast<std::size_t>(every)) {
      CUgraphNode node = nullptr;
      CUDA_KERNEL_NODE_PARAMS kernel{};
      must(cuGraphNodeFindInClone(&node, nodes[i], clone), "node of the clone");
      must(cuGraphKernelNodeGetParams(node, &kernel), "its kernel");
      kernel.func = nullptr;
      kernel.kern = update;
      kernel.ctx = other;
      must(cuGraphKernelNodeSetParams(node, &kernel), "its kernel in the other context");
    }
    CUgraphExec exec = nullptr;
    must(cuGraphInstantiate(&exec, clone, 0), "made executable");
    must(cuGraphDestroy(clone), "clone destroyed");
    return exec;
  }
  std::uint32_t after(CUgraphExec exec) {
    std::uint32_t word = 0;
    must(cuMemsetD32(page, 1, 1), "fill");
    must(cuCtxSynchronize(), "filled");
    must(cuGraphLaunch(exec, stream), "graph");
    must(cuCtxSynchronize(), "graph done");
    must(cuMemcpyDtoH(&word, page, sizeof word), "copy");
    return word;
  }
  double us_a_launch(CUgraphExec exec) {
    constexpr int kLaunches = 20;
    const auto start = Clock::now();
    for (int i = 0; i < kLaunches; ++i) must(cuGraphLaunch(exec, stream), "graph");
    must(cuStreamSynchronize(stream), "graphs done");
    return us_since(start) / kLaunches;
  }

  CUcontext home = nullptr, other = nullptr;
  std::string image;
  CUlibrary library = nullptr;
  CUmodule module = nullptr;
  CUkernel update = nullptr;
  CUfunction update_of_module = nullptr;
  CUdeviceptr page = 0;
  CUstream stream = nullptr, second = nullptr;
};

void order(Probe& probe) {
  // One thread goes over the whole page, which takes long.
  CUgraph graph = probe.capture(probe.update, kPage / 4, 1);
  CUgraphExec exec = probe.split(graph, 1);
  CUevent event = nullptr;
  must(cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "event");
  must(cuGraphLaunch(exec, probe.stream), "graph");
  must(cuCtxRecordEvent(probe.home, event), "event of the context");
  const bool waits = cuEventQuery(event) == CUDA_ERROR_NOT_READY;
  must(cuEventSynchronize(event), "event");
  expect(waits && cuStreamQuery(probe.stream) == CUDA_SUCCESS,
         "an event of the program's context covers the kernel in the other one");
  must(cuGraphLaunch(exec, probe.stream), "graph");
  must(cuGraphLaunch(exec, probe.second), "graph on the second stream");
  must(cuStreamSynchronize(probe.second), "second stream");
  expect(cuStreamQuery(probe.stream) == CUDA_SUCCESS,
         "one executable graph on two streams runs one launch after the other");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Probe probe(argv[1]);
  CUgraph graph = probe.capture(probe.update, 64, kKernels);
  CUgraphExec own = nullptr;
  must(cuGraphInstantiate(&own, graph, 0), "own");
  const std::uint32_t wanted = probe.after(own);
  std::printf("all at home: %.0f us a launch\n", probe.us_a_launch(own));
  for (const int every : {1, 2, 10, kKernels}) {
    CUgraphExec exec = probe.split(graph, every);
    expect(probe.after(exec) == wanted, "the same words");
    std::printf("every %dth kernel in the other context: %.0f us a launch\n", every,
                probe.us_a_launch(exec));
  }
  CUgraph of_module = probe.capture(probe.update_of_module, 64, kKernels);
  expect(probe.after(probe.split(of_module, 2)) == wanted,
         "a kernel of a library in the place of a module's function");
  order(probe);
  return failed ? 1 : 0;
}

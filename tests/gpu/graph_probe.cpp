// What the driver does with a graph some of whose kernels belong to a context of our own, on
// another die if there is one: the ground of shim/session/far_graphs (docs/adr/0024). Needs no
// Barswap.
//
//   graph_probe kernels.ptx   (tests/e2e/kernels.ptx)
//
// Prints one line a question and ends with status 1 if one was answered in a way that graphs on
// several dies could not live with.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "driver_call.hpp"

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kPage = 2u << 20;
constexpr int kKernels = 100;
bool failed = false;

void expect(bool good, const char* what) {
  std::printf("%s: %s\n", what, good ? "right" : "WRONG");
  failed = failed || !good;
}

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

struct Probe {
  explicit Probe(const char* file) {
    GPU_NEED(cuInit, 0);
    int dies = 0;
    GPU_NEED(cuDeviceGetCount, &dies);
    const int there = dies > 1 ? 1 : 0;
    std::printf("the other context is on die %d\n", there);
    GPU_NEED(cuDevicePrimaryCtxRetain, &home, 0);
    CUctxCreateParams none{};
    GPU_NEED(cuCtxCreate_v4, &other, &none, 0, there);
    GPU_NEED(cuCtxSetCurrent, home);
    std::stringstream text;
    text << std::ifstream(file).rdbuf();
    image = text.str();
    GPU_NEED(cuLibraryLoadData, &library, image.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0);
    GPU_NEED(cuModuleLoadData, &module, image.c_str());
    GPU_NEED(cuLibraryGetKernel, &update, library, "barswap_xorshift_update");
    GPU_NEED(cuModuleGetFunction, &update_of_module, module, "barswap_xorshift_update");
    CUmemAllocationProp place{};
    place.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    place.location = {CU_MEM_LOCATION_TYPE_DEVICE, 0};
    CUmemGenericAllocationHandle handle;
    GPU_NEED(cuMemCreate, &handle, kPage, &place, 0);
    GPU_NEED(cuMemAddressReserve, &page, kPage, 0, 0, 0);
    GPU_NEED(cuMemMap, page, kPage, 0, handle, 0);
    for (int die = 0; die <= there; ++die) {
      const CUmemAccessDesc access{{CU_MEM_LOCATION_TYPE_DEVICE, die},
                                   CU_MEM_ACCESS_FLAGS_PROT_READWRITE};
      GPU_NEED(cuMemSetAccess, page, kPage, &access, 1);
    }
    GPU_NEED(cuStreamCreate, &stream, CU_STREAM_NON_BLOCKING);
    GPU_NEED(cuStreamCreate, &second, CU_STREAM_NON_BLOCKING);
  }

  CUgraph capture(void* kernel, std::uint64_t words, int kernels) {
    CUgraph graph = nullptr;
    GPU_NEED(cuStreamBeginCapture, stream, CU_STREAM_CAPTURE_MODE_GLOBAL);
    std::uint32_t salt = 3;
    void* parameters[] = {&page, &words, &salt};
    for (int i = 0; i < kernels; ++i)
      GPU_NEED(cuLaunchKernel, static_cast<CUfunction>(kernel), 1, 1, 1, 1, 1, 1, 0, stream,
               parameters, nullptr);
    GPU_NEED(cuStreamEndCapture, stream, &graph);
    return graph;
  }
  // Every so many kernels in the other context, as the kernel of a library.
  CUgraphExec split(CUgraph graph, int every) {
    CUgraph clone = nullptr;
    GPU_NEED(cuGraphClone, &clone, graph);
    std::size_t count = 0;
    GPU_NEED(cuGraphGetNodes, graph, nullptr, &count);
    std::vector<CUgraphNode> nodes(count);
    GPU_NEED(cuGraphGetNodes, graph, nodes.data(), &count);
    for (std::size_t i = 0; i < count; i += static_cast<std::size_t>(every)) {
      CUgraphNode node = nullptr;
      CUDA_KERNEL_NODE_PARAMS kernel{};
      GPU_NEED(cuGraphNodeFindInClone, &node, nodes[i], clone);
      GPU_NEED(cuGraphKernelNodeGetParams, node, &kernel);
      kernel.func = nullptr;
      kernel.kern = update;
      kernel.ctx = other;
      GPU_NEED(cuGraphKernelNodeSetParams, node, &kernel);
    }
    CUgraphExec exec = nullptr;
    GPU_NEED(cuGraphInstantiate, &exec, clone, 0);
    GPU_NEED(cuGraphDestroy, clone);
    return exec;
  }
  std::uint32_t after(CUgraphExec exec) {
    std::uint32_t word = 0;
    GPU_NEED(cuMemsetD32, page, 1, 1);
    GPU_NEED(cuCtxSynchronize);
    GPU_NEED(cuGraphLaunch, exec, stream);
    GPU_NEED(cuCtxSynchronize);
    GPU_NEED(cuMemcpyDtoH, &word, page, sizeof word);
    return word;
  }
  double us_a_launch(CUgraphExec exec) {
    constexpr int kLaunches = 20;
    const auto start = Clock::now();
    for (int i = 0; i < kLaunches; ++i) GPU_NEED(cuGraphLaunch, exec, stream);
    GPU_NEED(cuStreamSynchronize, stream);
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
  GPU_NEED(cuEventCreate, &event, CU_EVENT_DISABLE_TIMING);
  GPU_NEED(cuGraphLaunch, exec, probe.stream);
  GPU_NEED(cuCtxRecordEvent, probe.home, event);
  const bool waits = GPU_DRIVER(cuEventQuery)(event) == CUDA_ERROR_NOT_READY;
  GPU_NEED(cuEventSynchronize, event);
  expect(waits && GPU_DRIVER(cuStreamQuery)(probe.stream) == CUDA_SUCCESS,
         "an event of the program's context covers the kernel in the other one");
  GPU_NEED(cuGraphLaunch, exec, probe.stream);
  GPU_NEED(cuGraphLaunch, exec, probe.second);
  GPU_NEED(cuStreamSynchronize, probe.second);
  expect(GPU_DRIVER(cuStreamQuery)(probe.stream) == CUDA_SUCCESS,
         "one executable graph on two streams runs one launch after the other");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  Probe probe(argv[1]);
  CUgraph graph = probe.capture(probe.update, 64, kKernels);
  CUgraphExec own = nullptr;
  GPU_NEED(cuGraphInstantiate, &own, graph, 0);
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

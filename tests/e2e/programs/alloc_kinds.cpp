// Every right and wrong way to ask for linear memory and to give it back, with the driver's
// answers. The lines must be the same whoever serves the calls.
#include "program.hpp"

namespace {

void show(const char* what, CUresult result) {
  std::printf("%s: %s\n", what, e2e::name_of(result));
}

CUdeviceptr ask(const char* what, std::size_t bytes) {
  CUdeviceptr address = 0;
  const CUresult result = cuMemAlloc(&address, bytes);
  show(what, result);
  return result == CUDA_SUCCESS ? address : 0;
}

CUdeviceptr ask_pitch(const char* what, std::size_t width, std::size_t height, unsigned element,
                      std::size_t* pitch) {
  CUdeviceptr address = 0;
  *pitch = 0;
  const CUresult result = cuMemAllocPitch(&address, pitch, width, height, element);
  show(what, result);
  if (result != CUDA_SUCCESS) return 0;
  std::printf("  pitch holds the row: %s, is a multiple of the element: %s\n",
              *pitch >= width ? "yes" : "no", *pitch % element == 0 ? "yes" : "no");
  return address;
}

void sizes() {
  show("free of 0 bytes' address", cuMemFree(ask("cuMemAlloc(0)", 0)));
  ask("cuMemAlloc(SIZE_MAX)", SIZE_MAX);
  ask("cuMemAlloc(SIZE_MAX - 511)", SIZE_MAX - 511);
  ask("cuMemAlloc(SIZE_MAX / 2)", SIZE_MAX / 2);
  ask("cuMemAlloc(2^60)", std::size_t{1} << 60);
  ask("cuMemAlloc(2^48)", std::size_t{1} << 48);
  show("cuMemAlloc(null)", cuMemAlloc(nullptr, 4096));
  for (const std::size_t bytes :
       {1, 3, 511, 512, 513, 4095, 1 << 20, (1 << 20) + 1, (2 << 20) + 1}) {
    const CUdeviceptr address = ask("cuMemAlloc", bytes);
    std::printf("  %zu bytes, aligned to 256: %s\n", bytes, address % 256 == 0 ? "yes" : "no");
    show("  cuMemFree", cuMemFree(address));
  }
}

void pitches() {
  std::size_t pitch = 0;
  for (const std::size_t width : {1, 100, 512, 513, 5000})
    for (const unsigned element : {4u, 8u, 16u}) {
      const CUdeviceptr address = ask_pitch("cuMemAllocPitch", width, 10, element, &pitch);
      show("  memset of all rows", cuMemsetD2D8(address, pitch, 7, width, 10));
      show("  cuMemFree", cuMemFree(address));
    }
  ask_pitch("cuMemAllocPitch(0 wide)", 0, 10, 4, &pitch);
  ask_pitch("cuMemAllocPitch(0 high)", 10, 0, 4, &pitch);
  ask_pitch("cuMemAllocPitch(element 3)", 10, 10, 3, &pitch);
  ask_pitch("cuMemAllocPitch(SIZE_MAX wide)", SIZE_MAX, 1, 4, &pitch);
  ask_pitch("cuMemAllocPitch(SIZE_MAX / 2 by 4)", SIZE_MAX / 2, 4, 4, &pitch);
}

void frees() {
  show("cuMemFree(0)", cuMemFree(0));
  const CUdeviceptr small = ask("small", 1000);
  const CUdeviceptr large = ask("large", 5 << 20);
  show("free inside the small one", cuMemFree(small + 4));
  show("free inside the large one", cuMemFree(large + (2 << 20)));
  show("free past the large one", cuMemFree(large + (64 << 20)));
  show("memset of the small one", cuMemsetD8(small, 1, 1000));
  show("memset of the large one", cuMemsetD8(large, 1, 5 << 20));
  show("free of the small one", cuMemFree(small));
  show("again", cuMemFree(small));
  show("free of the large one", cuMemFree(large));
  show("again", cuMemFree(large));
  static int on_host = 0;
  show("free of a host variable", cuMemFree(reinterpret_cast<CUdeviceptr>(&on_host)));
  void* pinned = nullptr;
  show("cuMemHostAlloc", cuMemHostAlloc(&pinned, 4096, CU_MEMHOSTALLOC_PORTABLE));
  show("free of pinned memory", cuMemFree(reinterpret_cast<CUdeviceptr>(pinned)));
  show("cuMemFreeHost", cuMemFreeHost(pinned));
  show("free of 0xdead0000", cuMemFree(0xdead0000));
}

// After all the refusals the driver still serves.
void still_right(const e2e::Die& die, e2e::Hash& hash) {
  const e2e::Buffer buffer = e2e::Buffer::make(3 << 20);
  die.kernels.fill(buffer.address, buffer.words(), 5);
  e2e::hash_device(hash, buffer);
  show("the last free", cuMemFree(buffer.address));
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 1);
  CUdeviceptr address = 0;
  show("before cuInit", cuMemAlloc(&address, 4096));
  NEED(cuInit(0));
  show("without a context", cuMemAlloc(&address, 4096));
  show("free without a context", cuMemFree(0x7000000000));
  const e2e::Die die;
  sizes();
  pitches();
  frees();
  NEED(cuCtxSetCurrent(nullptr));
  show("context taken away", cuMemAlloc(&address, 4096));
  die.use();
  e2e::Hash hash;
  still_right(die, hash);
  return e2e::finish(hash);
}

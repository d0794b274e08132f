// Contexts come and go without freeing their memory: after each, all of it must be there again.
// Created ones, the primary one by release and by reset, and one whose memory another context uses.
#include "program.hpp"

namespace {

using e2e::Buffer;

// Holds most of --mib in ranges that are never freed here.
void fill_up(const e2e::Kernels& kernels, const e2e::Options& options, e2e::Hash& hash,
             std::uint32_t seed) {
  for (std::uint32_t i = 0; i < 6; ++i) {
    const Buffer large = Buffer::make(options.bytes() / 8);
    const Buffer small = Buffer::make(1000 * (i + 1));
    kernels.fill(large.address, large.words(), seed + i);
    kernels.fill(small.address, small.words(), seed ^ i);
    e2e::hash_device(hash, large);
    e2e::hash_device(hash, small);
  }
}

// Under a pointer that was freed by the end of its context, nothing is left.
bool known(CUdeviceptr address) {
  CUdeviceptr base = 0;
  std::size_t bytes = 0;
  return cuMemGetAddressRange(&base, &bytes, address) == CUDA_SUCCESS;
}

std::size_t free_bytes() {
  std::size_t free = 0, total = 0;
  NEED(cuMemGetInfo(&free, &total));
  return free;
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 12);
  NEED(cuInit(0));
  e2e::Hash hash;
  std::size_t free_at_first = 0;
  for (std::uint32_t turn = 0; turn < options.count; ++turn) {
    CUcontext context = nullptr;
    NEED(cuCtxCreate(&context, nullptr, 0, 0));
    const std::size_t free_now = free_bytes();
    if (turn == 0) free_at_first = free_now;
    // The driver may keep a little; one range that stays is more than that.
    CHECK(free_now + options.bytes() / 16 > free_at_first);
    e2e::Kernels kernels;
    kernels.load();
    fill_up(kernels, options, hash, turn);
    NEED(cuCtxDestroy(context));
  }
  for (std::uint32_t turn = 0; turn < options.count; ++turn) {
    CUcontext context = nullptr;
    NEED(cuDevicePrimaryCtxRetain(&context, 0));
    NEED(cuCtxSetCurrent(context));
    e2e::Kernels kernels;
    kernels.load();
    fill_up(kernels, options, hash, 100 + turn);
    if (turn % 2 == 0) NEED(cuDevicePrimaryCtxReset(0));
    std::printf("release: %s\n", e2e::name_of(cuDevicePrimaryCtxRelease(0)));
    unsigned flags = 0;
    int active = 1;
    NEED(cuDevicePrimaryCtxGetState(0, &flags, &active));
    std::printf("primary context after its end: %s\n", active != 0 ? "active" : "inactive");
  }

  // Two contexts of one die: each sees the other's memory; the death of one leaves the other's
  // alone.
  CUcontext first = nullptr, second = nullptr;
  NEED(cuCtxCreate(&first, nullptr, 0, 0));
  const Buffer of_first = Buffer::make(options.bytes() / 8);
  NEED(cuCtxCreate(&second, nullptr, 0, 0));
  e2e::Kernels kernels;
  kernels.load();
  const Buffer of_second = Buffer::make(options.bytes() / 8);
  kernels.fill(of_first.address, of_first.words(), 1);
  kernels.stencil(of_first.address, of_second.address, of_second.words());
  NEED(cuCtxSynchronize());
  NEED(cuCtxDestroy(first));
  std::printf("memory of the dead context: %s, of the living: %s\n",
              known(of_first.address) ? "known" : "gone",
              known(of_second.address) ? "known" : "gone");
  NEED(cuCtxSetCurrent(second));
  e2e::hash_device(hash, of_second);
  NEED(cuCtxDestroy(second));
  return e2e::finish(hash);
}

#include "die.hpp"

#include <algorithm>

#include "words.hpp"

extern const char barswap_bench_ptx[];

namespace barswap::bench {
namespace {

// Four blocks fill a multiprocessor of any die that we know, and enough of the link is in flight.
constexpr unsigned kThreads = 512;
constexpr unsigned kBlocksOfMultiprocessor = 4;

}  // namespace

Die::Die() {
  BARSWAP_NEED(cuInit, 0);
  BARSWAP_NEED(cuDeviceGet, &device_, 0);
  BARSWAP_NEED(cuDevicePrimaryCtxRetain, &context_, device_);
  BARSWAP_NEED(cuCtxSetCurrent, context_);
  BARSWAP_NEED(cuModuleLoadData, &module_, barswap_bench_ptx);
  fill_ = find("barswap_bench_fill");
  read_ = find("barswap_bench_read");
  step_ = find("barswap_bench_step");
  gather_ = find("barswap_bench_gather");
  blocks_max_ = kBlocksOfMultiprocessor *
                static_cast<unsigned>(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
}

Die::~Die() {
  BARSWAP_RELEASE(cuModuleUnload, module_);
  BARSWAP_RELEASE(cuDevicePrimaryCtxRelease, device_);
}

CUfunction Die::find(const char* name) const {
  CUfunction found = nullptr;
  BARSWAP_NEED(cuModuleGetFunction, &found, module_, name);
  return found;
}

int Die::attribute(CUdevice_attribute which) const {
  int value = 0;
  BARSWAP_NEED(cuDeviceGetAttribute, &value, which, device_);
  return value;
}

template <class... Params>
void Die::launch(CUfunction kernel, CUstream stream, std::uint64_t threads,
                 Params... params) const {
  void* list[] = {&params...};
  const std::uint64_t blocks = (threads + kThreads - 1) / kThreads;
  BARSWAP_NEED(cuLaunchKernel, kernel,
               static_cast<unsigned>(std::clamp<std::uint64_t>(blocks, 1, blocks_max_)), 1, 1,
               kThreads, 1, 1, 0, stream, list, nullptr);
}

void Die::fill(CUstream stream, CUdeviceptr to, std::uint64_t count, std::uint32_t seed) const {
  launch(fill_, stream, count, to, count, seed);
}

void Die::read(CUstream stream, CUdeviceptr from, std::uint64_t count, std::uint32_t times,
               CUdeviceptr out) const {
  launch(read_, stream, count, from, count, times, out);
}

void Die::step(CUstream stream, CUdeviceptr in, CUdeviceptr io, std::uint64_t count) const {
  launch(step_, stream, count, in, io, count);
}

void Die::gather(CUstream stream, CUdeviceptr table, std::uint32_t rows, std::uint64_t draws,
                 std::uint32_t seed, CUdeviceptr out) const {
  launch(gather_, stream, draws * kRowPieces, table, rows, draws, seed, out);
}

std::string Die::name() const {
  char text[256] = "";
  BARSWAP_NEED(cuDeviceGetName, text, sizeof text, device_);
  return text;
}

int Die::driver_version() const {
  int version = 0;
  BARSWAP_NEED(cuDriverGetVersion, &version);
  return version;
}

std::pair<std::uint64_t, std::uint64_t> Die::memory() const {
  std::size_t free_bytes = 0, all_bytes = 0;
  BARSWAP_NEED(cuMemGetInfo, &free_bytes, &all_bytes);
  return {free_bytes, all_bytes};
}

Memory::Memory(Kind kind, std::uint64_t bytes) : kind_(kind) {
  if (kind == Kind::device) {
    BARSWAP_NEED(cuMemAlloc, &device_, bytes);
    return;
  }
  BARSWAP_NEED(cuMemHostAlloc, &host_, bytes, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP);
  BARSWAP_NEED(cuMemHostGetDevicePointer, &device_, host_, 0);
}

Memory::~Memory() {
  if (kind_ == Kind::pinned && host_ != nullptr) BARSWAP_RELEASE(cuMemFreeHost, host_);
  if (kind_ == Kind::device && device_ != 0) BARSWAP_RELEASE(cuMemFree, device_);
}

}  // namespace barswap::bench

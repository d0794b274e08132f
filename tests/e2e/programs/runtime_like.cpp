// A program of the runtime kind: it names no driver function, and its runtime finds each of them as
// the real runtimes do. Built once with the shared and once with the static one. Pitched, pinned
// and plain memory, events between streams, a reset of the device in the middle.
#include "program.hpp"
#include "simrt.h"

namespace {

void need_rt(int result, const char* what) {
  if (result == RT_SUCCESS) return;
  e2e::stop(result == CUDA_ERROR_OUT_OF_MEMORY ? e2e::kStatusOutOfMemory : e2e::kStatusFailed,
            "%s: %d", what, result);
}
#define NEED_RT(call) need_rt((call), #call)

struct Block {
  void* pointer = nullptr;
  std::uint64_t bytes = 0;
};

Block make(std::uint64_t bytes) {
  Block block{nullptr, bytes};
  NEED_RT(rtMalloc(&block.pointer, bytes));
  return block;
}

void fill(const Block& block, std::uint32_t seed, rtStream_t stream) {
  void* pointer = block.pointer;
  std::uint64_t words = block.bytes / 4;
  void* parameters[] = {&pointer, &words, &seed};
  NEED_RT(rtLaunch("barswap_fill", 264, 256, parameters, stream));
}

void stencil(const Block& in, const Block& out, rtStream_t stream) {
  void* from = in.pointer;
  void* to = out.pointer;
  std::uint64_t words = in.bytes / 4;
  void* parameters[] = {&from, &to, &words};
  NEED_RT(rtLaunch("barswap_stencil", 264, 256, parameters, stream));
}

void hash_block(e2e::Hash& hash, const Block& block) {
  std::vector<unsigned char> bytes(block.bytes);
  NEED_RT(rtMemcpy(bytes.data(), block.pointer, block.bytes, RT_DEVICE_TO_HOST));
  hash.add(bytes.data(), bytes.size());
}

void pitched(e2e::Hash& hash) {
  void* area = nullptr;
  std::size_t pitch = 0;
  NEED_RT(rtMallocPitch(&area, &pitch, 1000, 3000));
  CHECK(pitch >= 1000);
  std::vector<unsigned char> row(1000);
  NEED_RT(rtMemset(area, 0x5b, pitch * 3000));
  for (std::size_t r = 0; r < 3000; r += 111) {
    NEED_RT(rtMemcpy(row.data(), static_cast<char*>(area) + r * pitch, 1000, RT_DEVICE_TO_HOST));
    hash.add(row.data(), row.size());
  }
  NEED_RT(rtFree(area));
}

void two_streams(const std::vector<Block>& blocks) {
  rtStream_t first = nullptr, second = nullptr;
  rtEvent_t event = nullptr;
  NEED_RT(rtStreamCreate(&first));
  NEED_RT(rtStreamCreate(&second));
  NEED_RT(rtEventCreate(&event));
  for (std::size_t i = 0; i + 1 < blocks.size(); ++i) {
    stencil(blocks[i], blocks[i + 1], first);
    NEED_RT(rtEventRecord(event, first));
    NEED_RT(rtEventSynchronize(event));
    NEED_RT(rtMemsetAsync(blocks[i].pointer, static_cast<int>(i), blocks[i].bytes / 3, second));
  }
  NEED_RT(rtStreamSynchronize(first));
  NEED_RT(rtStreamSynchronize(second));
  NEED_RT(rtEventDestroy(event));
  NEED_RT(rtStreamDestroy(first));
  NEED_RT(rtStreamDestroy(second));
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64);
  int devices = 0;
  NEED_RT(rtGetDeviceCount(&devices));
  NEED_RT(rtSetDevice(0));
  NEED_RT(rtRegisterImage(barswap_kernels_ptx));
  e2e::Hash hash;
  for (std::uint32_t round = 0; round < 2; ++round) {
    std::vector<Block> blocks;
    for (std::uint32_t i = 0; i < 8; ++i) {
      blocks.push_back(make(options.bytes() / 9 / 4096 * 4096));
      blocks.push_back(make(4 * (i + 1) * 100));
      fill(blocks.back(), i, nullptr);
      fill(blocks[blocks.size() - 2], i + 100, nullptr);
    }
    std::vector<Block> large, small;
    for (std::size_t i = 0; i < blocks.size(); ++i)
      (i % 2 == 0 ? large : small).push_back(blocks[i]);
    NEED_RT(rtDeviceSynchronize());
    two_streams(large);
    pitched(hash);
    for (const Block& block : blocks) hash_block(hash, block);
    NEED_RT(rtFree(large[3].pointer));
    NEED_RT(rtFree(nullptr));
    // The first time nothing else is freed: the reset does that.
    if (round == 0) NEED_RT(rtDeviceReset());
  }
  int found = 0, asked = 0;
  NEED_RT(rtResolved(&found, &asked));
  std::printf("driver functions: %d of %d\n", found, asked);
  return e2e::finish(hash);
}

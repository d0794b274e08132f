// A kernel that runs until the host tells it to stop, while other streams allocate, copy and
// compute: no call that does not wait on a bare driver may wait here.
#include "program.hpp"

using e2e::Buffer;

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 12);
  const e2e::Die die;
  e2e::Flag stop_flag;
  CUstream running = nullptr, working = nullptr;
  NEED(cuStreamCreate(&running, CU_STREAM_NON_BLOCKING));
  NEED(cuStreamCreate(&working, CU_STREAM_NON_BLOCKING));
  const Buffer result = Buffer::make(4);
  NEED(cuMemsetD8(result.address, 0, 4));
  const std::uint64_t bytes = options.bytes() / (options.count + 1) / 4096 * 4096;
  void* staging = nullptr;
  NEED(cuMemHostAlloc(&staging, bytes, CU_MEMHOSTALLOC_PORTABLE));
  auto* const words = static_cast<std::uint32_t*>(staging);
  NEED(cuCtxSynchronize());

  e2e::Watchdog watchdog("work beside a running kernel", 60);
  NEED(die.kernels.persistent.launch(running, 4, stop_flag.address(), result.address));
  CHECK(cuStreamQuery(running) == CUDA_ERROR_NOT_READY);
  std::vector<Buffer> buffers;
  for (std::uint32_t i = 0; i < options.count; ++i) {
    buffers.push_back(Buffer::make(bytes));
    const Buffer& buffer = buffers.back();
    for (std::uint64_t k = 0; k < buffer.words(); ++k) words[k] = e2e::word_at(k, i);
    NEED(cuMemcpyHtoDAsync(buffer.address, words, buffer.bytes, working));
    for (const Buffer& one : buffers)
      NEED(die.kernels.xorshift_update.launch(working, 16, one.address, one.words(), i));
    NEED(cuStreamSynchronize(working));
    NEED(cuMemcpyDtoHAsync(words, buffer.address, buffer.bytes, working));
    NEED(cuStreamSynchronize(working));
    for (std::uint64_t k = 0; k < buffer.words(); ++k)
      CHECK(words[k] == e2e::xorshift(e2e::word_at(k, i), i));
  }
  CHECK(cuStreamQuery(running) == CUDA_ERROR_NOT_READY);
  stop_flag.set(7);
  NEED(cuStreamSynchronize(running));
  watchdog.done();
  std::uint32_t seen = 0;
  NEED(cuMemcpyDtoH(&seen, result.address, 4));
  CHECK(seen == 7);
  e2e::Hash hash;
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  for (Buffer& buffer : buffers) buffer.free();
  NEED(cuMemFreeHost(staging));
  stop_flag.free();
  return e2e::finish(hash);
}

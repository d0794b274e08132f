// Every kind of stream and order: the legacy stream, per-thread streams, blocking and non-blocking
// ones with priorities, events, and waiting for and writing of values.
#include "program.hpp"

namespace {

using e2e::Buffer;

// The legacy stream waits for blocking streams, and they for it: no event is needed.
void legacy_order(const e2e::Die& die, const Buffer& buffer) {
  CUstream blocking = nullptr;
  NEED(cuStreamCreate(&blocking, CU_STREAM_DEFAULT));
  for (std::uint32_t i = 0; i < 8; ++i) {
    die.kernels.xorshift_update.on(i % 2 == 0 ? blocking : CU_STREAM_LEGACY, buffer.address,
                                   buffer.words(), i);
  }
  NEED(cuStreamSynchronize(CU_STREAM_LEGACY));
  NEED(cuStreamDestroy(blocking));
}

// Each thread's own stream; a thread works on its own part.
void per_thread(const e2e::Die& die, const Buffer& buffer) {
  std::vector<std::thread> threads;
  const std::uint64_t part = buffer.words() / 4;
  for (std::uint64_t t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      die.use();
      const CUdeviceptr at = buffer.address + t * part * 4;
      for (std::uint32_t i = 0; i < 4; ++i)
        die.kernels.xorshift_update.on(CU_STREAM_PER_THREAD, at, part,
                                       i * 4 + static_cast<std::uint32_t>(t));
      NEED(cuMemsetD32Async(at, static_cast<unsigned>(t), 1, CU_STREAM_PER_THREAD));
      NEED(cuStreamSynchronize(CU_STREAM_PER_THREAD));
    });
  for (std::thread& thread : threads) thread.join();
}

// A diamond over streams of all priorities, ordered by events alone.
void diamond(const e2e::Die& die, const std::vector<Buffer>& buffers) {
  int least = 0, greatest = 0;
  NEED(cuCtxGetStreamPriorityRange(&least, &greatest));
  CUstream top = nullptr, left = nullptr, right = nullptr;
  NEED(cuStreamCreateWithPriority(&top, CU_STREAM_NON_BLOCKING, greatest));
  NEED(cuStreamCreateWithPriority(&left, CU_STREAM_NON_BLOCKING, least));
  NEED(cuStreamCreateWithPriority(&right, CU_STREAM_NON_BLOCKING, least));
  CUevent forked = nullptr, left_done = nullptr, right_done = nullptr;
  NEED(cuEventCreate(&forked, CU_EVENT_DISABLE_TIMING));
  NEED(cuEventCreate(&left_done, CU_EVENT_DEFAULT));
  NEED(cuEventCreate(&right_done, CU_EVENT_BLOCKING_SYNC));
  for (int turn = 0; turn < 3; ++turn) {
    die.kernels.stencil.on(top, buffers[0].address, buffers[1].address, buffers[0].words());
    NEED(cuEventRecord(forked, top));
    NEED(cuStreamWaitEvent(left, forked, 0));
    NEED(cuStreamWaitEvent(right, forked, 0));
    die.kernels.stencil.on(left, buffers[1].address, buffers[2].address, buffers[1].words());
    die.kernels.stencil.on(right, buffers[1].address, buffers[3].address, buffers[1].words());
    die.kernels.xorshift_update.on(right, buffers[3].address, buffers[3].words(), 3);
    NEED(cuEventRecord(left_done, left));
    NEED(cuEventRecord(right_done, right));
    NEED(cuStreamWaitEvent(top, left_done, 0));
    NEED(cuStreamWaitEvent(top, right_done, 0));
    die.kernels.gather.on(top, buffers[2].address, buffers[3].address, buffers[0].address,
                          buffers[0].words(), buffers[2].words());
  }
  NEED(cuEventSynchronize(right_done));
  NEED(cuStreamSynchronize(top));
  CHECK(cuEventQuery(left_done) == CUDA_SUCCESS);
  for (const CUevent event : {forked, left_done, right_done}) NEED(cuEventDestroy(event));
  for (const CUstream stream : {top, left, right}) NEED(cuStreamDestroy(stream));
}

// One stream waits for a value that another writes, in device memory and in host memory.
void values(const e2e::Die& die, const Buffer& buffer) {
  CUstream waiting = nullptr, writing = nullptr;
  NEED(cuStreamCreate(&waiting, CU_STREAM_NON_BLOCKING));
  NEED(cuStreamCreate(&writing, CU_STREAM_NON_BLOCKING));
  const Buffer word = Buffer::make(64);
  NEED(cuMemsetD8(word.address, 0, word.bytes));
  NEED(cuCtxSynchronize());
  e2e::Flag flag;
  e2e::Watchdog watchdog("waiting for values", 60);
  NEED(cuStreamWaitValue32(waiting, word.address, 5, CU_STREAM_WAIT_VALUE_EQ));
  die.kernels.xorshift_update.on(waiting, buffer.address, buffer.words(), 1);
  NEED(cuStreamWriteValue32(waiting, word.address + 8, 6, CU_STREAM_WRITE_VALUE_DEFAULT));
  NEED(cuStreamWaitValue32(writing, flag.address(), 1, CU_STREAM_WAIT_VALUE_GEQ));
  die.kernels.xorshift_update.on(writing, buffer.address, buffer.words(), 2);
  NEED(cuStreamWriteValue32(writing, word.address, 5, CU_STREAM_WRITE_VALUE_DEFAULT));
  CHECK(cuStreamQuery(waiting) == CUDA_ERROR_NOT_READY);
  CHECK(cuStreamQuery(writing) == CUDA_ERROR_NOT_READY);
  // While both wait, allocation and queries go on.
  Buffer passing = Buffer::make(buffer.bytes);
  flag.set(1);
  NEED(cuStreamSynchronize(waiting));
  NEED(cuStreamSynchronize(writing));
  watchdog.done();
  passing.free();
  std::uint32_t seen[4] = {};
  NEED(cuMemcpyDtoH(seen, word.address, sizeof seen));
  CHECK(seen[0] == 5 && seen[2] == 6);
  flag.free();
  NEED(cuStreamDestroy(waiting));
  NEED(cuStreamDestroy(writing));
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64);
  const e2e::Die die;
  std::vector<Buffer> buffers;
  for (std::uint32_t i = 0; i < 7; ++i) {
    buffers.push_back(Buffer::make(options.bytes() / 8 / 4096 * 4096));
    die.kernels.fill(buffers.back().address, buffers.back().words(), i);
  }
  NEED(cuCtxSynchronize());
  for (std::uint64_t round = 0; round < options.rounds; ++round) {
    legacy_order(die, buffers[4]);
    per_thread(die, buffers[5]);
    diamond(die, buffers);
    values(die, buffers[6]);
  }
  e2e::Hash hash;
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  return e2e::finish(hash);
}

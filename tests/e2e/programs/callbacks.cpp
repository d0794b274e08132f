// Host functions on streams, with a lock that the submitting thread holds while it submits, as an
// interpreter would: a callback that wants the lock runs while its owner is inside the driver.
#include <mutex>

#include "program.hpp"

namespace {

using e2e::Buffer;

struct Shared {
  std::mutex lock;
  std::uint64_t calls = 0;
  std::uint64_t fold = 0;
};

struct Note {
  Shared* shared;
  std::uint64_t number;
};

void CUDA_CB note(void* data) {
  const Note& one = *static_cast<Note*>(data);
  const std::lock_guard<std::mutex> guard(one.shared->lock);
  ++one.shared->calls;
  one.shared->fold += one.number * 0x9e3779b97f4a7c15ull;
}

void CUDA_CB note_with_status(CUstream, CUresult status, void* data) {
  CHECK(status == CUDA_SUCCESS);
  note(data);
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 40);
  const e2e::Die die;
  e2e::Watchdog watchdog("callbacks with a lock", 60);
  CUstream streams[3] = {};
  for (CUstream& stream : streams) NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  std::vector<Buffer> buffers;
  const std::uint64_t bytes = options.bytes() / 8 / 4096 * 4096;
  for (std::uint32_t i = 0; i < 6; ++i) {
    buffers.push_back(Buffer::make(bytes));
    die.kernels.fill(buffers.back().address, buffers.back().words(), i);
  }
  NEED(cuCtxSynchronize());
  Shared shared;
  std::vector<Note> notes(options.count * 3);
  std::size_t next = 0;
  for (std::uint64_t turn = 0; turn < options.count; ++turn) {
    {
      const std::lock_guard<std::mutex> guard(shared.lock);
      for (unsigned s = 0; s < 3; ++s) {
        notes[next] = {&shared, next};
        const Buffer& buffer = buffers[2 * s + turn % 2];
        die.kernels.xorshift_update.on(streams[s], buffer.address, buffer.words(),
                                       static_cast<std::uint32_t>(turn));
        if (s == 2) NEED(cuStreamAddCallback(streams[s], note_with_status, &notes[next], 0));
        else NEED(cuLaunchHostFunc(streams[s], note, &notes[next]));
        ++next;
        die.kernels.xorshift_update.on(streams[s], buffer.address, buffer.words(), 1);
      }
      // Allocation and copies by the owner of the lock, while callbacks want it.
      Buffer passing = Buffer::make(bytes / 2);
      NEED(cuMemsetD8Async(passing.address, 1, passing.bytes, streams[0]));
      buffers.push_back(passing);
    }
    if (turn % 4 == 3) {
      for (const CUstream stream : streams) NEED(cuStreamSynchronize(stream));
      while (buffers.size() > 6) {
        buffers.back().free();
        buffers.pop_back();
      }
    }
  }
  for (const CUstream stream : streams) NEED(cuStreamSynchronize(stream));
  CHECK(shared.calls == options.count * 3);
  e2e::Hash hash;
  hash.add(shared.fold);
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  for (const CUstream stream : streams) NEED(cuStreamDestroy(stream));
  watchdog.done();
  return e2e::finish(hash);
}

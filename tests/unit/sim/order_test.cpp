// Streams, events and what waits for what.
#include "bench.hpp"

using namespace barswap::sim;
using namespace barswap::sim::bench;

TEST_CASE("work is asynchronous and a stream keeps its order") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Bench b(small_config(seed));
    const CUdeviceptr at = b.alloc(1 * MiB);
    const CUstream stream = b.stream();
    auto held = b.hold(stream);
    OK(b.fill_words(at, 1000, 1, stream));
    OK(b.launch("barswap_xorshift_update", stream, at, std::uint64_t{1000}, std::uint32_t{5}));
    CHECK(b.api.cuStreamQuery(stream) == CUDA_ERROR_NOT_READY);
    held.release();
    OK(b.api.cuStreamSynchronize(stream));
    OK(b.api.cuStreamQuery(stream));
    const std::uint32_t asynchronous = b.word(at + 400);
    OK(b.fill_words(at, 1000, 1));
    OK(b.api.cuCtxSynchronize());
    OK(b.launch("barswap_xorshift_update", nullptr, at, std::uint64_t{1000}, std::uint32_t{5}));
    CHECK(b.word(at + 400) == asynchronous);
  }
}

TEST_CASE("an event orders two streams") {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    Bench b(small_config(seed));
    const CUdeviceptr from = b.alloc(256 * 1024);
    const CUdeviceptr to = b.alloc(256 * 1024);
    const CUstream first = b.stream();
    const CUstream second = b.stream();
    const CUevent event = b.event();
    OK(b.fill_words(from, 65536, 7, first));
    OK(b.api.cuEventRecord(event, first));
    OK(b.api.cuStreamWaitEvent(second, event, 0));
    OK(b.api.cuMemcpyDtoDAsync_v2(to, from, 256 * 1024, second));
    OK(b.api.cuStreamSynchronize(second));
    CHECK(b.word(to + 65535 * 4) == b.word(from + 65535 * 4));
    OK(b.api.cuEventQuery(event));
  }
}

TEST_CASE("the legacy stream and blocking streams wait for each other, others do not") {
  Bench b;
  const CUstream blocking = b.stream(CU_STREAM_DEFAULT);
  const CUstream free_stream = b.stream();
  const CUdeviceptr at = b.alloc(4096);
  auto held = b.hold(blocking);
  OK(b.fill_words(at, 16, 2, nullptr));
  OK(b.fill_words(at, 16, 3, free_stream));
  OK(b.api.cuStreamSynchronize(free_stream));
  CHECK(b.api.cuStreamQuery(nullptr) == CUDA_ERROR_NOT_READY);
  held.release();
  OK(b.api.cuStreamSynchronize(nullptr));
  OK(b.api.cuStreamQuery(blocking));
}

TEST_CASE("per-thread twins mean the thread's own stream") {
  Bench b;
  auto held = b.hold(nullptr);
  CHECK(b.api.cuStreamQuery(nullptr) == CUDA_ERROR_NOT_READY);
  OK(b.api.cuStreamQuery_ptsz(nullptr));
  held.release();
  OK(b.api.cuStreamSynchronize(nullptr));
}

TEST_CASE("a context's event covers every stream and never blocks") {
  Bench b;
  const CUstream stream = b.stream();
  const CUevent event = b.event();
  auto held = b.hold(stream);
  OK(b.api.cuCtxRecordEvent(b.context, event));
  for (int i = 0; i < 50; ++i) CHECK(b.api.cuEventQuery(event) == CUDA_ERROR_NOT_READY);
  auto later = b.hold(b.stream());
  held.release();
  OK(b.api.cuStreamSynchronize(stream));
  OK(b.api.cuEventQuery(event));
  later.release();
  OK(b.api.cuCtxSynchronize());
}

TEST_CASE("host functions run in order, and may not call the driver") {
  Bench b;
  struct Seen {
    Bench* bench;
    std::vector<int> order;
    CUresult answer = CUDA_SUCCESS;
  } seen{&b, {}, CUDA_SUCCESS};
  const CUstream stream = b.stream();
  OK(b.api.cuLaunchHostFunc(stream, [](void* data) {
    auto* s = static_cast<Seen*>(data);
    s->order.push_back(1);
    CUdeviceptr at = 0;
    s->answer = s->bench->api.cuMemAlloc_v2(&at, 16);
  }, &seen));
  OK(b.api.cuLaunchHostFunc(
      stream, [](void* data) { static_cast<Seen*>(data)->order.push_back(2); }, &seen));
  OK(b.api.cuStreamSynchronize(stream));
  CHECK(seen.order == std::vector<int>{1, 2});
  CHECK(seen.answer == CUDA_ERROR_NOT_PERMITTED);
}

TEST_CASE("stream memory operations hold and release") {
  Bench b;
  const CUdeviceptr flag = b.alloc(4);
  OK(b.api.cuMemsetD32_v2(flag, 0, 1));
  OK(b.api.cuCtxSynchronize());
  const CUstream waiting = b.stream();
  const CUstream writing = b.stream();
  OK(b.api.cuStreamWaitValue32_v2(waiting, flag, 5, CU_STREAM_WAIT_VALUE_GEQ));
  for (int i = 0; i < 20; ++i) CHECK(b.api.cuStreamQuery(waiting) == CUDA_ERROR_NOT_READY);
  OK(b.api.cuStreamWriteValue32_v2(writing, flag, 6, 0));
  OK(b.api.cuStreamSynchronize(waiting));
}

TEST_CASE("asynchronous copies take pageable sources at the call") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    Bench b(small_config(seed));
    const CUstream stream = b.stream();
    const CUdeviceptr at = b.alloc(4096);
    auto held = b.hold(stream);
    std::vector<std::uint32_t> words(1024, 17);
    OK(b.api.cuMemcpyHtoDAsync_v2(at, words.data(), 4096, stream));
    std::fill(words.begin(), words.end(), 99u);
    held.release();
    OK(b.api.cuStreamSynchronize(stream));
    CHECK(b.word(at + 100) == 17);
  }
}

TEST_CASE("a plain memset returns at once on a die and blocks on the host") {
  Bench b;
  const CUdeviceptr at = b.reserve(2 * page);
  OK(b.api.cuMemMap(at, page, 0, b.create(), 0));
  OK(b.api.cuMemMap(at + page, page, 0, b.create(page, true), 0));
  OK(b.grant(at, 2 * page));
  auto held = b.hold(nullptr);
  OK(b.api.cuMemsetD8_v2(at, 1, page));
  CHECK(b.api.cuStreamQuery(nullptr) == CUDA_ERROR_NOT_READY);
  held.release();
  OK(b.api.cuMemsetD8_v2(at + page, 2, page));
  OK(b.api.cuStreamQuery(nullptr));
  CHECK(b.word(at + page) == 0x02020202u);
}

TEST_CASE("the same seed gives the same trace, another seed another") {
  const auto run = [](std::uint64_t seed) {
    Bench b(small_config(seed));
    std::vector<CUstream> streams = {b.stream(), b.stream(), b.stream()};
    const CUdeviceptr at = b.alloc(3 * MiB);
    for (int i = 0; i < 30; ++i)
      OK(b.fill_words(at + (i % 3) * MiB, 200000, 1, streams[static_cast<std::size_t>(i % 3)]));
    OK(b.api.cuCtxSynchronize());
    return b.machine.audit().trace;
  };
  CHECK(run(5) == run(5));
  CHECK(run(5) != run(6));
}

TEST_CASE("between the host and HBM a copy uses the link of the die whose HBM it is") {
  Config config = small_config();
  config.dies = 2;
  Bench b(config);
  void* host = nullptr;
  OK(b.api.cuMemHostAlloc(&host, 2 * page, CU_MEMHOSTALLOC_PORTABLE));
  const CUdeviceptr at = b.alloc(2 * page);
  CUcontext other = nullptr;
  OK(b.api.cuDevicePrimaryCtxRetain(&other, 1));
  OK(b.api.cuCtxSetCurrent(other));
  const CUstream stream = b.stream();
  OK(b.api.cuMemcpyHtoDAsync_v2(at, host, 2 * page, stream));
  OK(b.api.cuMemcpyDtoHAsync_v2(host, at, page, stream));
  OK(b.api.cuStreamSynchronize(stream));
  CHECK(b.machine.scheduler().copied_bytes(0, engine_in) == 2 * page);
  CHECK(b.machine.scheduler().copied_bytes(0, engine_out) == page);
  for (const int engine : {engine_in, engine_out})
    CHECK(b.machine.scheduler().copied_bytes(1, engine) == 0);
}

TEST_CASE("the virtual clock times copies at the link's rate") {
  Bench b;
  void* host = nullptr;
  OK(b.api.cuMemHostAlloc(&host, 32 * MiB, 0));
  const CUdeviceptr at = b.alloc(32 * MiB);
  const CUstream stream = b.stream();
  CUevent start = nullptr;
  CUevent end = nullptr;
  OK(b.api.cuEventCreate(&start, 0));
  OK(b.api.cuEventCreate(&end, 0));
  OK(b.api.cuEventRecord(start, stream));
  OK(b.api.cuMemcpyHtoDAsync_v2(at, host, 32 * MiB, stream));
  OK(b.api.cuEventRecord(end, stream));
  OK(b.api.cuStreamSynchronize(stream));
  float milliseconds = 0;
  const auto elapsed =
      reinterpret_cast<CUresult (*)(float*, CUevent, CUevent)>(find("cuEventElapsedTime"));
  OK(elapsed(&milliseconds, start, end));
  CHECK(milliseconds == doctest::Approx(32.0 * 1.048576 / 55.2).epsilon(0.02));
}

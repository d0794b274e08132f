#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

driver::Context word_of(CUcontext context) {
  return static_cast<driver::Context>(reinterpret_cast<std::uintptr_t>(context));
}

TEST_CASE("a ticket passes once what was submitted before it has ended") {
  Bench bench;
  pager::Contexts& contexts = bench.pager().contexts();
  const CUstream stream = bench.held_stream();
  const std::uint64_t ticket = contexts.ticket();
  for (int i = 0; i < 20; ++i) bench.pager().poll_quiet();
  CHECK_FALSE(contexts.passed(ticket));
  bench.let_go();
  REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  for (int i = 0; i < 20; ++i) bench.pager().poll_quiet();
  CHECK(contexts.passed(ticket));
  CHECK_FALSE(contexts.passed(contexts.ticket()));
}

TEST_CASE("work of any context holds a ticket back") {
  Bench bench(support::small_setting(2));
  pager::Contexts& contexts = bench.pager().contexts();
  REQUIRE(contexts.count() == 2);
  REQUIRE(cuCtxSetCurrent(bench.contexts[1]) == CUDA_SUCCESS);
  const CUstream stream = bench.held_stream();
  REQUIRE(cuCtxSetCurrent(bench.contexts[0]) == CUDA_SUCCESS);
  const std::uint64_t ticket = contexts.ticket();
  for (int i = 0; i < 20; ++i) bench.pager().poll_quiet();
  CHECK_FALSE(contexts.passed(ticket));
  bench.let_go();
  REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  for (int i = 0; i < 20; ++i) bench.pager().poll_quiet();
  CHECK(contexts.passed(ticket));
}

TEST_CASE("no proof is begun while a capture lives, and the capture stays whole") {
  Bench bench;
  pager::Contexts& contexts = bench.pager().contexts();
  CUstream stream = nullptr;
  REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(cuStreamBeginCapture_v2(stream, CU_STREAM_CAPTURE_MODE_GLOBAL) == CUDA_SUCCESS);
  CHECK(contexts.capturing());
  CHECK_FALSE(contexts.record_drain());
  const std::uint64_t ticket = contexts.ticket();
  for (int i = 0; i < 5; ++i) bench.pager().poll_quiet();
  CHECK_FALSE(contexts.passed(ticket));
  CUgraph graph = nullptr;
  CHECK(cuStreamEndCapture(stream, &graph) == CUDA_SUCCESS);
  CHECK_FALSE(contexts.capturing());
  for (int i = 0; i < 20; ++i) bench.pager().poll_quiet();
  CHECK(contexts.passed(ticket));
}

TEST_CASE("a suspended context stops drains and proofs until it is back or gone") {
  Bench bench;
  pager::Contexts& contexts = bench.pager().contexts();
  const driver::Context context = word_of(bench.contexts[0]);
  const std::uint64_t ticket = contexts.ticket();
  contexts.suspend(context);
  CHECK_FALSE(contexts.known(context));
  CHECK_FALSE(contexts.record_drain());
  bench.pager().poll_quiet();
  CHECK_FALSE(contexts.passed(ticket));
  contexts.resume(context);
  CHECK(contexts.known(context));
  CHECK(contexts.record_drain());
  contexts.suspend(context);
  contexts.forget(context);
  CHECK(contexts.count() == 0);
  // With no context there is no work.
  CHECK(contexts.passed(ticket));
}

TEST_CASE("a capture ends with its context") {
  Bench bench;
  pager::Contexts& contexts = bench.pager().contexts();
  contexts.capture_begins(77, word_of(bench.contexts[0]));
  CHECK(contexts.capturing());
  contexts.forget(word_of(bench.contexts[0]));
  CHECK_FALSE(contexts.capturing());
}

}  // namespace

#include "driver/errors.hpp"
#include "support/bench.hpp"

namespace {

using namespace barswap;

TEST_CASE("a refusal of the driver travels unchanged; ours have codes that calls document") {
  CHECK(driver::code_of({Fault::driver, CUDA_ERROR_NOT_PERMITTED}) == CUDA_ERROR_NOT_PERMITTED);
  CHECK(driver::code_of({Fault::out_of_memory}) == CUDA_ERROR_OUT_OF_MEMORY);
  CHECK(driver::code_of({Fault::not_supported}) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(driver::code_of({Fault::invalid}) == CUDA_ERROR_INVALID_VALUE);
  CHECK(driver::code_of({Fault::busy}) == CUDA_ERROR_NOT_READY);
}

TEST_CASE("which refusals are for memory, and which end a context") {
  CHECK(driver::refused_for_memory({Fault::out_of_memory}));
  CHECK(driver::refused_for_memory({Fault::driver, CUDA_ERROR_OUT_OF_MEMORY}));
  CHECK_FALSE(driver::refused_for_memory({Fault::driver, CUDA_ERROR_INVALID_VALUE}));
  CHECK(driver::sticky({Fault::driver, CUDA_ERROR_ILLEGAL_ADDRESS}));
  CHECK(driver::sticky({Fault::driver, CUDA_ERROR_ECC_UNCORRECTABLE}));
  CHECK_FALSE(driver::sticky({Fault::driver, CUDA_ERROR_OUT_OF_MEMORY}));
  CHECK_FALSE(driver::sticky({Fault::busy, CUDA_ERROR_ILLEGAL_ADDRESS}));
}

TEST_CASE("a driver that lacks a function refuses as not supported") {
  support::Bench bench;
  driver::Api api = bench.life.api();
  api.cuCtxRecordEvent = nullptr;
  api.cuDeviceGetUuid_v2 = nullptr;
  api.cuMemGetAllocationGranularity = nullptr;
  api.cuMemPoolTrimTo = nullptr;
  api.cuThreadExchangeStreamCaptureMode = nullptr;
  const driver::Verbs verbs(api);
  CHECK_FALSE(verbs.has_idle_proof());
  const auto code = [](auto outcome) {
    REQUIRE_FALSE(outcome.has_value());
    return outcome.error().driver_code;
  };
  CHECK(code(verbs.record_context(driver::Context::none, driver::Event::none)) ==
        CUDA_ERROR_NOT_SUPPORTED);
  CHECK(code(verbs.uuid(Die{0})) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(code(verbs.granularity(Die{0})) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(code(verbs.trim_default_pool(Die{0})) == CUDA_ERROR_NOT_SUPPORTED);
  const driver::RelaxedCapture relaxed(verbs);
  api.cuMemSetAccess = nullptr;
  auto vmm = verbs.has_vmm(Die{0});
  REQUIRE(vmm.has_value());
  CHECK_FALSE(*vmm);
}

TEST_CASE("the program's context comes back") {
  support::Bench bench(support::small_setting(2));
  const driver::Verbs& verbs = bench.session().verbs();
  const auto first =
      static_cast<driver::Context>(reinterpret_cast<std::uintptr_t>(bench.contexts[0]));
  const auto second =
      static_cast<driver::Context>(reinterpret_cast<std::uintptr_t>(bench.contexts[1]));
  {
    const driver::Entered entered(verbs, second);
    REQUIRE(entered.ok());
    auto die = verbs.current_die();
    REQUIRE(die.has_value());
    CHECK(*die == Die{1});
  }
  CHECK(*verbs.current() == first);
  {
    const driver::Entered entered(verbs, driver::Context::none);
    CHECK_FALSE(entered.ok());
  }
  CHECK(*verbs.current() == first);
}

TEST_CASE("an event is ready once its stream is") {
  support::Bench bench;
  const driver::Verbs& verbs = bench.session().verbs();
  const CUstream stream = bench.held_stream();
  auto event = verbs.make_event();
  REQUIRE(event.has_value());
  REQUIRE(
      verbs.record(*event, static_cast<driver::Stream>(reinterpret_cast<std::uintptr_t>(stream)))
          .has_value());
  CHECK_FALSE(*verbs.ready(*event));
  bench.let_go();
  REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
  CHECK(*verbs.ready(*event));
  verbs.destroy(*event);
}

}  // namespace

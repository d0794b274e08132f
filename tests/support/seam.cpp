// The seam between the shim's exports and a driver, for tests in one process: the driver is the
// table that a test stores, and nothing is looked up in a loader.
#include "interpose/bypass.hpp"
#include "interpose/resolver.hpp"

namespace barswap::interpose {
namespace {

constinit const driver::Api no_driver{};

}  // namespace

constinit std::atomic<const driver::Api*> adopted_api{nullptr};

const driver::Api& adopt_driver() noexcept {
  const driver::Api* api = adopted_api.load(std::memory_order_acquire);
  return api ? *api : no_driver;
}

CUresult code_for_missing() noexcept {
  return adopted_api.load(std::memory_order_acquire) ? CUDA_ERROR_NOT_FOUND
                                                     : CUDA_ERROR_STUB_LIBRARY;
}

// A test calls our exports by their names, so there is nothing to exchange.
void* exchange(const char*, void* address) noexcept { return address; }
void report_second_copy() noexcept {}
const void* real_address(const char*) noexcept { return nullptr; }
void* next_nvml(const char*) noexcept { return nullptr; }
void report_bypasses() noexcept {}

}  // namespace barswap::interpose

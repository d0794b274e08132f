// Which libcuda is the real one, and what the program gets in exchange for its addresses.
//
// Adopt, don't load: the first copy of libcuda that the program resolves a function in is adopted,
// for good. Only if the program calls us while none is loaded do we open one. A second copy
// (forward compatibility packages) keeps its own functions, raw. Nothing here locks: racing threads
// build the same table and one is published; losers throw theirs away.
#pragma once
#include <atomic>

#include "driver/api.hpp"

namespace barswap::interpose {

// The adopted copy, read-only once published. It is never freed.
struct AdoptedDriver;

extern std::atomic<const driver::Api*> adopted_api;
const driver::Api& adopt_driver() noexcept;

// The real functions. Slots are null where the driver lacks them; all of them, while there is no
// driver at all.
inline const driver::Api& real() noexcept {
  if (const driver::Api* api = adopted_api.load(std::memory_order_acquire)) [[likely]] return *api;
  return adopt_driver();
}

// What a call of a function that the driver lacks returns. CUDA documents NOT_FOUND for names of
// driver functions; a program linked against a newer driver would not even have started without us.
// With no driver at all we are what CUDA calls a stub library.
CUresult code_for_missing() noexcept;

// Calls the real function of a slot.
template <auto Slot, class... Arguments>
CUresult forward(Arguments... arguments) noexcept {
  const auto function = real().*Slot;
  return function ? function(arguments...) : code_for_missing();
}

// What the program gets for an address that the adopted driver's cuGetProcAddress returned for
// `name`.
void* exchange(const char* name, void* address) noexcept;

// Says once, at info, that the program also uses a second copy of libcuda.
void report_second_copy() noexcept;

// The real address of a row's function; null while no driver is adopted, or where it lacks it.
const void* real_address(const char* name) noexcept;

// For the loader of another library of NVIDIA's (NVML): the function behind our export.
void* next_nvml(const char* name) noexcept;

}  // namespace barswap::interpose

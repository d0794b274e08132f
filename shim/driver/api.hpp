// The typed table of the driver's functions, and the only header that includes CUDA's.
//
// A table is an object: the real driver, the simulated one and the fault-injecting one are the same
// struct filled differently. It is filled once, before first use, and read-only afterwards.
#pragma once

// Declares every variant of every function, under its exported name and without macros in between.
#define __CUDA_API_VERSION_INTERNAL
#include <cuda.h>
#include <cudaTypedefs.h>

#include <cstddef>
#include <string_view>
#include <type_traits>

namespace barswap::driver {

// What cuda.h 13.0 declares and its cudaTypedefs.h forgets.
#define BARSWAP_TYPEDEF(symbol, version) using PFN_##symbol##_v##version = decltype(&::symbol)
BARSWAP_TYPEDEF(cuCoredumpGetAttribute, 12010);
BARSWAP_TYPEDEF(cuCoredumpGetAttributeGlobal, 12010);
BARSWAP_TYPEDEF(cuCoredumpSetAttribute, 12010);
BARSWAP_TYPEDEF(cuCoredumpSetAttributeGlobal, 12010);
BARSWAP_TYPEDEF(cuCtxFromGreenCtx, 12040);
BARSWAP_TYPEDEF(cuCtxGetDevResource, 12040);
BARSWAP_TYPEDEF(cuCtxRecordEvent, 12050);
BARSWAP_TYPEDEF(cuCtxWaitEvent, 12050);
BARSWAP_TYPEDEF(cuDevResourceGenerateDesc, 12040);
BARSWAP_TYPEDEF(cuDevSmResourceSplitByCount, 12040);
BARSWAP_TYPEDEF(cuDeviceGetDevResource, 12040);
BARSWAP_TYPEDEF(cuDeviceRegisterAsyncNotification, 12040);
BARSWAP_TYPEDEF(cuDeviceUnregisterAsyncNotification, 12040);
BARSWAP_TYPEDEF(cuGreenCtxCreate, 12040);
BARSWAP_TYPEDEF(cuGreenCtxDestroy, 12040);
BARSWAP_TYPEDEF(cuGreenCtxGetDevResource, 12040);
BARSWAP_TYPEDEF(cuGreenCtxGetId, 13000);
BARSWAP_TYPEDEF(cuGreenCtxRecordEvent, 12040);
BARSWAP_TYPEDEF(cuGreenCtxWaitEvent, 12040);
BARSWAP_TYPEDEF(cuStreamGetGreenCtx, 12040);
#undef BARSWAP_TYPEDEF

// Header, typedef and row agree, for every row.
#define BARSWAP_PROOF(symbol, api, version, suffix)                              \
  static_assert(std::is_same_v<decltype(&::symbol), PFN_##api##_v##version##suffix>, \
                #symbol ": the row's version or suffix is wrong");
#define BARSWAP_HOOK(symbol, api, version, suffix, arity) \
  BARSWAP_PROOF(symbol, api, version, suffix)
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits) \
  BARSWAP_PROOF(symbol, api, version, suffix)
#define BARSWAP_SYNC(symbol, api, version, suffix, arity) \
  BARSWAP_PROOF(symbol, api, version, suffix)
#define BARSWAP_RETRY(symbol, api, version, suffix, arity) \
  BARSWAP_PROOF(symbol, api, version, suffix)
#define BARSWAP_ORDER(symbol, api, version, suffix, arity) \
  BARSWAP_PROOF(symbol, api, version, suffix)
#define BARSWAP_CALL(symbol, api, version, suffix, arity) \
  BARSWAP_PROOF(symbol, api, version, suffix)
#define BARSWAP_PASS(symbol, api, version, suffix, arity, reason) \
  BARSWAP_PROOF(symbol, api, version, suffix)
#include "driver/driver_api.def"
#undef BARSWAP_PROOF

// One slot for each function that we export or call; null where the driver lacks it.
struct Api {
#define BARSWAP_SLOT(symbol) decltype(&::symbol) symbol = nullptr;
#define BARSWAP_HOOK(symbol, api, version, suffix, arity) BARSWAP_SLOT(symbol)
#define BARSWAP_SUBMIT(symbol, api, version, suffix, arity, traits) BARSWAP_SLOT(symbol)
#define BARSWAP_SYNC(symbol, api, version, suffix, arity) BARSWAP_SLOT(symbol)
#define BARSWAP_RETRY(symbol, api, version, suffix, arity) BARSWAP_SLOT(symbol)
#define BARSWAP_ORDER(symbol, api, version, suffix, arity) BARSWAP_SLOT(symbol)
#define BARSWAP_CALL(symbol, api, version, suffix, arity) BARSWAP_SLOT(symbol)
#include "driver/driver_api.def"
#undef BARSWAP_SLOT
};

// Fills every slot through `find`, which returns null for what the driver lacks.
using Finder = void* (*)(void* state, const char* symbol);
void fill(Api& api, Finder find, void* state);

}  // namespace barswap::driver

// Lookup, faults, queries, contexts and peers.
#include <cstring>

#include "bench.hpp"

using namespace barswap::sim;
using namespace barswap::sim::bench;

namespace {

struct Found {
  CUresult result;
  void* address;
  CUdriverProcAddressQueryResult status;
};

Found ask(const Bench& b, const char* name, int version, cuuint64_t flags = 0) {
  Found found{CUDA_SUCCESS, &found, CU_GET_PROC_ADDRESS_SUCCESS};
  found.result = b.api.cuGetProcAddress_v2(name, &found.address, version, flags, &found.status);
  return found;
}

}  // namespace

TEST_CASE("every row answers under its version and mode, with its entry's address") {
  Config config = small_config();
  config.driver_version = 13000;
  Bench b(config);
  for (int i = 0; i < row_count; ++i) {
    const Row& each = rows()[i];
    CAPTURE(each.symbol);
    CHECK(find(each.symbol) == each.entry);
    const cuuint64_t flags =
        each.suffix.empty() ? 0 : CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;
    const Found found = ask(b, each.api, each.version, flags);
    CHECK(found.result == CUDA_SUCCESS);
    CHECK(found.status == CU_GET_PROC_ADDRESS_SUCCESS);
    CHECK(found.address == each.entry);
  }
}

TEST_CASE("versions choose variants, and the forms differ on what is missing") {
  Bench b;
  CHECK(ask(b, "cuMemAlloc", 3019).address == find("cuMemAlloc"));
  CHECK(ask(b, "cuMemAlloc", 13000).address == find("cuMemAlloc_v2"));
  CHECK(ask(b, "cuCtxCreate", 12000).address == find("cuCtxCreate_v3"));
  CHECK(ask(b, "cuCtxCreate", 13000).address == find("cuCtxCreate_v4"));
  CHECK(ask(b, "cuMemAlloc", 13000, 2).address == find("cuMemAlloc_v2"));
  CHECK(ask(b, "cuMemcpyHtoD", 13000, 2).address == find("cuMemcpyHtoD_v2_ptds"));
  const Found early = ask(b, "cuMemCreate", 9000);
  CHECK(early.result == CUDA_SUCCESS);
  CHECK(early.address == nullptr);
  CHECK(early.status == CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT);
  CHECK(ask(b, "cuNoSuchThing", 13000).status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  void* address = &b;
  CHECK(b.api.cuGetProcAddress("cuNoSuchThing", &address, 13000, 0) == CUDA_ERROR_NOT_FOUND);
  CHECK(address == &b);
  OK(b.api.cuGetProcAddress_v2("", &address, 0, 0, nullptr));
  CHECK(b.api.cuGetProcAddress_v2("cuInit", &address, 13000, 8, nullptr) ==
        CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("an older driver lacks what came later") {
  Config config = small_config();
  config.driver_version = 12020;
  Bench b(config);
  CHECK(ask(b, "cuCtxRecordEvent", 13000).status == CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND);
  CHECK(ask(b, "cuCtxCreate", 13000).address == find("cuCtxCreate_v3"));
}

TEST_CASE("a function nobody wrote says that it is not supported") {
  Bench b;
  const auto function =
      reinterpret_cast<CUresult (*)(void*)>(find("cuDestroyExternalMemory"));
  CHECK(function(nullptr) == CUDA_ERROR_NOT_SUPPORTED);
}

TEST_CASE("faults come at the call that was named") {
  Config config = small_config();
  config.faults = parse_faults("cuMemCreate:2:2:once;cuMemMap:*:999:always");
  Bench b(config);
  CUmemGenericAllocationHandle handle = 0;
  const auto properties = Bench::properties_of(false);
  OK(b.api.cuMemCreate(&handle, page, &properties, 0));
  CHECK(b.api.cuMemCreate(&handle, page, &properties, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  OK(b.api.cuMemCreate(&handle, page, &properties, 0));
  const CUdeviceptr at = b.reserve(page);
  for (int i = 0; i < 3; ++i) CHECK(b.api.cuMemMap(at, page, 0, handle, 0) == CUDA_ERROR_UNKNOWN);
  CHECK(b.machine.audit().mappings == 0);
  CHECK(b.machine.audit().calls.at("cuMemCreate") == 3);
}

TEST_CASE("a die may lose memory while it runs") {
  Config config = small_config();
  config.losses = {{0, 60 * MiB, 5}};
  Bench b(config);
  std::size_t free_bytes = 0;
  std::size_t total_bytes = 0;
  for (int i = 0; i < 5; ++i) OK(b.api.cuMemGetInfo_v2(&free_bytes, &total_bytes));
  CHECK(free_bytes == 4 * MiB);
}

TEST_CASE("events may be late") {
  Config config = small_config();
  config.late_queries = 2;
  Bench b(config);
  const CUevent event = b.event();
  OK(b.api.cuEventRecord(event, nullptr));
  OK(b.api.cuEventSynchronize(event));
  CHECK(b.api.cuEventQuery(event) == CUDA_ERROR_NOT_READY);
  CHECK(b.api.cuEventQuery(event) == CUDA_ERROR_NOT_READY);
  OK(b.api.cuEventQuery(event));
}

TEST_CASE("plain memory and bare pages answer queries as on a die") {
  Bench b;
  const CUdeviceptr plain = b.alloc(5 * MiB + 100);
  const CUdeviceptr at = b.reserve(4 * page);
  OK(b.api.cuMemMap(at + page, page, 0, b.create(page, true), 0));
  OK(b.grant(at + page, page));
  CUcontext context = nullptr;
  OK(b.api.cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, plain + 50));
  CHECK(context == b.context);
  OK(b.api.cuPointerGetAttribute(&context, CU_POINTER_ATTRIBUTE_CONTEXT, at + page));
  CHECK(context == nullptr);
  std::size_t size = 0;
  OK(b.api.cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, plain));
  CHECK(size == 5 * MiB + 100);
  OK(b.api.cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_MAPPING_SIZE, plain));
  CHECK(size == 6 * MiB);
  OK(b.api.cuPointerGetAttribute(&size, CU_POINTER_ATTRIBUTE_RANGE_SIZE, at + page));
  CHECK(size == 4 * page);
  unsigned type = 0;
  OK(b.api.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, plain));
  CHECK(type == CU_MEMORYTYPE_DEVICE);
  OK(b.api.cuPointerGetAttribute(&type, CU_POINTER_ATTRIBUTE_MEMORY_TYPE, at + page));
  CHECK(type == CU_MEMORYTYPE_HOST);
  void* host = nullptr;
  CHECK(b.api.cuPointerGetAttribute(&host, CU_POINTER_ATTRIBUTE_HOST_POINTER, plain) ==
        CUDA_ERROR_INVALID_VALUE);
  CUdeviceptr base = 1;
  OK(b.api.cuMemGetAddressRange_v2(&base, &size, plain + 77));
  CHECK(base == plain);
  CHECK(size == 5 * MiB + 100);
  OK(b.api.cuMemGetAddressRange_v2(&base, &size, at + page));
  CHECK(base == 0);
  CUmemGenericAllocationHandle handle = 0;
  CHECK(b.api.cuMemRetainAllocationHandle(&handle, reinterpret_cast<void*>(plain)) ==
        CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("small requests share blocks, and all comes back") {
  Bench b;
  std::vector<CUdeviceptr> held;
  for (int i = 0; i < 1000; ++i) held.push_back(b.alloc(static_cast<std::size_t>(1 + i * 7)));
  for (const CUdeviceptr at : held) CHECK(at % 512 == 0);
  CHECK(b.machine.audit().frames <= 3);
  for (std::size_t i = 0; i < held.size(); ++i)
    OK(b.api.cuMemFree_v2(held[(i * 389) % held.size()]));
  CHECK(b.machine.audit().frames == 0);
  CHECK(b.api.cuMemFree_v2(held[0]) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.api.cuMemFree_v2(b.alloc(4096) + 512) == CUDA_ERROR_INVALID_VALUE);
  CUdeviceptr at = 0;
  CHECK(b.api.cuMemAlloc_v2(&at, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.api.cuMemAlloc_v2(&at, SIZE_MAX) == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("a context takes its plain memory with it, and no page") {
  Bench b;
  CUcontext own = nullptr;
  OK(b.api.cuCtxCreate_v2(&own, 0, 0));
  b.alloc(3 * MiB);
  b.alloc(100);
  const auto handle = b.create();
  CHECK(b.machine.audit().frames == 3);
  OK(b.api.cuCtxDestroy_v2(own));
  CHECK(b.machine.audit().frames == 1);
  CUcontext now = nullptr;
  OK(b.api.cuCtxGetCurrent(&now));
  CHECK(now == b.context);
  OK(b.api.cuMemRelease(handle));
}

TEST_CASE("peers reach plain memory when enabled, and pages only when granted") {
  Config config = small_config();
  config.dies = 2;
  Bench b(config);
  const CUdeviceptr plain = b.alloc(4096);
  const CUdeviceptr at = b.reserve(page);
  OK(b.api.cuMemMap(at, page, 0, b.create(), 0));
  OK(b.grant(at, page));
  CUcontext other = nullptr;
  OK(b.api.cuCtxCreate_v2(&other, 0, 1));
  const auto fill_from_other = [&](CUdeviceptr where) {
    b.module = nullptr;
    OK(b.fill_words(where, 16, 1));
    return b.api.cuCtxSynchronize();
  };
  OK(b.api.cuCtxEnablePeerAccess(b.context, 0));
  CHECK(b.api.cuCtxEnablePeerAccess(b.context, 0) == CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED);
  CHECK(fill_from_other(plain) == CUDA_SUCCESS);
  SUBCASE("a page that was granted") {
    OK(b.grant(at, page, CU_MEM_ACCESS_FLAGS_PROT_READWRITE, 1));
    CHECK(fill_from_other(at) == CUDA_SUCCESS);
  }
  SUBCASE("a page that was not") { CHECK(fill_from_other(at) == CUDA_ERROR_ILLEGAL_ADDRESS); }
  SUBCASE("plain memory after access was taken back") {
    OK(b.api.cuCtxDisablePeerAccess(b.context));
    CHECK(fill_from_other(plain) == CUDA_ERROR_ILLEGAL_ADDRESS);
  }
}

TEST_CASE("nothing works before cuInit, without a die, or without VMM") {
  Config config = small_config();
  config.no_device = true;
  Machine machine(config);
  barswap::driver::Api api;
  fill(api);
  int count = 0;
  CHECK(api.cuDeviceGetCount(&count) == CUDA_ERROR_NOT_INITIALIZED);
  CHECK(api.cuInit(0) == CUDA_ERROR_NO_DEVICE);
  OK(api.cuDriverGetVersion(&count));
}

TEST_CASE("a driver without VMM refuses it") {
  Config config = small_config();
  config.vmm = false;
  Bench b(config);
  CUdeviceptr at = 0;
  CHECK(b.api.cuMemAddressReserve(&at, page, 0, 0, 0) == CUDA_ERROR_NOT_SUPPORTED);
  int value = 1;
  OK(b.api.cuDeviceGetAttribute(
      &value, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, 0));
  CHECK(value == 0);
}

TEST_CASE("parameter layouts are those of the image") {
  Bench b;
  const auto info = reinterpret_cast<decltype(&::cuFuncGetParamInfo)>(find("cuFuncGetParamInfo"));
  const CUfunction saxpy = b.kernel("barswap_saxpy");
  const std::size_t offsets[] = {0, 8, 16, 24};
  const std::size_t sizes[] = {4, 8, 8, 8};
  for (std::size_t i = 0; i < 4; ++i) {
    std::size_t offset = 0;
    std::size_t size = 0;
    OK(info(saxpy, i, &offset, &size));
    CHECK(offset == offsets[i]);
    CHECK(size == sizes[i]);
  }
  CHECK(info(saxpy, 4, nullptr, nullptr) == CUDA_ERROR_INVALID_VALUE);
  std::size_t offset = 0;
  std::size_t size = 0;
  OK(info(b.kernel("barswap_writer"), 0, &offset, &size));
  CHECK(size == 32);
}

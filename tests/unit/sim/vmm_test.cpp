// Virtual memory management: what is refused, what is enforced, what is counted.
#include "bench.hpp"

using namespace barswap::sim;
using namespace barswap::sim::bench;

TEST_CASE("a handle is mapped whole, once, where nothing is") {
  Bench b;
  const CUdeviceptr at = b.reserve(4 * page);
  const auto handle = b.create(2 * page);
  CHECK(b.api.cuMemMap(at, page, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.api.cuMemMap(at, page, page, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.api.cuMemMap(at + 4096, 2 * page, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.api.cuMemMap(at + 3 * page, 2 * page, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  OK(b.api.cuMemMap(at, 2 * page, 0, handle, 0));
  CHECK(b.api.cuMemMap(at + page, 2 * page, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.api.cuMemAddressFree(at, 4 * page) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("part of a mapping is neither unmapped nor granted") {
  Bench b;
  const CUdeviceptr at = b.reserve(4 * page);
  OK(b.api.cuMemMap(at, 2 * page, 0, b.create(2 * page), 0));
  OK(b.api.cuMemMap(at + 2 * page, 2 * page, 0, b.create(2 * page), 0));
  CHECK(b.api.cuMemUnmap(at, page) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.api.cuMemUnmap(at + page, 2 * page) == CUDA_ERROR_INVALID_VALUE);
  CHECK(b.grant(at, page) == CUDA_ERROR_INVALID_VALUE);
  OK(b.grant(at, 4 * page));
  OK(b.api.cuMemUnmap(at, 4 * page));
  CHECK(b.grant(at, 4 * page) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a page without access faults, and the fault sticks") {
  Bench b;
  const CUdeviceptr at = b.reserve(page);
  OK(b.api.cuMemMap(at, page, 0, b.create(), 0));
  OK(b.fill_words(at, 16, 1));
  CHECK(b.api.cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
  CHECK(b.api.cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
  CUdeviceptr other = 0;
  CHECK(b.api.cuMemAlloc_v2(&other, 16) == CUDA_ERROR_ILLEGAL_ADDRESS);
  OK(b.api.cuDevicePrimaryCtxReset_v2(0));
  OK(b.api.cuDevicePrimaryCtxRetain(&b.context, 0));
  OK(b.api.cuMemAlloc_v2(&other, 16));
}

TEST_CASE("a page that may only be read faults when written") {
  Bench b;
  const CUdeviceptr at = b.reserve(page);
  const CUdeviceptr out = b.alloc(8);
  OK(b.api.cuMemMap(at, page, 0, b.create(page, true), 0));
  OK(b.grant(at, page, CU_MEM_ACCESS_FLAGS_PROT_READ));
  OK(b.api.cuMemsetD32_v2(out, 0, 2));
  OK(b.launch("barswap_checksum", nullptr, at, std::uint64_t{16}, out));
  OK(b.api.cuCtxSynchronize());
  OK(b.fill_words(at, 16, 1));
  CHECK(b.api.cuCtxSynchronize() == CUDA_ERROR_ILLEGAL_ADDRESS);
}

TEST_CASE("one handle at two addresses is the same bytes, and lives until both are gone") {
  Bench b;
  const CUdeviceptr at = b.reserve(2 * page);
  const auto handle = b.create();
  OK(b.api.cuMemMap(at, page, 0, handle, 0));
  OK(b.api.cuMemMap(at + page, page, 0, handle, 0));
  OK(b.api.cuMemRelease(handle));
  CHECK(b.api.cuMemRelease(handle) == CUDA_ERROR_INVALID_VALUE);
  OK(b.grant(at, 2 * page));
  OK(b.fill_words(at, 64, 9));
  CHECK(b.word(at + page + 20) == b.word(at + 20));
  CHECK(b.word(at + 20) != 0);
  OK(b.api.cuMemUnmap(at, page));
  CHECK(b.machine.audit().frames == 1);
  OK(b.api.cuMemUnmap(at + page, page));
  CHECK(b.machine.audit().frames == 0);
}

TEST_CASE("frames are born zero, plain memory is not") {
  Bench b;
  const CUdeviceptr at = b.reserve(page);
  for (int round = 0; round < 2; ++round) {
    const auto handle = b.create();
    OK(b.api.cuMemMap(at, page, 0, handle, 0));
    OK(b.grant(at, page));
    CHECK(b.word(at + 400) == 0);
    OK(b.fill_words(at, page / 4, 5));
    OK(b.api.cuCtxSynchronize());
    OK(b.api.cuMemUnmap(at, page));
    OK(b.api.cuMemRelease(handle));
  }
  CHECK(b.word(b.alloc(4)) == 0xA5A5A5A5u);
}

TEST_CASE("a tier that is full refuses, and comes back") {
  Bench b;
  std::vector<CUmemGenericAllocationHandle> held;
  for (int i = 0; i < 32; ++i) held.push_back(b.create());
  CUmemGenericAllocationHandle more = 0;
  auto properties = Bench::properties_of(false);
  CHECK(b.api.cuMemCreate(&more, page, &properties, 0) == CUDA_ERROR_OUT_OF_MEMORY);
  CUdeviceptr plain = 0;
  CHECK(b.api.cuMemAlloc_v2(&plain, 1) == CUDA_ERROR_OUT_OF_MEMORY);
  std::size_t free_bytes = 1;
  std::size_t total_bytes = 0;
  OK(b.api.cuMemGetInfo_v2(&free_bytes, &total_bytes));
  CHECK(free_bytes == 0);
  CHECK(total_bytes == 64 * MiB);
  OK(b.api.cuMemRelease(held.back()));
  OK(b.api.cuMemAlloc_v2(&plain, 1));
  properties = Bench::properties_of(true);
  CHECK(b.api.cuMemCreate(&more, 128 * MiB, &properties, 0) == CUDA_ERROR_OUT_OF_MEMORY);
}

TEST_CASE("locations that the machine lacks are refused") {
  Config config = small_config();
  config.host_numa = false;
  Bench b(config);
  CUmemGenericAllocationHandle handle = 0;
  auto properties = Bench::properties_of(true);
  CHECK(b.api.cuMemCreate(&handle, page, &properties, 0) == CUDA_ERROR_NOT_SUPPORTED);
  properties.location = {CU_MEM_LOCATION_TYPE_HOST, 0};
  OK(b.api.cuMemCreate(&handle, page, &properties, 0));
  properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  CHECK(b.api.cuMemCreate(&handle, page, &properties, 0) == CUDA_ERROR_INVALID_VALUE);
  properties.location = {CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT, 0};
  CHECK(b.api.cuMemCreate(&handle, page, &properties, 0) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("the CPU reaches host pages where it was let in") {
  Bench b;
  const CUdeviceptr at = b.reserve(page);
  OK(b.api.cuMemMap(at, page, 0, b.create(page, true), 0));
  OK(b.grant(at, page));
  OK(b.fill_words(at, 64, 3));
  OK(b.api.cuCtxSynchronize());
  CUmemAccessDesc cpu{};
  cpu.location = {CU_MEM_LOCATION_TYPE_HOST_NUMA, 0};
  cpu.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  OK(b.api.cuMemSetAccess(at, page, &cpu, 1));
  CHECK(reinterpret_cast<std::uint32_t*>(at)[7] == b.word(at + 28));
  OK(b.api.cuMemUnmap(at, page));
  OK(b.api.cuMemMap(at, page, 0, b.create(), 0));
  CHECK(b.api.cuMemSetAccess(at, page, &cpu, 1) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a copy runs across pages of both tiers") {
  Bench b;
  const CUdeviceptr at = b.reserve(2 * page);
  OK(b.api.cuMemMap(at, page, 0, b.create(page, true), 0));
  OK(b.api.cuMemMap(at + page, page, 0, b.create(), 0));
  OK(b.grant(at, 2 * page));
  std::vector<std::uint32_t> words(2 * page / 4);
  for (std::size_t i = 0; i < words.size(); ++i)
    words[i] = static_cast<std::uint32_t>(i * 2654435761u);
  OK(b.api.cuMemcpyHtoD_v2(at, words.data(), 2 * page));
  std::vector<std::uint32_t> back(words.size());
  OK(b.api.cuMemcpyDtoH_v2(back.data(), at, 2 * page));
  CHECK(back == words);
  OK(b.api.cuMemUnmap(at + page, page));
  CHECK(b.api.cuMemcpyDtoH_v2(back.data(), at, 2 * page) == CUDA_ERROR_INVALID_VALUE);
}

TEST_CASE("a remap beside work is a violation, and a first grant is not") {
  Config config = small_config();
  config.strict = true;
  Bench b(config);
  const CUdeviceptr at = b.reserve(2 * page);
  OK(b.api.cuMemMap(at, page, 0, b.create(), 0));
  OK(b.grant(at, page));
  const CUstream stream = b.stream();
  auto held = b.hold(stream);
  OK(b.grant(at, page));
  OK(b.api.cuMemMap(at + page, page, 0, b.create(), 0));
  OK(b.grant(at + page, page));
  CHECK(b.machine.audit().violations.empty());
  OK(b.grant(at, page, CU_MEM_ACCESS_FLAGS_PROT_READ));
  CHECK(b.machine.audit().violations.size() == 1);
  OK(b.api.cuMemUnmap(at, page));
  CHECK(b.machine.audit().violations.size() == 2);
  held.release();
  OK(b.api.cuStreamSynchronize(stream));
  OK(b.api.cuMemUnmap(at + page, page));
  CHECK(b.machine.audit().violations.size() == 2);
}

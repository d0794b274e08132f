// Memory that the program maps itself, virtual by `vram.virtual_maps`.
#include <algorithm>
#include <vector>

#include "support/bench.hpp"

namespace {

using namespace barswap;
using support::Bench;

support::Setting mapping_setting(int dies = 1) {
  support::Setting setting = support::small_setting(dies);
  setting.setup.options.vram_virtual_maps = true;
  return setting;
}

CUmemAllocationProp on_die(int die) {
  CUmemAllocationProp properties = {};
  properties.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  properties.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  properties.location.id = die;
  properties.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
  return properties;
}

CUmemAccessDesc access_from(int die, CUmemAccess_flags flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE) {
  CUmemAccessDesc access = {};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.location.id = die;
  access.flags = flags;
  return access;
}

using Handle = CUmemGenericAllocationHandle;

Handle create(std::uint64_t bytes, int die = 0) {
  const CUmemAllocationProp properties = on_die(die);
  Handle handle = 0;
  REQUIRE(cuMemCreate(&handle, bytes, &properties, 0) == CUDA_SUCCESS);
  return handle;
}

CUdeviceptr reserve(std::uint64_t bytes) {
  CUdeviceptr base = 0;
  REQUIRE(cuMemAddressReserve(&base, bytes, 0, 0, 0) == CUDA_SUCCESS);
  return base;
}

void map(CUdeviceptr base, std::uint64_t bytes, Handle handle) {
  REQUIRE(cuMemMap(base, bytes, 0, handle, 0) == CUDA_SUCCESS);
  const CUmemAccessDesc access = access_from(0);
  REQUIRE(cuMemSetAccess(base, bytes, &access, 1) == CUDA_SUCCESS);
}

bool reads(CUdeviceptr base, std::uint64_t bytes, unsigned char value) {
  std::vector<unsigned char> copy(bytes);
  REQUIRE(cuMemcpyDtoH_v2(copy.data(), base, bytes) == CUDA_SUCCESS);
  return std::all_of(copy.begin(), copy.end(), [&](unsigned char byte) { return byte == value; });
}

TEST_CASE("without the key a handle is the driver's") {
  Bench bench;
  {
    CUmemAllocationProp properties = on_die(0);
    Handle handle = 0;
    // Without the key the handle is the driver's, which has 64 MiB.
    CHECK(cuMemCreate(&handle, 96_MiB, &properties, 0) == CUDA_ERROR_OUT_OF_MEMORY);
    REQUIRE(cuMemCreate(&handle, 8_MiB, &properties, 0) == CUDA_SUCCESS);
    CHECK_FALSE(memory::Maps::is_virtual(handle));
    CHECK(bench.session().outside().held_bytes(Die{0}) == 8_MiB);
    REQUIRE(cuMemRelease(handle) == CUDA_SUCCESS);
  }
}

TEST_CASE("with the key, twice the die is mapped, written and read") {
  Bench bench(mapping_setting());
  const CUdeviceptr base = reserve(128_MiB);
  for (unsigned i = 0; i < 4; ++i) {
    const Handle handle = create(32_MiB);
    CHECK(memory::Maps::is_virtual(handle));
    map(base + i * 32_MiB, 32_MiB, handle);
    REQUIRE(cuMemRelease(handle) == CUDA_SUCCESS);
    REQUIRE(cuMemsetD8_v2(base + i * 32_MiB, static_cast<unsigned char>(i + 1), 32_MiB) ==
            CUDA_SUCCESS);
  }
  CHECK(bench.memory().held_bytes(Die{0}) == 128_MiB);
  CHECK(bench.session().outside().held_bytes(Die{0}) == 0);
  for (unsigned i = 0; i < 4; ++i)
    CHECK(reads(base + i * 32_MiB, 32_MiB, static_cast<unsigned char>(i + 1)));
  CHECK(bench.life.check_books().empty());
  // All four at once; the memory ends with its last mapping, and the addresses stay the program's.
  REQUIRE(cuMemUnmap(base, 128_MiB) == CUDA_SUCCESS);
  CHECK(bench.memory().held_bytes(Die{0}) == 0);
  CHECK(bench.session().maps().count() == 0);
  CHECK_FALSE(bench.memory().ours(static_cast<Address>(base)));
  CHECK(cuMemAddressFree(base, 128_MiB) == CUDA_SUCCESS);
  CHECK(bench.life.bury().empty());
}

TEST_CASE("a handle holds its room before it is mapped") {
  Bench bench(mapping_setting());
  std::vector<Handle> handles;
  CUmemAllocationProp properties = on_die(0);
  Handle handle = 0;
  while (cuMemCreate(&handle, 16_MiB, &properties, 0) == CUDA_SUCCESS) handles.push_back(handle);
  // 64 MiB of HBM and 128 MiB of host memory, less what the driver's context takes.
  CHECK(handles.size() >= 8);
  CHECK(handles.size() <= 12);
  CUdeviceptr plain = 0;
  CHECK(cuMemAlloc_v2(&plain, 32_MiB) == CUDA_ERROR_OUT_OF_MEMORY);
  const CUdeviceptr base = reserve(handles.size() * 16_MiB);
  for (std::size_t i = 0; i < handles.size(); ++i) map(base + i * 16_MiB, 16_MiB, handles[i]);
  REQUIRE(cuMemUnmap(base, handles.size() * 16_MiB) == CUDA_SUCCESS);
  for (const Handle one : handles) REQUIRE(cuMemRelease(one) == CUDA_SUCCESS);
  CHECK(bench.memory().held_bytes(Die{0}) == 0);
  REQUIRE(cuMemAlloc_v2(&plain, 32_MiB) == CUDA_SUCCESS);
  CHECK(bench.life.bury().empty());
}

TEST_CASE("a handle that is held brings its bytes to another address") {
  Bench bench(mapping_setting());
  const CUdeviceptr first = reserve(48_MiB), second = reserve(96_MiB);
  // Larger than the die with its neighbour, so that some pages lie on the host.
  const CUdeviceptr neighbour = bench.alloc(40_MiB);
  Handle handle = create(48_MiB);
  map(first, 48_MiB, handle);
  REQUIRE(cuMemsetD8_v2(first, 0x5a, 48_MiB) == CUDA_SUCCESS);
  // An unmap does not wait, so that the program must.
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  REQUIRE(cuMemRelease(handle) == CUDA_SUCCESS);
  Handle again = 0;
  REQUIRE(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(first + 7_MiB)) ==
          CUDA_SUCCESS);
  CHECK(again == handle);
  REQUIRE(cuMemUnmap(first, 48_MiB) == CUDA_SUCCESS);
  CHECK(cuMemRetainAllocationHandle(&again, reinterpret_cast<void*>(first)) ==
        CUDA_ERROR_INVALID_VALUE);
  CHECK(bench.memory().held_bytes(Die{0}) == 88_MiB);
  map(second + 2_MiB, 48_MiB, handle);
  CHECK(reads(second + 2_MiB, 48_MiB, 0x5a));
  REQUIRE(cuMemRelease(handle) == CUDA_SUCCESS);
  CHECK(cuMemRelease(handle) == CUDA_ERROR_INVALID_VALUE);
  CHECK(reads(second + 2_MiB, 48_MiB, 0x5a));
  REQUIRE(cuMemUnmap(second + 2_MiB, 48_MiB) == CUDA_SUCCESS);
  REQUIRE(cuMemFree_v2(neighbour) == CUDA_SUCCESS);
  CHECK(bench.life.bury().empty());
}

TEST_CASE("mistakes get the driver's answer, and change nothing") {
  Bench bench(mapping_setting());
  const CUdeviceptr base = reserve(16_MiB);
  const Handle handle = create(4_MiB), other = create(4_MiB);
  CHECK(cuMemMap(base, 2_MiB, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemMap(base, 2_MiB, 2_MiB, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemMap(base, 4_MiB, 0, handle, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemMap(CUdeviceptr{1} << 40, 4_MiB, 0, handle, 0) == CUDA_ERROR_INVALID_VALUE);
  map(base, 4_MiB, handle);
  CHECK(cuMemMap(base + 2_MiB, 4_MiB, 0, other, 0) == CUDA_ERROR_INVALID_VALUE);
  // A second mapping is the one thing that the driver has and we have not.
  CHECK(cuMemMap(base + 8_MiB, 4_MiB, 0, handle, 0) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(cuMemUnmap(base, 2_MiB) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemUnmap(base + 2_MiB, 2_MiB) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemFree_v2(base) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemAddressFree(base, 16_MiB) != CUDA_SUCCESS);
  CUmemAccessDesc access = access_from(0);
  CHECK(cuMemSetAccess(base, 2_MiB, &access, 1) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemSetAccess(base, 8_MiB, &access, 1) == CUDA_ERROR_INVALID_VALUE);
  access.location.id = 7;
  CHECK(cuMemSetAccess(base, 4_MiB, &access, 1) == CUDA_ERROR_INVALID_DEVICE);
  int descriptor = -1;
  CHECK(cuMemExportToShareableHandle(&descriptor, handle, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR,
                                     0) == CUDA_ERROR_NOT_SUPPORTED);
  CHECK(cuMemRelease(Handle{0xba50} << 48 | 12345) == CUDA_ERROR_INVALID_VALUE);
  CUmemAllocationProp properties = on_die(0);
  Handle none = 0;
  CHECK(cuMemCreate(&none, 1_MiB, &properties, 0) == CUDA_ERROR_INVALID_VALUE);
  CHECK(cuMemCreate(&none, 2_MiB, &properties, 1) == CUDA_ERROR_INVALID_VALUE);
  properties.location.id = 5;
  CHECK(cuMemCreate(&none, 2_MiB, &properties, 0) == CUDA_ERROR_INVALID_DEVICE);
  REQUIRE(cuMemsetD8_v2(base, 3, 4_MiB) == CUDA_SUCCESS);
  CHECK(reads(base, 4_MiB, 3));
  CHECK(bench.life.bury().empty());
}

TEST_CASE("access is what the program set, for each die") {
  Bench bench(mapping_setting(2));
  bench.use(0);
  const CUdeviceptr base = reserve(8_MiB);
  REQUIRE(cuMemMap(base, 8_MiB, 0, create(8_MiB), 0) == CUDA_SUCCESS);
  const auto access_of = [&](int die) {
    CUmemLocation location = access_from(die).location;
    unsigned long long flags = 99;
    REQUIRE(cuMemGetAccess(&flags, &location, base + 4_MiB) == CUDA_SUCCESS);
    return flags;
  };
  CHECK(access_of(0) == CU_MEM_ACCESS_FLAGS_PROT_NONE);
  CUmemAccessDesc both[] = {access_from(0), access_from(1, CU_MEM_ACCESS_FLAGS_PROT_READ)};
  REQUIRE(cuMemSetAccess(base, 8_MiB, both, 2) == CUDA_SUCCESS);
  CHECK(access_of(0) == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
  CHECK(access_of(1) == CU_MEM_ACCESS_FLAGS_PROT_READ);
  CHECK(bench.pager().granted(Die{0}, Die{1}));
  REQUIRE(cuMemsetD8_v2(base, 9, 8_MiB) == CUDA_SUCCESS);
  bench.use(1);
  CHECK(reads(base, 8_MiB, 9));
  both[1].flags = CU_MEM_ACCESS_FLAGS_PROT_NONE;
  REQUIRE(cuMemSetAccess(base, 8_MiB, both, 2) == CUDA_SUCCESS);
  CHECK(access_of(1) == CU_MEM_ACCESS_FLAGS_PROT_NONE);
  CHECK(bench.life.bury().empty());
}

TEST_CASE("a stretch of ours and of the driver's is handled as one") {
  Bench bench(mapping_setting());
  // Memory for sparse arrays stays with the driver.
  CUmemAllocationProp properties = on_die(0);
  properties.allocFlags.usage = CU_MEM_CREATE_USAGE_TILE_POOL;
  Handle real = 0;
  REQUIRE(cuMemCreate(&real, 4_MiB, &properties, 0) == CUDA_SUCCESS);
  CHECK_FALSE(memory::Maps::is_virtual(real));
  const CUdeviceptr base = reserve(12_MiB);
  REQUIRE(cuMemMap(base, 4_MiB, 0, create(4_MiB), 0) == CUDA_SUCCESS);
  REQUIRE(cuMemMap(base + 4_MiB, 4_MiB, 0, real, 0) == CUDA_SUCCESS);
  REQUIRE(cuMemMap(base + 8_MiB, 4_MiB, 0, create(4_MiB), 0) == CUDA_SUCCESS);
  const CUmemAccessDesc access = access_from(0);
  REQUIRE(cuMemSetAccess(base, 12_MiB, &access, 1) == CUDA_SUCCESS);
  REQUIRE(cuMemsetD8_v2(base, 1, 12_MiB) == CUDA_SUCCESS);
  CHECK(reads(base, 12_MiB, 1));
  REQUIRE(cuMemUnmap(base, 12_MiB) == CUDA_SUCCESS);
  REQUIRE(cuMemRelease(real) == CUDA_SUCCESS);
  CHECK(bench.life.bury().empty());
}

TEST_CASE("the end of a context does not end mappings") {
  Bench bench(mapping_setting());
  const CUdeviceptr base = reserve(4_MiB);
  CUcontext second = nullptr;
  REQUIRE(cuCtxCreate_v2(&second, 0, 0) == CUDA_SUCCESS);
  const Handle handle = create(4_MiB);
  map(base, 4_MiB, handle);
  REQUIRE(cuMemsetD8_v2(base, 6, 4_MiB) == CUDA_SUCCESS);
  REQUIRE(cuCtxSynchronize() == CUDA_SUCCESS);
  REQUIRE(cuCtxDestroy_v2(second) == CUDA_SUCCESS);
  bench.use(0);
  CHECK(reads(base, 4_MiB, 6));
  CHECK(bench.life.bury().empty());
}

}  // namespace

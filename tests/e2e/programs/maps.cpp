// A program that maps its memory itself, as JAX does: addresses reserved, handles made, mapped,
// given access, asked for again by address, unmapped, released, and moved to other addresses with
// their bytes. --count steps over --mib of memory; every range is verified against values computed
// on the host.
#include "program.hpp"

namespace {

struct Live {
  CUdeviceptr reservation = 0;
  CUdeviceptr address = 0;  // in the reservation's middle
  std::uint64_t reserved = 0;
  std::uint64_t bytes = 0;
  std::uint32_t seed = 0;
  std::uint32_t updates = 0;
  CUmemGenericAllocationHandle handle = 0;  // still held, with `holds`
  bool holds = false;

  std::uint64_t words() const { return bytes / 4; }
};

class Maps {
 public:
  explicit Maps(const e2e::Options& options) : options_(options), random_(options.seed) {
    properties_.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    properties_.location = {CU_MEM_LOCATION_TYPE_DEVICE, die_.device};
    properties_.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    NEED(cuMemGetAllocationGranularity(&granule_, &properties_,
                                       CU_MEM_ALLOC_GRANULARITY_RECOMMENDED));
  }

  void fill_up() {
    while (grow(granule_ * random_.between(1, 4))) {}
  }

  void step() {
    const std::uint64_t dice = random_.below(12);
    if (live_.empty() || dice < 3) (void)grow(size());
    else if (dice < 6) update(live_[pick()]);
    else if (dice < 7) verify(live_[pick()]);
    else if (dice < 9) shrink(pick());
    else if (dice < 11) relocate(live_[pick()]);
    else ask(live_[pick()]);
  }

  e2e::Hash end() {
    options_.hold_here();
    while (!live_.empty()) shrink(live_.size() - 1);
    return hash_;
  }

 private:
  std::size_t pick() { return random_.below(live_.size()); }
  std::uint64_t size() {
    const std::uint64_t most = std::max<std::uint64_t>(options_.bytes() / 5 / granule_, 1);
    return granule_ *
           random_.between(1, random_.below(4) == 0 ? most : std::min<std::uint64_t>(4, most));
  }

  void lay(Live& one, CUmemGenericAllocationHandle handle) {
    one.reserved = one.bytes + 2 * granule_;
    NEED(cuMemAddressReserve(&one.reservation, one.reserved, 0, 0, 0));
    one.address = one.reservation + granule_;
    NEED(cuMemMap(one.address, one.bytes, 0, handle, 0));
    CUmemAccessDesc access = {};
    access.location = properties_.location;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    NEED(cuMemSetAccess(one.address, one.bytes, &access, 1));
  }

  bool grow(std::uint64_t bytes) {
    if (held_ + bytes > options_.bytes()) return false;
    Live one;
    one.bytes = bytes;
    one.seed = static_cast<std::uint32_t>(random_.next());
    NEED(cuMemCreate(&one.handle, bytes, &properties_, 0));
    lay(one, one.handle);
    one.holds = random_.below(2) == 0;
    if (!one.holds) NEED(cuMemRelease(one.handle));
    die_.kernels.fill(one.address, one.words(), one.seed);
    live_.push_back(one);
    held_ += bytes;
    return true;
  }

  void update(Live& one) {
    die_.kernels.xorshift_update(one.address, one.words(), one.seed);
    ++one.updates;
  }

  void verify(const Live& one) {
    std::vector<std::uint32_t> words(one.words());
    NEED(cuMemcpyDtoH(words.data(), one.address, one.bytes));
    for (std::size_t i = 0; i < words.size(); ++i) {
      std::uint32_t expected = e2e::word_at(i, one.seed);
      for (std::uint32_t k = 0; k < one.updates; ++k) expected = e2e::xorshift(expected, one.seed);
      CHECK(words[i] == expected);
    }
    hash_.add(words.data(), one.bytes);
  }

  // A handle that the program gave away comes back by the address.
  CUmemGenericAllocationHandle handle_of(Live& one) {
    CUmemGenericAllocationHandle handle = 0;
    NEED(cuMemRetainAllocationHandle(&handle, reinterpret_cast<void*>(one.address + 4)));
    if (one.holds) CHECK(handle == one.handle);
    return handle;
  }

  void unlay(const Live& one) {
    NEED(cuCtxSynchronize());
    NEED(cuMemUnmap(one.address, one.bytes));
    NEED(cuMemAddressFree(one.reservation, one.reserved));
  }

  // Other addresses, the same bytes: some by a handle that is held, some by one that is asked for.
  void relocate(Live& one) {
    const CUmemGenericAllocationHandle handle = handle_of(one);
    unlay(one);
    lay(one, handle);
    NEED(cuMemRelease(handle));
  }

  void shrink(std::size_t index) {
    Live& one = live_[index];
    verify(one);
    const bool first = random_.below(2) == 0;
    if (one.holds && first) NEED(cuMemRelease(one.handle));
    unlay(one);
    if (one.holds && !first) NEED(cuMemRelease(one.handle));
    CHECK(cuMemSetAccess(one.address, one.bytes, nullptr, 0) == CUDA_ERROR_INVALID_VALUE);
    held_ -= one.bytes;
    live_[index] = live_.back();
    live_.pop_back();
  }

  template <class Value>
  Value attribute(CUpointer_attribute which, CUdeviceptr pointer) {
    Value value{};
    NEED(cuPointerGetAttribute(&value, which, pointer));
    return value;
  }

  // What the driver says of such memory, whatever lies behind it.
  void ask(Live& one) {
    const CUdeviceptr inside = one.address + 4 * random_.below(one.words());
    CHECK(attribute<unsigned>(CU_POINTER_ATTRIBUTE_MEMORY_TYPE, inside) == CU_MEMORYTYPE_DEVICE);
    CHECK(attribute<CUcontext>(CU_POINTER_ATTRIBUTE_CONTEXT, inside) == nullptr);
    CHECK(attribute<CUdeviceptr>(CU_POINTER_ATTRIBUTE_RANGE_START_ADDR, inside) == one.reservation);
    CHECK(attribute<std::size_t>(CU_POINTER_ATTRIBUTE_RANGE_SIZE, inside) == one.reserved);
    CHECK(attribute<std::uint64_t>(CU_POINTER_ATTRIBUTE_ALLOWED_HANDLE_TYPES, inside) ==
          CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR);
    CHECK(attribute<int>(CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL, inside) == die_.device);
    CHECK(!attribute<bool>(CU_POINTER_ATTRIBUTE_IS_LEGACY_CUDA_IPC_CAPABLE, inside));
    CUdeviceptr base = 0;
    std::size_t bytes = 0;
    NEED(cuMemGetAddressRange(&base, &bytes, inside));
    CHECK(base == one.address && bytes == one.bytes);
    unsigned long long flags = 0;
    NEED(cuMemGetAccess(&flags, &properties_.location, inside));
    CHECK(flags == CU_MEM_ACCESS_FLAGS_PROT_READWRITE);
    CHECK(cuMemFree(one.address) != CUDA_SUCCESS);
    CHECK(cuMemUnmap(one.address, one.bytes + granule_) == CUDA_ERROR_INVALID_VALUE);
    const CUmemGenericAllocationHandle handle = handle_of(one);
    CUmemAllocationProp properties = {};
    NEED(cuMemGetAllocationPropertiesFromHandle(&properties, handle));
    CHECK(properties.location.id == die_.device && properties.type == properties_.type &&
          properties.requestedHandleTypes == properties_.requestedHandleTypes);
    NEED(cuMemRelease(handle));
  }

  const e2e::Options& options_;
  e2e::Die die_;
  e2e::Random random_;
  e2e::Hash hash_;
  CUmemAllocationProp properties_ = {};
  std::size_t granule_ = 0;
  std::vector<Live> live_;
  std::uint64_t held_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 120);
  Maps maps(options);
  maps.fill_up();
  for (std::uint64_t i = 0; i < options.count; ++i) maps.step();
  return e2e::finish(maps.end());
}

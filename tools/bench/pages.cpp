#include "pages.hpp"

#include <algorithm>

namespace barswap::bench {

Frames::Frames(const Die& die, Where where, std::uint64_t page_bytes, std::size_t count) {
  CUmemAllocationProp property{};
  property.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  if (where == Where::hbm) {
    property.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  } else {
    property.location.type = CU_MEM_LOCATION_TYPE_HOST_NUMA;
    property.location.id = std::max(0, die.host_node());
  }
  for (std::size_t i = 0; i < count; ++i) {
    CUmemGenericAllocationHandle handle = 0;
    const CUresult result = BARSWAP_DRIVER(cuMemCreate)(&handle, page_bytes, &property, 0);
    if (result != CUDA_SUCCESS) {
      // The destructor of what was not finished does not run.
      for (const auto made : handles_) BARSWAP_RELEASE(cuMemRelease, made);
      need(result, where == Where::hbm ? "cuMemCreate in HBM" : "cuMemCreate on the host");
    }
    handles_.push_back(handle);
  }
}

Frames::~Frames() {
  for (const auto handle : handles_) BARSWAP_RELEASE(cuMemRelease, handle);
}

Addresses::Addresses(std::uint64_t page_bytes, std::size_t count)
    : page_bytes_(page_bytes), mapped_(count) {
  BARSWAP_NEED(cuMemAddressReserve, &base_, page_bytes * count, page_bytes, 0, 0);
}

Addresses::~Addresses() {
  for (std::size_t i = 0; i < mapped_.size(); ++i)
    if (mapped_[i]) BARSWAP_RELEASE(cuMemUnmap, at(i), page_bytes_);
  BARSWAP_RELEASE(cuMemAddressFree, base_, page_bytes_ * mapped_.size());
}

void Addresses::map(std::size_t i, CUmemGenericAllocationHandle handle) {
  BARSWAP_NEED(cuMemMap, at(i), page_bytes_, 0, handle, 0);
  mapped_[i] = true;
}

void Addresses::unmap(std::size_t i) {
  BARSWAP_NEED(cuMemUnmap, at(i), page_bytes_);
  mapped_[i] = false;
}

void Addresses::grant(std::size_t i, std::size_t count) const {
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  BARSWAP_NEED(cuMemSetAccess, at(i), page_bytes_ * count, &access, 1);
}

}  // namespace barswap::bench

// Pages of the driver's virtual memory management, in HBM or on the host, as the shim makes them:
// what links and remaps are measured with. They give back all they took.
#pragma once
#include <cstdint>
#include <vector>

#include "die.hpp"

namespace barswap::bench {

enum class Where : std::uint8_t { hbm, host };
constexpr const char* name_of(Where where) { return where == Where::hbm ? "hbm" : "host"; }

// The memory behind pages, without an address.
class Frames {
 public:
  Frames(const Die& die, Where where, std::uint64_t page_bytes, std::size_t count);
  ~Frames();
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;
  CUmemGenericAllocationHandle operator[](std::size_t i) const { return handles_[i]; }

 private:
  std::vector<CUmemGenericAllocationHandle> handles_;
};

// Addresses for pages. What is mapped at the end is unmapped.
class Addresses {
 public:
  Addresses(std::uint64_t page_bytes, std::size_t count);
  ~Addresses();
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;

  CUdeviceptr at(std::size_t i) const { return base_ + i * page_bytes_; }
  void map(std::size_t i, CUmemGenericAllocationHandle handle);
  void unmap(std::size_t i);
  void grant(std::size_t i, std::size_t count = 1) const;

 private:
  std::uint64_t page_bytes_;
  CUdeviceptr base_ = 0;
  std::vector<bool> mapped_;
};

// Frames at addresses side by side, mapped and granted.
struct Pages {
  Frames frames;
  Addresses addresses;
  Pages(const Die& die, Where where, std::uint64_t page_bytes, std::size_t count)
      : frames(die, where, page_bytes, count), addresses(page_bytes, count) {
    for (std::size_t i = 0; i < count; ++i) addresses.map(i, frames[i]);
    addresses.grant(0, count);
  }
};

}  // namespace barswap::bench

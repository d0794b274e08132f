// The die that is measured, and memory on it and beside it. Everything here gives back what it took
// when it goes. One thread.
#pragma once
#include <cstdint>
#include <string>
#include <utility>

#include "driver.hpp"

namespace barswap::bench {

// The first die: its primary context, made current, with the kernels of kernels.cu loaded. A launch
// is put into a stream; its grid fills the die and suits any size.
class Die {
 public:
  Die();
  ~Die();
  Die(const Die&) = delete;
  Die& operator=(const Die&) = delete;

  // Counts are of pieces of 16 bytes.
  void fill(CUstream stream, CUdeviceptr to, std::uint64_t count, std::uint32_t seed) const;
  void read(CUstream stream, CUdeviceptr from, std::uint64_t count, std::uint32_t times,
            CUdeviceptr out) const;
  void step(CUstream stream, CUdeviceptr in, CUdeviceptr io, std::uint64_t count) const;
  void gather(CUstream stream, CUdeviceptr table, std::uint32_t rows, std::uint64_t draws,
              std::uint32_t seed, CUdeviceptr out) const;
  void wait() const { BARSWAP_NEED(cuCtxSynchronize); }

  std::string name() const;
  int driver_version() const;
  // Of HBM; what is free, and all.
  std::pair<std::uint64_t, std::uint64_t> memory() const;
  int host_node() const { return attribute(CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID); }

 private:
  int attribute(CUdevice_attribute which) const;
  CUfunction find(const char* name) const;
  template <class... Params>
  void launch(CUfunction kernel, CUstream stream, std::uint64_t threads, Params... params) const;

  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  CUfunction fill_ = nullptr, read_ = nullptr, step_ = nullptr, gather_ = nullptr;
  unsigned blocks_max_ = 1;
};

// Memory that a program asks for: device memory, or pinned host memory that kernels reach at
// `device()`. No managed memory.
class Memory {
 public:
  enum class Kind : std::uint8_t { device, pinned };
  Memory(Kind kind, std::uint64_t bytes);
  ~Memory();
  Memory(Memory&& other) noexcept : kind_(other.kind_), device_(other.device_) {
    host_ = std::exchange(other.host_, nullptr);
    other.device_ = 0;
  }
  Memory& operator=(Memory&&) = delete;
  CUdeviceptr device() const { return device_; }
  void* host() const { return host_; }

 private:
  Kind kind_;
  CUdeviceptr device_ = 0;
  void* host_ = nullptr;
};

// A stream that waits for no other; and an event without a time.
class Stream {
 public:
  Stream() { BARSWAP_NEED(cuStreamCreate, &stream_, CU_STREAM_NON_BLOCKING); }
  ~Stream() { BARSWAP_RELEASE(cuStreamDestroy, stream_); }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  operator CUstream() const { return stream_; }

 private:
  CUstream stream_ = nullptr;
};

class Event {
 public:
  Event() { BARSWAP_NEED(cuEventCreate, &event_, CU_EVENT_DISABLE_TIMING); }
  ~Event() {
    if (event_ != nullptr) BARSWAP_RELEASE(cuEventDestroy, event_);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, nullptr)) {}
  Event& operator=(Event&&) = delete;
  void record(CUstream stream) const { BARSWAP_NEED(cuEventRecord, event_, stream); }
  // Holds the stream; at once if the event was never recorded.
  void hold(CUstream stream) const { BARSWAP_NEED(cuStreamWaitEvent, stream, event_, 0); }
  void wait() const { BARSWAP_NEED(cuEventSynchronize, event_); }

 private:
  CUevent event_ = nullptr;
};

}  // namespace barswap::bench

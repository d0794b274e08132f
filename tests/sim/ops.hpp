// The kinds of work that a stream can hold.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "sim/kernels.hpp"
#include "sim/stream.hpp"

namespace barswap::sim {

// One side of a copy. A raw side is memory of the simulator's own (an array, staged bytes).
struct Side {
  std::uintptr_t address = 0;
  std::size_t pitch_bytes = 0;
  std::size_t slice_bytes = 0;
  bool raw = false;
  int die = -1;  // whose access counts; -1 for the stream's
};

struct CopyOp : OpBase<CopyOp> {
  Side to;
  Side from;
  std::size_t width_bytes = 0;
  std::size_t height = 1;
  std::size_t depth = 1;
  std::shared_ptr<std::vector<std::byte>> staged;  // keeps the source of a pageable copy
  std::size_t done_bytes = 0;

  Progress step(Machine& machine, bool host_allowed) override;
  bool may_touch(std::uintptr_t base, std::size_t bytes) const override;

 private:
  std::size_t run_span(Machine& machine, std::size_t row, std::size_t column, std::size_t bytes);
};

struct MemsetOp : OpBase<MemsetOp> {
  std::uintptr_t address = 0;
  std::uint32_t value = 0;
  std::size_t element_bytes = 1;
  std::size_t width = 0;  // elements
  std::size_t height = 1;
  std::size_t pitch_bytes = 0;
  std::size_t done_rows = 0;
  std::size_t done_bytes = 0;  // of the current row

  Progress step(Machine& machine, bool host_allowed) override;
};

struct KernelOp : OpBase<KernelOp> {
  const KernelTwin* twin = nullptr;
  Launch launch;
  std::uint64_t items = 0;
  std::uint64_t done_items = 0;
  bool begun = false;

  Progress step(Machine& machine, bool host_allowed) override;
  bool may_touch(std::uintptr_t base, std::size_t bytes) const override {
    return !twin->may_touch || twin->may_touch(launch, base, bytes);
  }
};

// Nothing but a place in the stream; with a stamp it notes the time.
struct MarkOp : OpBase<MarkOp> {
  MarkOp() { touches_memory = false; }
  std::shared_ptr<std::uint64_t> stamp_ns;
  Progress step(Machine& machine, bool host_allowed) override;
};

struct HostOp : OpBase<HostOp> {
  HostOp() { touches_memory = false; }
  void (*function)(void*) = nullptr;
  void* data = nullptr;
  CUstreamCallback callback = nullptr;  // the older form
  CUstream callback_stream = nullptr;
  bool wants_host() const override { return true; }
  Progress step(Machine& machine, bool host_allowed) override;
};

struct WaitValueOp : OpBase<WaitValueOp> {
  std::uintptr_t address = 0;
  std::uint64_t value = 0;
  bool wide = false;
  unsigned flags = 0;
  Progress step(Machine& machine, bool host_allowed) override;
};

struct WriteValueOp : OpBase<WriteValueOp> {
  std::uintptr_t address = 0;
  std::uint64_t value = 0;
  bool wide = false;
  Progress step(Machine& machine, bool host_allowed) override;
};

// Anything the machine must do at a place in the stream: the end of an asynchronous free.
struct ActionOp : OpBase<ActionOp> {
  ActionOp() { touches_memory = false; }
  std::function<void(Machine&)> action;
  Progress step(Machine& machine, bool) override {
    action(machine);
    return Progress::Done;
  }
};

}  // namespace barswap::sim

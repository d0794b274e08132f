// The loop that an author writes who knows the order of the work: as many ranges as fit stay in
// HBM, the others lie pinned on the host and pass through two slots. While one slot is worked on,
// the next step's ranges come into the other, and what was written goes back on a stream of its
// own.
#include <algorithm>
#include <array>
#include <vector>

#include "keeper.hpp"

namespace barswap::bench {
namespace {

constexpr std::size_t kSlots = 2;

class DoubleBuffer : public Keeper {
 public:
  DoubleBuffer(const Workload& workload, std::uint64_t cap_bytes)
      : bytes_(workload.range_bytes), home_(workload.ranges) {
    const std::uint64_t room = cap_bytes / bytes_;
    const std::uint64_t buffers = kSlots * buffers_of_slot(workload);
    const std::uint64_t stay =
        workload.ranges <= room ? workload.ranges : room - std::min(room, buffers);
    for (std::uint32_t i = 0; i < workload.ranges; ++i) {
      ranges_.emplace_back(i < stay ? Memory::Kind::device : Memory::Kind::pinned, bytes_);
    }
    if (stay == workload.ranges) return;
    for (std::uint64_t i = 0; i < buffers; ++i) buffers_.emplace_back(Memory::Kind::device, bytes_);
  }

  Place enter(const Step& step) override {
    Slot& slot = slots_[next_];
    if (streamed(step)) {
      // The slot is free when its last work is done and what that wrote has gone back.
      slot.done.hold(in_);
      slot.gone.hold(in_);
    }
    const Place place{fetched(step.in, 0), fetched(step.io, 1), work_};
    if (streamed(step)) {
      slot.come.record(in_);
      slot.come.hold(work_);
    }
    return place;
  }

  void leave(const Step& step) override {
    if (!streamed(step)) return;
    Slot& slot = slots_[next_];
    slot.done.record(work_);
    if (is_streamed(step.io)) {
      slot.done.hold(out_);
      BARSWAP_NEED(cuMemcpyDtoHAsync, ranges_[step.io].host(), buffer(1).device(), bytes_, out_);
      home_[step.io].record(out_);
      slot.gone.record(out_);
    }
    next_ = (next_ + 1) % kSlots;
  }

 private:
  struct Slot {
    Event come, done, gone;
  };

  static std::uint64_t buffers_of_slot(const Workload& workload) {
    for (const Step& step : workload.cycle)
      if (step.in != kNoRange && step.io != kNoRange) return 2;
    return 1;
  }
  bool is_streamed(std::uint32_t range) const {
    return range != kNoRange && ranges_[range].host() != nullptr;
  }
  bool streamed(const Step& step) const { return is_streamed(step.in) || is_streamed(step.io); }
  const Memory& buffer(std::size_t which) const {
    const std::size_t of_slot = buffers_.size() / kSlots;
    return buffers_[next_ * of_slot + which % of_slot];
  }

  CUdeviceptr fetched(std::uint32_t range, std::size_t which) {
    if (!is_streamed(range)) return range == kNoRange ? 0 : ranges_[range].device();
    // Its bytes may still be on their way home.
    home_[range].hold(in_);
    const CUdeviceptr to = buffer(which).device();
    BARSWAP_NEED(cuMemcpyHtoDAsync, to, ranges_[range].host(), bytes_, in_);
    return to;
  }

  const std::uint64_t bytes_;
  std::vector<Memory> ranges_, buffers_;
  std::vector<Event> home_;  // of each range: its last write is back on the host
  std::array<Slot, kSlots> slots_;
  std::size_t next_ = 0;
  Stream in_, work_, out_;
};

}  // namespace

std::unique_ptr<Keeper> make_double_buffer(const Workload& workload, std::uint64_t cap_bytes) {
  return std::make_unique<DoubleBuffer>(workload, cap_bytes);
}

}  // namespace barswap::bench

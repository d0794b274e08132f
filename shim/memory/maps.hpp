// Maps: the handles of memory that the program maps itself (cuMemCreate, cuMemMap and their kin)
// when the policy makes it virtual. It owns the table of these handles, guarded by Rank::maps, and
// no memory: a mapped handle is a range of Memory's, born at the program's own address; an unmapped
// one is a claim, or a parked run that keeps its bytes. It makes no driver call under its lock.
//
// Memory lives until its handle is released as often as it is held and its mapping has ended.
//
// Where it is more lenient than the driver: a page is granted to its home die when it is mapped,
// not when the program sets access, and access that the program takes away or narrows is remembered
// but stays. Where it can less: a handle has one mapping at a time, and none leaves the process.
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "barswap/mutex.hpp"
#include "memory/memory.hpp"

namespace barswap::memory {

// The caller's description of a handle, kept as it came.
using Properties = std::array<std::byte, 32>;

class Maps {
 public:
  explicit Maps(Memory& memory) : memory_(memory) {}
  Maps(const Maps&) = delete;
  Maps& operator=(const Maps&) = delete;

  // The driver's own handles are small numbers or addresses, so that this pattern is never one.
  static bool is_virtual(std::uint64_t handle) { return handle >> kTagShift == kTag; }

  Result<std::uint64_t> create(Die home, std::uint64_t bytes, policy::Place place,
                               const Properties& properties);
  // The handle is held once more, once less; false: nobody holds it.
  bool retain(std::uint64_t handle);
  bool release(std::uint64_t handle);
  Result<void> map(std::uint64_t handle, Address base, std::uint64_t offset_bytes,
                   std::uint64_t bytes);
  Result<void> unmap(const Range& range);
  std::optional<Properties> properties(std::uint64_t handle) const;
  std::size_t count() const;

  // What the driver said to a description: the granule that it wants.
  std::optional<std::uint64_t> granule_of(const Properties& properties) const;
  void learn(const Properties& properties, std::uint64_t granule_bytes);

  // Every handle ends; for the end of a test.
  void clear();

 private:
  static constexpr int kTagShift = 48;
  static constexpr std::uint64_t kTag = 0xba50;

  enum class State : std::uint8_t { claimed, parked, mapped, busy };
  struct Made {
    Die home{0};
    std::uint64_t bytes = 0;
    policy::Place place = policy::Place::automatic;
    Properties properties{};
    std::uint32_t references = 1;
    State state = State::claimed;
    pager::Run* run = nullptr;  // when parked
  };
  using Table = std::map<std::uint64_t, Made>;

  // The work on a busy handle is over; what nobody holds and nothing maps ends here.
  void settle(std::uint64_t handle, State state, pager::Run* run);
  void end(const Made& made);

  Memory& memory_;
  mutable Mutex<Rank::maps> mutex_;
  Table table_ BARSWAP_GUARDED_BY(mutex_);
  std::uint64_t next_ BARSWAP_GUARDED_BY(mutex_) = 1;
  struct Learned {
    Properties properties;
    std::uint64_t granule_bytes;
  };
  std::vector<Learned> learned_ BARSWAP_GUARDED_BY(mutex_);
};

}  // namespace barswap::memory

#include "interpose/thunk.hpp"

#include <atomic>
#include <cstring>
#include <new>
#include <optional>

#include "session/door.hpp"

extern "C" [[gnu::visibility("hidden")]] unsigned char barswap_thunk_stubs[];

namespace barswap::interpose {
namespace {

constexpr int kStubs = 256;
constexpr int kStubBytes = 16;
constexpr int kNameBytes = 64;

struct Slot {
  std::atomic<void*> function;
  std::atomic<bool> named;
  std::atomic<bool> said;
  char name[kNameBytes];
};
constinit Slot slots[kStubs]{};

// Lives in the assembly's frame while the real function runs.
struct Guard {
  explicit Guard() noexcept {
    if (door.open()) submission.emplace(true);  // it may sleep; we know nothing of it
  }
  session::Door door;
  std::optional<session::Submission> submission;
};
static_assert(sizeof(Guard) <= 128 && alignof(Guard) <= 8, "GUARD_BYTES of the assembly");

void name_slot(Slot& slot, const char* name) {
  std::strncpy(slot.name, name, kNameBytes - 1);
  slot.named.store(true, std::memory_order_release);
}

void say_once(Slot& slot) {
  if (slot.said.load(std::memory_order_relaxed)) return;
  if (!slot.named.load(std::memory_order_acquire) || slot.said.exchange(true)) return;
  session::note_unknown_function(slot.name);
}

}  // namespace

void* thunk_for(const char* name, void* function) noexcept {
  for (int i = 0; i < kStubs; ++i) {
    void* seen = slots[i].function.load(std::memory_order_acquire);
    if (!seen && slots[i].function.compare_exchange_strong(seen, function)) {
      name_slot(slots[i], name);
      seen = function;
    }
    if (seen == function) return barswap_thunk_stubs + i * kStubBytes;
  }
  session::note_unseen_submitter("more than 256 driver functions that this version does not know");
  return function;
}

}  // namespace barswap::interpose

extern "C" [[gnu::visibility("hidden")]] void* barswap_thunk_enter(int index,
                                                                    void* frame) noexcept {
  using namespace barswap::interpose;
  say_once(slots[index]);
  ::new (frame) Guard();
  return slots[index].function.load(std::memory_order_relaxed);
}

extern "C" [[gnu::visibility("hidden")]] void barswap_thunk_leave(void* frame) noexcept {
  using namespace barswap::interpose;
  static_cast<Guard*>(frame)->~Guard();
}

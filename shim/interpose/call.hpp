// What every handler begins with: the door, and the session if the call is ours to look at.
#pragma once
#include <cstdint>

#include "interpose/handlers.hpp"
#include "interpose/resolver.hpp"
#include "session/door.hpp"
#include "session/session.hpp"

namespace barswap::interpose {

// False: the call goes straight to the driver.
class Call {
 public:
  Call() : session_(door_.open() ? session::Session::current() : nullptr) {}
  explicit operator bool() const { return session_ != nullptr; }
  session::Session* operator->() const { return session_; }
  session::Session& session() const { return *session_; }
  // Ours, by its address alone.
  bool owns(CUdeviceptr pointer) const {
    return session_ && session_->memory().ours(static_cast<Address>(pointer));
  }

 private:
  session::Door door_;
  session::Session* session_;
};

inline driver::Context word_of(CUcontext context) {
  return static_cast<driver::Context>(reinterpret_cast<std::uintptr_t>(context));
}

// For calls that have no effect when they return out-of-memory.
template <auto Slot, class... Arguments>
CUresult forward_with_room(const Call& call, Arguments... arguments) {
  const CUresult result = forward<Slot>(arguments...);
  if (result != CUDA_ERROR_OUT_OF_MEMORY || !call || !session::after_out_of_memory()) return result;
  return forward<Slot>(arguments...);
}

// A submission that needs nothing but the gate.
template <auto Slot, class... Arguments>
CUresult forward_gated(const Call& call, Arguments... arguments) {
  if (!call) return forward<Slot>(arguments...);
  const session::Submission inside(false);
  return forward<Slot>(arguments...);
}

// The driver looks addresses up, and knows only what is mapped: where pages may be mapped to
// nothing between turns, it is a submission that says nothing. It may take long.
template <auto Slot, class... Arguments>
CUresult forward_mapped(const Call& call, Arguments... arguments) {
  if (!call || !pager::Flights::current()) return forward<Slot>(arguments...);
  const session::Submission inside(true);
  return forward<Slot>(arguments...);
}

}  // namespace barswap::interpose

// What every submission does: the gate, entered for the length of the driver's call, and one
// repetition after room was made, where the call has no effect when it returns out-of-memory.
#pragma once
#include "interpose/resolver.hpp"
#include "session/door.hpp"

namespace barswap::interpose {

enum class Trait { PLAIN, MAY_BLOCK, RETRY_ON_OOM };

// What a call that submits or waits answers, if work of the program was lost on another die.
inline CUresult heard(CUresult result) {
  return static_cast<CUresult>(session::heard_from_away(result));
}

template <auto Slot, Trait T, class... A>
CUresult submit(A... arguments) {
  session::Door door;
  const auto function = real().*Slot;
  if (!function) [[unlikely]] return code_for_missing();
  if (!door.open()) return function(arguments...);
  if (const int lost = session::lost_away.load(std::memory_order_relaxed)) [[unlikely]]
    return static_cast<CUresult>(lost);
  CUresult result;
  {
    session::Submission inside(T == Trait::MAY_BLOCK, session::Says::declared);
    result = function(arguments...);
  }
  if constexpr (T == Trait::RETRY_ON_OOM) {
    if (result == CUDA_ERROR_OUT_OF_MEMORY && session::after_out_of_memory()) [[unlikely]] {
      session::Submission inside(false, session::Says::declared);
      result = function(arguments...);
    }
  }
  return result;
}

}  // namespace barswap::interpose

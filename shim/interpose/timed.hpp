// A launch with, if somebody wants its time, an event before and behind it on its stream.
#pragma once
#include <optional>
#include <string_view>

#include "interpose/submit.hpp"
#include "session/session.hpp"

namespace barswap::interpose {

// The handle 0 means another stream under the names that end in _ptsz.
inline driver::Stream stream_behind(std::string_view symbol, CUstream stream) {
  if (stream != nullptr)
    return static_cast<driver::Stream>(reinterpret_cast<std::uintptr_t>(stream));
  return static_cast<driver::Stream>(reinterpret_cast<std::uintptr_t>(
      symbol.ends_with("_ptsz") ? CU_STREAM_PER_THREAD : CU_STREAM_LEGACY));
}

// `note` is told of the launch, if it is the program's own and somebody wants to know, and answers
// what it is timed for.
template <auto Slot, Trait T, class Note, class... A>
CUresult timed(driver::Stream stream, Note note, A... arguments) {
  session::Session* session = session::Session::current();
  if (session::door_depth != 0 || !session || !session->reach().wanted()) [[likely]]
    return submit<Slot, T>(arguments...);
  const session::Declaration declaration;
  std::optional<session::Stopwatch::Lap> lap;
  {
    const session::Door door;
    if (door.open()) lap = session->begin_lap(stream, note(*session));
  }
  const CUresult result = submit<Slot, T>(arguments...);
  if (lap) {
    const session::Door door;
    session->end_lap(*lap);
  }
  return result;
}

}  // namespace barswap::interpose

// Copies and fills of our own pages, of a stream whose chain of launches is on another die: they go
// along, so that the chain does not come home for them.
#pragma once
#include <optional>

#include "driver/errors.hpp"
#include "interpose/call.hpp"

namespace barswap::interpose {

// `on` is the driver's call, with the stream left open. Nothing: it is to be made at home.
template <class On>
std::optional<CUresult> along(const Call& call, driver::Stream stream, On on) {
  session::Router* router = call->router();
  if (!router || !session::counting.load(std::memory_order_relaxed)) return std::nullopt;
  const session::Submission inside{session::Submission::Away{}};
  session::Router::Sending sending(*router, stream);
  if (!sending.ready()) return std::nullopt;
  const auto there = static_cast<std::uintptr_t>(sending.stream());
  const CUresult result = on(reinterpret_cast<CUstream>(there));
  if (sending.sent(result, driver::is_sticky(result))) return result;
  return std::nullopt;
}

}  // namespace barswap::interpose

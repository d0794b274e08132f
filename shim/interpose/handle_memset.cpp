// Memsets. The plain forms are asynchronous on device memory but block on a page that lies on the
// host, so on our memory they are issued as the asynchronous form on the same stream.
#include <algorithm>

#include "interpose/along.hpp"
#include "interpose/timed.hpp"

namespace barswap::interpose::handlers {
namespace {

// What a fill goes over: a row of elements, or rows with a pitch.
template <class Value>
std::uint64_t bytes_of(Value, std::size_t count, CUstream = {}) {
  return count > ~std::uint64_t{0} / sizeof(Value) ? ~std::uint64_t{0} : count * sizeof(Value);
}
template <class Value>
std::uint64_t bytes_of(std::size_t pitch, Value value, std::size_t width, std::size_t height,
                       CUstream = {}) {
  const std::uint64_t row = std::max<std::uint64_t>(pitch, bytes_of(value, width));
  return row != 0 && height > ~std::uint64_t{0} / row ? ~std::uint64_t{0} : row * height;
}

// Plain and Async are the same function but for the stream at the end; 0 is the legacy stream for
// one family and the thread's own for the other, as the program asked.
template <auto Plain, auto Async, class... Arguments>
CUresult set(CUdeviceptr pointer, Arguments... arguments) {
  const Call call;
  if (!call) return forward<Plain>(pointer, arguments...);
  const bool ours = call.owns(pointer);
  const session::Declaration declaration;
  call->reach().set(static_cast<Address>(pointer), bytes_of(arguments...));
  const session::Submission inside(!ours, session::Says::declared);
  if (ours) return forward<Async>(pointer, arguments..., CUstream{});
  return forward<Plain>(pointer, arguments...);
}

// `on` is the same call, with the stream left open.
template <auto Slot, class On, class... Arguments>
CUresult set_async(driver::Stream stream, On on, CUdeviceptr pointer, Arguments... arguments) {
  const session::Declaration declaration;
  session::Session* session = session::Session::current();
  if (session && session::door_depth == 0)
    session->reach().set(static_cast<Address>(pointer), bytes_of(arguments...));
  if (session && session->router() && session->memory().in_arena(static_cast<Address>(pointer))) {
    const Call call;
    if (const auto result = call ? along(call, stream, on) : std::nullopt) return *result;
  }
  return submit<Slot, Trait::PLAIN>(pointer, arguments...);
}

}  // namespace

CUresult cuMemsetD8_v2(CUdeviceptr pointer, unsigned char value, std::size_t count) {
  return set<&driver::Api::cuMemsetD8_v2, &driver::Api::cuMemsetD8Async>(pointer, value, count);
}

CUresult cuMemsetD8_v2_ptds(CUdeviceptr pointer, unsigned char value, std::size_t count) {
  return set<&driver::Api::cuMemsetD8_v2_ptds, &driver::Api::cuMemsetD8Async_ptsz>(pointer, value,
                                                                                   count);
}

CUresult cuMemsetD16_v2(CUdeviceptr pointer, unsigned short value, std::size_t count) {
  return set<&driver::Api::cuMemsetD16_v2, &driver::Api::cuMemsetD16Async>(pointer, value, count);
}

CUresult cuMemsetD16_v2_ptds(CUdeviceptr pointer, unsigned short value, std::size_t count) {
  return set<&driver::Api::cuMemsetD16_v2_ptds, &driver::Api::cuMemsetD16Async_ptsz>(pointer, value,
                                                                                     count);
}

CUresult cuMemsetD32_v2(CUdeviceptr pointer, unsigned value, std::size_t count) {
  return set<&driver::Api::cuMemsetD32_v2, &driver::Api::cuMemsetD32Async>(pointer, value, count);
}

CUresult cuMemsetD32_v2_ptds(CUdeviceptr pointer, unsigned value, std::size_t count) {
  return set<&driver::Api::cuMemsetD32_v2_ptds, &driver::Api::cuMemsetD32Async_ptsz>(pointer, value,
                                                                                     count);
}

CUresult cuMemsetD2D8_v2(CUdeviceptr pointer, std::size_t pitch, unsigned char value,
                         std::size_t width, std::size_t height) {
  return set<&driver::Api::cuMemsetD2D8_v2, &driver::Api::cuMemsetD2D8Async>(pointer, pitch, value,
                                                                             width, height);
}

CUresult cuMemsetD2D8_v2_ptds(CUdeviceptr pointer, std::size_t pitch, unsigned char value,
                              std::size_t width, std::size_t height) {
  return set<&driver::Api::cuMemsetD2D8_v2_ptds, &driver::Api::cuMemsetD2D8Async_ptsz>(
      pointer, pitch, value, width, height);
}

CUresult cuMemsetD2D16_v2(CUdeviceptr pointer, std::size_t pitch, unsigned short value,
                          std::size_t width, std::size_t height) {
  return set<&driver::Api::cuMemsetD2D16_v2, &driver::Api::cuMemsetD2D16Async>(
      pointer, pitch, value, width, height);
}

CUresult cuMemsetD2D16_v2_ptds(CUdeviceptr pointer, std::size_t pitch, unsigned short value,
                               std::size_t width, std::size_t height) {
  return set<&driver::Api::cuMemsetD2D16_v2_ptds, &driver::Api::cuMemsetD2D16Async_ptsz>(
      pointer, pitch, value, width, height);
}

CUresult cuMemsetD2D32_v2(CUdeviceptr pointer, std::size_t pitch, unsigned value, std::size_t width,
                          std::size_t height) {
  return set<&driver::Api::cuMemsetD2D32_v2, &driver::Api::cuMemsetD2D32Async>(
      pointer, pitch, value, width, height);
}

CUresult cuMemsetD2D32_v2_ptds(CUdeviceptr pointer, std::size_t pitch, unsigned value,
                               std::size_t width, std::size_t height) {
  return set<&driver::Api::cuMemsetD2D32_v2_ptds, &driver::Api::cuMemsetD2D32Async_ptsz>(
      pointer, pitch, value, width, height);
}

#define BARSWAP_MEMSET(name, type)                                                             \
  CUresult name(CUdeviceptr pointer, type value, std::size_t count, CUstream stream) {         \
    const auto on = [&](CUstream there) {                                                      \
      return forward<&driver::Api::name>(pointer, value, count, there);                        \
    };                                                                                         \
    return set_async<&driver::Api::name>(stream_behind(#name, stream), on, pointer, value,     \
                                         count, stream);                                       \
  }
#define BARSWAP_MEMSET_2D(name, type)                                                          \
  CUresult name(CUdeviceptr pointer, std::size_t pitch, type value, std::size_t width,         \
                std::size_t height, CUstream stream) {                                         \
    const auto on = [&](CUstream there) {                                                      \
      return forward<&driver::Api::name>(pointer, pitch, value, width, height, there);         \
    };                                                                                         \
    return set_async<&driver::Api::name>(stream_behind(#name, stream), on, pointer, pitch,     \
                                         value, width, height, stream);                        \
  }
BARSWAP_MEMSET(cuMemsetD8Async, unsigned char)
BARSWAP_MEMSET(cuMemsetD8Async_ptsz, unsigned char)
BARSWAP_MEMSET(cuMemsetD16Async, unsigned short)
BARSWAP_MEMSET(cuMemsetD16Async_ptsz, unsigned short)
BARSWAP_MEMSET(cuMemsetD32Async, unsigned)
BARSWAP_MEMSET(cuMemsetD32Async_ptsz, unsigned)
BARSWAP_MEMSET_2D(cuMemsetD2D8Async, unsigned char)
BARSWAP_MEMSET_2D(cuMemsetD2D8Async_ptsz, unsigned char)
BARSWAP_MEMSET_2D(cuMemsetD2D16Async, unsigned short)
BARSWAP_MEMSET_2D(cuMemsetD2D16Async_ptsz, unsigned short)
BARSWAP_MEMSET_2D(cuMemsetD2D32Async, unsigned)
BARSWAP_MEMSET_2D(cuMemsetD2D32Async_ptsz, unsigned)
#undef BARSWAP_MEMSET
#undef BARSWAP_MEMSET_2D

}  // namespace barswap::interpose::handlers

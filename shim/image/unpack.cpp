#include "image/unpack.hpp"

#include <new>

#if BARSWAP_UNPACK
#include <lz4.h>
#define ZSTD_STATIC_LINKING_ONLY  // for a decoder with memory of our choice
#include <zstd.h>
#endif

#if BARSWAP_UNPACK
// The library calls these if anybody defines them. Nobody but us can: else the loader would look
// for them in the whole process.
extern "C" {
unsigned long long ZSTD_trace_decompress_begin(const ZSTD_DCtx*);
void ZSTD_trace_decompress_end(unsigned long long, const void*);

unsigned long long ZSTD_trace_decompress_begin(const ZSTD_DCtx*) { return 0; }
void ZSTD_trace_decompress_end(unsigned long long, const void*) {}
}
#endif

namespace barswap::image {
namespace {

#if BARSWAP_UNPACK

// LZ4 counts with int. No entry that was seen has more than some hundred megabytes.
constexpr std::uint64_t kMost = std::uint64_t{1} << 30;

std::uint64_t unpack_lz4(Bytes from, std::byte* to, std::uint64_t size) {
  const int got =
      LZ4_decompress_safe(reinterpret_cast<const char*>(from.data()), reinterpret_cast<char*>(to),
                          static_cast<int>(from.size()), static_cast<int>(size));
  return got < 0 ? 0 : static_cast<std::uint64_t>(got);
}

void* take(void*, std::size_t size) { return ::operator new(size, std::nothrow); }
void give_back(void*, void* memory) { ::operator delete(memory); }

// One frame of today's format. For older ones the library would ask the program's heap for memory.
bool is_one_frame(Bytes packed) {
  return packed.read<std::uint32_t>(0) == std::uint32_t{ZSTD_MAGICNUMBER} &&
         ZSTD_findFrameCompressedSize(packed.data(), packed.size()) == packed.size();
}

std::uint64_t unpack_zstd(Bytes from, std::byte* to, std::uint64_t size) {
  ZSTD_DCtx* decoder =
      is_one_frame(from) ? ZSTD_createDCtx_advanced({take, give_back, nullptr}) : nullptr;
  if (!decoder) return 0;
  const std::size_t got = ZSTD_decompressDCtx(decoder, to, size, from.data(), from.size());
  ZSTD_freeDCtx(decoder);
  return ZSTD_isError(got) ? 0 : got;
}

std::uint64_t unpack_into(Packing packing, Bytes from, std::byte* to, std::uint64_t size) {
  if (packing == Packing::lz4) return unpack_lz4(from, to, size);
  return packing == Packing::zstd ? unpack_zstd(from, to, size) : 0;
}

#else

constexpr std::uint64_t kMost = 0;

std::uint64_t unpack_into(Packing, Bytes, std::byte*, std::uint64_t) { return 0; }

#endif

}  // namespace

Unpacked unpack(Packing packing, Bytes packed, std::uint64_t size) {
  if (size == 0 || size > kMost || packed.size() > kMost) return {};
  Unpacked result;
  result.memory.reset(new (std::nothrow) std::byte[size]);
  if (!result.memory) return {};
  result.bytes =
      Bytes(result.memory.get(), unpack_into(packing, packed, result.memory.get(), size));
  return result;
}

}  // namespace barswap::image

// Every form of copy and memset, over ranges much larger than a page and from odd offsets, checked
// against a copy of the bytes that the host keeps. Then the asynchronous forms behind a stream that
// is held: each must return at once.
#include "program.hpp"

namespace {

using e2e::Buffer;

// A device range and what it must hold.
struct Shadowed {
  Buffer buffer;
  std::vector<unsigned char> shadow;

  Shadowed(const e2e::Die& die, std::uint64_t bytes, std::uint32_t seed)
      : buffer(Buffer::make(bytes)), shadow(bytes) {
    die.kernels.fill(buffer.address, buffer.words(), seed);
    for (std::uint64_t i = 0; i < bytes / 4; ++i) {
      const std::uint32_t word = e2e::word_at(i, seed);
      std::memcpy(&shadow[i * 4], &word, 4);
    }
  }
  void verify(const char* after) const {
    std::vector<unsigned char> seen(shadow.size());
    NEED(cuMemcpyDtoH(seen.data(), buffer.address, seen.size()));
    if (std::memcmp(seen.data(), shadow.data(), seen.size()) == 0) return;
    for (std::size_t i = 0; i < seen.size(); ++i)
      if (seen[i] != shadow[i])
        e2e::stop(e2e::kStatusFailed, "after %s: byte %zu is %02x, not %02x", after, i, seen[i],
                  shadow[i]);
  }
};

// A picture: rows of a pitched area in a shadow or in host memory.
struct Area {
  std::vector<unsigned char>* bytes;
  std::size_t x, y, z, pitch, height;
  unsigned char* row(std::size_t r, std::size_t slice = 0) const {
    return bytes->data() + ((z + slice) * height + y + r) * pitch + x;
  }
};

void copy_rows(const Area& to, const Area& from, std::size_t width, std::size_t height,
               std::size_t depth = 1) {
  for (std::size_t s = 0; s < depth; ++s)
    for (std::size_t r = 0; r < height; ++r) std::memmove(to.row(r, s), from.row(r, s), width);
}

class Copies {
 public:
  explicit Copies(std::uint64_t bytes)
      : first_(die_, bytes, 1), second_(die_, bytes, 2), host_(bytes), bytes_(bytes) {
    for (std::uint64_t i = 0; i < bytes; ++i)
      host_[i] = static_cast<unsigned char>(i * 7 + (i >> 11));
    NEED(cuStreamCreate(&stream_, CU_STREAM_NON_BLOCKING));
    NEED(cuMemHostAlloc(&pinned_, bytes, CU_MEMHOSTALLOC_PORTABLE));
    std::memcpy(pinned_, host_.data(), bytes);
  }

  void linear() {
    const std::size_t size = bytes_ - 2000;
    NEED(cuMemcpyHtoD(first_.buffer.address + 1001, host_.data() + 7, size));
    std::memcpy(&first_.shadow[1001], &host_[7], size);
    verify("HtoD");
    NEED(cuMemcpyDtoD(second_.buffer.address + 500, first_.buffer.address + 1, size));
    std::memcpy(&second_.shadow[500], &first_.shadow[1], size);
    verify("DtoD");
    NEED(cuMemcpy(first_.buffer.address + 3, second_.buffer.address + 9, size));
    std::memcpy(&first_.shadow[3], &second_.shadow[9], size);
    verify("device to device by address");
    NEED(cuMemcpy(second_.buffer.address + 11, reinterpret_cast<CUdeviceptr>(host_.data()), size));
    std::memcpy(&second_.shadow[11], host_.data(), size);
    verify("host to device by address");
    NEED(cuMemcpy(reinterpret_cast<CUdeviceptr>(host_.data()), first_.buffer.address + 13, size));
    CHECK(std::memcmp(host_.data(), &first_.shadow[13], size) == 0);
    NEED(cuMemcpyDtoH(host_.data(), second_.buffer.address + 17, size));
    CHECK(std::memcmp(host_.data(), &second_.shadow[17], size) == 0);
    // Inside one range, without overlap.
    NEED(cuMemcpyDtoD(first_.buffer.address + bytes_ / 2 + 4, first_.buffer.address,
                      bytes_ / 2 - 4));
    std::memcpy(&first_.shadow[bytes_ / 2 + 4], &first_.shadow[0], bytes_ / 2 - 4);
    verify("DtoD inside a range");
    NEED(cuMemcpyDtoD(first_.buffer.address, second_.buffer.address, 0));
  }

  void pitched() {
    CUDA_MEMCPY2D copy{};
    copy.WidthInBytes = 3001;
    copy.Height = bytes_ / 4096 - 8;
    copy.srcMemoryType = CU_MEMORYTYPE_HOST;
    copy.srcHost = host_.data();
    copy.srcPitch = 3500;
    copy.srcXInBytes = 5;
    copy.srcY = 2;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = first_.buffer.address;
    copy.dstPitch = 4096;
    copy.dstXInBytes = 33;
    copy.dstY = 3;
    NEED(cuMemcpy2D(&copy));
    copy_rows({&first_.shadow, 33, 3, 0, 4096, 0}, {&host_, 5, 2, 0, 3500, 0}, 3001, copy.Height);
    verify("2D, host to device");
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = first_.buffer.address;
    copy.srcPitch = 4096;
    copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
    copy.dstDevice = second_.buffer.address;
    copy.dstPitch = 3600;
    NEED(cuMemcpy2DUnaligned(&copy));
    copy_rows({&second_.shadow, 33, 3, 0, 3600, 0}, {&first_.shadow, 5, 2, 0, 4096, 0}, 3001,
              copy.Height);
    verify("2D, unaligned");
    copy.dstMemoryType = CU_MEMORYTYPE_HOST;
    copy.dstHost = host_.data();
    NEED(cuMemcpy2DAsync(&copy, stream_));
    NEED(cuStreamSynchronize(stream_));
    copy_rows({&host_, 33, 3, 0, 3600, 0}, {&first_.shadow, 5, 2, 0, 4096, 0}, 3001, copy.Height);
  }

  void solid() {
    CUDA_MEMCPY3D copy{};
    copy.WidthInBytes = 700;
    copy.Height = 37;
    copy.Depth = bytes_ / (1024 * 40) - 3;
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = second_.buffer.address;
    copy.srcPitch = 1024;
    copy.srcHeight = 40;
    copy.srcXInBytes = 12;
    copy.srcY = 2;
    copy.srcZ = 1;
    copy.dstMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.dstDevice = first_.buffer.address;
    copy.dstPitch = 1000;
    copy.dstHeight = 40;
    copy.dstZ = 2;
    const Area to{&first_.shadow, 0, 0, 2, 1000, 40}, from{&second_.shadow, 12, 2, 1, 1024, 40};
    NEED(cuMemcpy3D(&copy));
    copy_rows(to, from, 700, 37, copy.Depth);
    verify("3D");
    copy.dstXInBytes = 4;
    NEED(cuMemcpy3DAsync(&copy, stream_));
    NEED(cuStreamSynchronize(stream_));
    copy_rows({&first_.shadow, 4, 0, 2, 1000, 40}, from, 700, 37, copy.Depth);
    verify("3D, asynchronous");
  }

  void sets() {
    const CUdeviceptr at = first_.buffer.address;
    unsigned char* const shadow = first_.shadow.data();
    NEED(cuMemsetD8(at + 3, 0xa1, bytes_ / 2));
    std::memset(shadow + 3, 0xa1, bytes_ / 2);
    verify("D8");
    NEED(cuMemsetD16(at + 2, 0xb1b2, bytes_ / 4));
    fill_shadow<std::uint16_t>(shadow + 2, 0xb1b2, bytes_ / 4);
    NEED(cuMemsetD32(at + bytes_ / 2, 0xc1c2c3c4, bytes_ / 8));
    fill_shadow<std::uint32_t>(shadow + bytes_ / 2, 0xc1c2c3c4, bytes_ / 8);
    verify("D16 and D32");
    const std::size_t rows = bytes_ / 4096 - 1;
    NEED(cuMemsetD2D8(at + 1, 4096, 0xd1, 3000, rows));
    NEED(cuMemsetD2D16(at + 3100, 4096, 0xe1e2, 100, rows));
    NEED(cuMemsetD2D32(at + 3400, 4096, 0xf1f2f3f4, 50, rows));
    for (std::size_t r = 0; r < rows; ++r) {
      std::memset(shadow + r * 4096 + 1, 0xd1, 3000);
      fill_shadow<std::uint16_t>(shadow + r * 4096 + 3100, 0xe1e2, 100);
      fill_shadow<std::uint32_t>(shadow + r * 4096 + 3400, 0xf1f2f3f4, 50);
    }
    verify("memsets of areas");
  }

  // The stream is held by a kernel that polls a flag, which is set after the last of these calls.
  void behind_a_held_stream() {
    const CUdeviceptr a = first_.buffer.address, b = second_.buffer.address;
    unsigned char* const shadow_a = first_.shadow.data();
    unsigned char* const shadow_b = second_.shadow.data();
    auto* const pinned = static_cast<unsigned char*>(pinned_);
    const std::size_t half = bytes_ / 2;
    e2e::Flag flag;
    e2e::Watchdog watchdog("asynchronous copies behind a held stream", 60);
    NEED(die_.kernels.spin.launch(stream_, 1, flag.address()));
    NEED(cuMemcpyHtoDAsync(a, pinned, half, stream_));
    NEED(cuMemcpyDtoDAsync(b + half, a, half, stream_));
    NEED(cuMemcpyAsync(a + half, b + half, half, stream_));
    NEED(cuMemsetD8Async(a, 0x11, 1000, stream_));
    NEED(cuMemsetD16Async(a + 1000, 0x2233, half / 4, stream_));
    NEED(cuMemsetD32Async(b, 0x44556677, half / 8, stream_));
    const std::size_t rows = half / 4096;
    NEED(cuMemsetD2D8Async(b + 5, 4096, 0x88, 100, rows, stream_));
    NEED(cuMemsetD2D16Async(b + 200, 4096, 0x99aa, 100, rows, stream_));
    NEED(cuMemsetD2D32Async(b + 800, 4096, 0xbbccddee, 100, rows, stream_));
    CUDA_MEMCPY2D copy{};
    copy.WidthInBytes = 3000;
    copy.Height = rows;
    copy.srcMemoryType = CU_MEMORYTYPE_DEVICE;
    copy.srcDevice = b;
    copy.srcPitch = 4096;
    copy.dstMemoryType = CU_MEMORYTYPE_UNIFIED;
    copy.dstDevice = a + half;
    copy.dstPitch = 4096;
    NEED(cuMemcpy2DAsync(&copy, stream_));
    NEED(cuMemcpyDtoHAsync(pinned + half, a + half, half, stream_));
    CHECK(cuStreamQuery(stream_) == CUDA_ERROR_NOT_READY);
    flag.set(1);
    NEED(cuStreamSynchronize(stream_));
    watchdog.done();
    std::memcpy(shadow_a, pinned, half);
    std::memcpy(shadow_b + half, shadow_a, half);
    std::memcpy(shadow_a + half, shadow_b + half, half);
    std::memset(shadow_a, 0x11, 1000);
    fill_shadow<std::uint16_t>(shadow_a + 1000, 0x2233, half / 4);
    fill_shadow<std::uint32_t>(shadow_b, 0x44556677, half / 8);
    for (std::size_t r = 0; r < rows; ++r) {
      std::memset(shadow_b + r * 4096 + 5, 0x88, 100);
      fill_shadow<std::uint16_t>(shadow_b + r * 4096 + 200, 0x99aa, 100);
      fill_shadow<std::uint32_t>(shadow_b + r * 4096 + 800, 0xbbccddee, 100);
    }
    for (std::size_t r = 0; r < rows; ++r)
      std::memcpy(shadow_a + half + r * 4096, shadow_b + r * 4096, 3000);
    verify("copies behind a held stream");
    CHECK(std::memcmp(pinned + half, shadow_a + half, half) == 0);
    flag.free();
  }

  // A memset without Async does not wait for device memory, either: the legacy stream is held.
  void plain_memset_behind_the_legacy_stream() {
    e2e::Flag flag;
    e2e::Watchdog watchdog("plain memsets behind the legacy stream", 60);
    NEED(die_.kernels.spin.launch(nullptr, 1, flag.address()));
    NEED(cuMemsetD8(first_.buffer.address, 0x21, bytes_ / 2));
    NEED(cuMemsetD32(second_.buffer.address + 8, 0x31323334, bytes_ / 16));
    CHECK(cuStreamQuery(nullptr) == CUDA_ERROR_NOT_READY);
    flag.set(1);
    NEED(cuStreamSynchronize(nullptr));
    watchdog.done();
    std::memset(first_.shadow.data(), 0x21, bytes_ / 2);
    fill_shadow<std::uint32_t>(second_.shadow.data() + 8, 0x31323334, bytes_ / 16);
    verify("plain memsets");
    flag.free();
  }

  void hash_into(e2e::Hash& hash) const {
    e2e::hash_device(hash, first_.buffer);
    e2e::hash_device(hash, second_.buffer);
    hash.add(host_.data(), host_.size());
    hash.add(pinned_, bytes_);
  }
  void free() {
    first_.buffer.free();
    second_.buffer.free();
    NEED(cuMemFreeHost(pinned_));
    NEED(cuStreamDestroy(stream_));
  }

 private:
  template <class T>
  static void fill_shadow(unsigned char* at, T value, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) std::memcpy(at + i * sizeof(T), &value, sizeof(T));
  }
  void verify(const char* after) const {
    first_.verify(after);
    second_.verify(after);
  }

  e2e::Die die_;
  Shadowed first_, second_;
  std::vector<unsigned char> host_;
  std::uint64_t bytes_;
  CUstream stream_ = nullptr;
  void* pinned_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 32);
  Copies copies(options.bytes() / 3 / 8192 * 8192);
  copies.linear();
  copies.pitched();
  copies.solid();
  copies.sets();
  copies.behind_a_held_stream();
  copies.plain_memset_behind_the_legacy_stream();
  e2e::Hash hash;
  copies.hash_into(hash);
  copies.free();
  return e2e::finish(hash);
}

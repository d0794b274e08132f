// What the end-to-end programs share: checks, options, the kernels, and a hash of all that a
// program holds. These programs use nothing but the CUDA driver API; they know of no one who may
// stand between.
//
// Output of every program: its own lines, then `hash HEX` and `ok`. Status 0: ok; 1: a check
// failed; 2: out of memory; 77: this machine lacks what the program needs, such as a second die.
#pragma once
#include <cuda.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "kernel_types.hpp"

extern const char barswap_kernels_ptx[];

namespace e2e {

constexpr int kStatusFailed = 1;
constexpr int kStatusOutOfMemory = 2;
constexpr int kStatusMissing = 77;

// Ends the process at once: destructors of half-made objects would only hide the first error.
[[noreturn]] [[gnu::format(printf, 2, 3)]] inline void stop(int status, const char* format, ...) {
  std::fflush(stdout);
  va_list arguments;
  va_start(arguments, format);
  std::vfprintf(stderr, format, arguments);
  va_end(arguments);
  std::fputc('\n', stderr);
  std::fflush(stderr);
  std::_Exit(status);
}

inline const char* name_of(CUresult result) {
  const char* name = nullptr;
  return cuGetErrorName(result, &name) == CUDA_SUCCESS && name != nullptr ? name : "(no name)";
}

inline void need(CUresult result, const char* what, const char* file, int line) {
  if (result == CUDA_SUCCESS) return;
  stop(result == CUDA_ERROR_OUT_OF_MEMORY ? kStatusOutOfMemory : kStatusFailed, "%s:%d: %s: %s",
       file, line, what, name_of(result));
}

#define NEED(call) ::e2e::need((call), #call, __FILE__, __LINE__)
#define CHECK(condition)                                                                        \
  do {                                                                                          \
    if (!(condition))                                                                           \
      ::e2e::stop(::e2e::kStatusFailed, "%s:%d: %s is not so", __FILE__, __LINE__, #condition); \
  } while (0)

// --mib N, --count N, --seed N, --rounds N, --mode WORD, --progress, --hold.
struct Options {
  std::uint64_t mib;
  std::uint64_t count;
  std::uint64_t seed = 1;
  std::uint64_t rounds = 3;
  std::string mode;
  bool progress = false;
  bool hold = false;

  Options(int argc, char** argv, std::uint64_t default_mib, std::uint64_t default_count = 1000)
      : mib(default_mib), count(default_count) {
    for (int i = 1; i < argc; ++i) {
      const std::string name = argv[i];
      const auto value = [&]() -> const char* {
        if (++i >= argc) stop(kStatusFailed, "%s needs a value", name.c_str());
        return argv[i];
      };
      if (name == "--mib") mib = std::strtoull(value(), nullptr, 0);
      else if (name == "--count") count = std::strtoull(value(), nullptr, 0);
      else if (name == "--seed") seed = std::strtoull(value(), nullptr, 0);
      else if (name == "--rounds") rounds = std::strtoull(value(), nullptr, 0);
      else if (name == "--mode") mode = value();
      else if (name == "--progress") progress = true;
      else if (name == "--hold") hold = true;
      else stop(kStatusFailed, "%s: unknown option %s", argv[0], name.c_str());
    }
  }

  std::uint64_t bytes() const { return mib << 20; }

  [[gnu::format(printf, 2, 3)]] void say(const char* format, ...) const {
    if (!progress) return;
    va_list arguments;
    va_start(arguments, format);
    std::vfprintf(stderr, format, arguments);
    va_end(arguments);
    std::fputc('\n', stderr);
  }

  // With --hold: tells that the program holds all it will hold, and waits for a line or the end of
  // standard input, so that a test can look at it from outside.
  void hold_here() const {
    if (!hold) return;
    std::puts("holding");
    std::fflush(stdout);
    while (true) {
      const int c = std::getchar();
      if (c == EOF || c == '\n') return;
    }
  }
};

// The same random numbers on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
  std::uint64_t next() {
    state_ += 0x9e3779b97f4a7c15ull;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  std::uint64_t between(std::uint64_t low, std::uint64_t high) {
    return low + below(high - low + 1);
  }

 private:
  std::uint64_t state_;
};

// Four lanes of multiply and rotate: fast enough to cover every byte, and any changed bit shows.
class Hash {
 public:
  void add(const void* data, std::size_t bytes) {
    const auto* p = static_cast<const unsigned char*>(data);
    std::uint64_t lane[4] = {value_, value_ ^ 0x243f6a8885a308d3ull, value_ ^ 0x13198a2e03707344ull,
                             value_ ^ bytes};
    std::size_t i = 0;
    for (; i + 32 <= bytes; i += 32) {
      std::uint64_t word[4];
      std::memcpy(word, p + i, 32);
      for (int k = 0; k < 4; ++k) lane[k] = fold(lane[k], word[k]);
    }
    for (; i < bytes; ++i) lane[i & 3] = fold(lane[i & 3], p[i]);
    for (int k = 0; k < 4; ++k) value_ = fold(value_, lane[k]);
  }
  void add(std::uint64_t word) { add(&word, sizeof word); }
  std::uint64_t value() const { return value_; }

 private:
  static std::uint64_t fold(std::uint64_t lane, std::uint64_t word) {
    lane = (lane ^ word) * 0x9fb21c651e98df25ull;
    return (lane << 29 | lane >> 35) ^ (lane >> 17);
  }
  std::uint64_t value_ = 0x452821e638d01377ull;
};

// A kernel and the exact types of its parameters.
template <class... Params>
struct Kernel {
  CUfunction function = nullptr;

  CUresult launch(CUstream stream, unsigned blocks, Params... params) const {
    void* list[] = {&params...};
    return cuLaunchKernel(function, blocks, 1, 1, 256, 1, 1, 0, stream, list, nullptr);
  }
  // In the null stream, with a grid that suits any size.
  void operator()(Params... params) const { NEED(launch(nullptr, 264, params...)); }
  void on(CUstream stream, Params... params) const { NEED(launch(stream, 264, params...)); }
};

// The module of the current context. Functions are loaded at once, because lazy loading may wait
// for a kernel that is still running.
struct Kernels {
  using Words = CUdeviceptr;
  CUmodule module = nullptr;
  Kernel<Words, std::uint64_t, std::uint32_t> fill;
  Kernel<Words, std::uint64_t, std::uint32_t> fill_float;
  Kernel<float, Words, Words, std::uint64_t> saxpy;
  Kernel<Words, Words, Words, std::uint32_t> matmul;
  Kernel<Words, Words, std::uint64_t> stencil;
  Kernel<Words, Words, Words, std::uint64_t, std::uint64_t> gather;
  Kernel<Words, std::uint64_t, Words> chase;
  Kernel<Words, std::uint64_t, std::uint64_t, std::uint32_t> table;
  Kernel<Words, std::uint64_t, std::uint32_t> xorshift_update;
  Kernel<Words, std::uint64_t, Words> checksum;
  Kernel<Words, Words> persistent;
  Kernel<Words> spin;
  Kernel<Words, std::uint64_t> atomic;
  Kernel<BarswapWriterJob> writer;

  void load() {
    NEED(cuModuleLoadData(&module, barswap_kernels_ptx));
    find(fill, "barswap_fill");
    find(fill_float, "barswap_fill_float");
    find(saxpy, "barswap_saxpy");
    find(matmul, "barswap_matmul");
    find(stencil, "barswap_stencil");
    find(gather, "barswap_gather");
    find(chase, "barswap_chase");
    find(table, "barswap_table");
    find(xorshift_update, "barswap_xorshift_update");
    find(checksum, "barswap_checksum");
    find(persistent, "barswap_persistent");
    find(spin, "barswap_spin");
    find(atomic, "barswap_atomic");
    find(writer, "barswap_writer");
  }

 private:
  template <class K>
  void find(K& kernel, const char* name) {
    NEED(cuModuleGetFunction(&kernel.function, module, name));
    int registers = 0;
    NEED(cuFuncGetAttribute(&registers, CU_FUNC_ATTRIBUTE_NUM_REGS, kernel.function));
  }
};

// The primary context of one die, made current, with the kernels loaded.
struct Die {
  CUdevice device = 0;
  CUcontext context = nullptr;
  Kernels kernels;

  explicit Die(int ordinal = 0) {
    NEED(cuInit(0));
    NEED(cuDeviceGet(&device, ordinal));
    NEED(cuDevicePrimaryCtxRetain(&context, device));
    NEED(cuCtxSetCurrent(context));
    kernels.load();
  }
  void use() const { NEED(cuCtxSetCurrent(context)); }
};

struct Buffer {
  CUdeviceptr address = 0;
  std::uint64_t bytes = 0;

  static Buffer make(std::uint64_t bytes) {
    Buffer buffer;
    const CUresult result = cuMemAlloc(&buffer.address, bytes);
    if (result != CUDA_SUCCESS)
      stop(result == CUDA_ERROR_OUT_OF_MEMORY ? kStatusOutOfMemory : kStatusFailed,
           "cuMemAlloc of %llu bytes: %s", static_cast<unsigned long long>(bytes), name_of(result));
    buffer.bytes = bytes;
    return buffer;
  }
  void free() {
    NEED(cuMemFree(address));
    address = 0;
    bytes = 0;
  }
  std::uint64_t words() const { return bytes / 4; }
};

// Copies all bytes back and adds them; uses the null stream.
inline void hash_device(Hash& hash, CUdeviceptr address, std::uint64_t bytes) {
  constexpr std::uint64_t kPiece = 8ull << 20;
  std::vector<unsigned char> piece(bytes < kPiece ? bytes : kPiece);
  for (std::uint64_t at = 0; at < bytes; at += kPiece) {
    const std::uint64_t size = bytes - at < kPiece ? bytes - at : kPiece;
    NEED(cuMemcpyDtoH(piece.data(), address + at, size));
    hash.add(piece.data(), size);
  }
}
inline void hash_device(Hash& hash, const Buffer& buffer) {
  hash_device(hash, buffer.address, buffer.bytes);
}

// The value that barswap_fill writes, computed on the host, so that a program can judge its own
// bytes.
inline std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  x ^= x >> 16;
  return x;
}
inline std::uint32_t word_at(std::uint64_t index, std::uint32_t seed) {
  return mix(static_cast<std::uint32_t>(index) ^
             mix(static_cast<std::uint32_t>(index >> 32) + seed * 0x9e3779b9u));
}
inline std::uint32_t xorshift(std::uint32_t x, std::uint32_t salt) {
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return x + salt;
}

// A word that the host sets and kernels poll, in pinned memory.
class Flag {
 public:
  Flag() {
    void* memory = nullptr;
    NEED(cuMemHostAlloc(&memory, 64, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP));
    word_ = static_cast<volatile std::uint32_t*>(memory);
    *word_ = 0;
    NEED(cuMemHostGetDevicePointer(&address_, memory, 0));
  }
  CUdeviceptr address() const { return address_; }
  void set(std::uint32_t value) { __atomic_store_n(word_, value, __ATOMIC_SEQ_CST); }
  void free() { NEED(cuMemFreeHost(const_cast<std::uint32_t*>(word_))); }

 private:
  volatile std::uint32_t* word_;
  CUdeviceptr address_ = 0;
};

// Ends the process with a message when the program has not called `done` in time: a call that had
// to return at once did not.
class Watchdog {
 public:
  Watchdog(const char* what, unsigned seconds) : what_(what) {
    thread_ = std::thread([this, seconds] {
      for (unsigned tick = 0; tick < seconds * 100; ++tick) {
        if (__atomic_load_n(&done_, __ATOMIC_ACQUIRE)) return;
        std::this_thread::sleep_for(std::chrono::milliseconds(10));
      }
      stop(kStatusFailed, "%s: not done after %u s", what_, seconds);
    });
  }
  void done() {
    __atomic_store_n(&done_, true, __ATOMIC_RELEASE);
    thread_.join();
  }

 private:
  const char* what_;
  bool done_ = false;
  std::thread thread_;
};

// Ranges of the size that is streamed rather than kept, as many as fit, each filled by the device.
inline std::vector<Buffer> make_layers(const Options& options, const Die& die) {
  constexpr std::uint64_t kLargeBytes = 32ull << 20;
  std::vector<Buffer> layers;
  for (std::uint64_t held = 0; held + kLargeBytes <= options.bytes(); held += kLargeBytes) {
    layers.push_back(Buffer::make(kLargeBytes));
    die.kernels.fill(layers.back().address, layers.back().words(),
                     static_cast<std::uint32_t>(layers.size()));
  }
  return layers;
}

inline int finish(const Hash& hash) {
  std::printf("hash %016llx\nok\n", static_cast<unsigned long long>(hash.value()));
  std::fflush(stdout);
  return 0;
}

}  // namespace e2e

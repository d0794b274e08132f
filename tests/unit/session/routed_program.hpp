// A program on a machine whose dies are pooled, with launches that go to their bytes.
#pragma once
#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <type_traits>
#include <vector>

#include "session/session.hpp"
#include "sim/objects.hpp"
#include "stats/stats.hpp"
#include "support/bench.hpp"

namespace barswap::routed_program {

constexpr std::uint64_t kBytes = 64_MiB;

inline support::Setting routed(int dies = 2) {
  support::Setting setting = support::small_setting(dies);
  setting.machine.vram_bytes = 256_MiB;
  setting.machine.host_bytes = 512_MiB;
  setting.setup.options.vram_limit = policy::size_of(96_MiB);
  setting.setup.options.vram_headroom = policy::size_of(0);
  setting.setup.options.dies_present = policy::Present::pooled;
  setting.setup.options.routing_kernels = policy::Kernels::data;
  return setting;
}

inline std::string kernels_text() {
  std::ifstream file(BARSWAP_KERNELS_PTX);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

inline std::uint32_t updated(std::uint32_t x, std::uint32_t salt) {
  x ^= x << 13;
  x ^= x >> 17;
  x ^= x << 5;
  return x + salt;
}

// It knows one die. What it allocates first lies there, what follows lies whole on the next ones.
struct Program {
  explicit Program(const support::Setting& setting = routed()) : life(setting) {
    REQUIRE(life.session() != nullptr);
    CUcontext context = nullptr;
    REQUIRE(cuDevicePrimaryCtxRetain(&context, 0) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    text = kernels_text();
    load(text);
    little = alloc(4096);
    near = alloc(kBytes);
    far = alloc(kBytes);
    REQUIRE(cuMemsetD32_v2(near, 1, kBytes / 4) == CUDA_SUCCESS);
    REQUIRE(cuMemsetD32_v2(far, 2, kBytes / 4) == CUDA_SUCCESS);
    before = counts();
  }
  void load(const std::string& image) {
    REQUIRE(cuLibraryLoadData(&library, image.c_str(), nullptr, nullptr, 0, nullptr, nullptr, 0) ==
            CUDA_SUCCESS);
    CUkernel kernel = nullptr;
    REQUIRE(cuLibraryGetKernel(&kernel, library, "barswap_xorshift_update") == CUDA_SUCCESS);
    update = reinterpret_cast<CUfunction>(kernel);
  }
  template <class Load>
  CUmodule load_module(Load load) {
    CUmodule module = nullptr;
    if constexpr (std::is_same_v<Load, std::string>)
      REQUIRE(cuModuleLoadData(&module, load.c_str()) == CUDA_SUCCESS);
    else REQUIRE(load(&module) == CUDA_SUCCESS);
    REQUIRE(cuModuleGetFunction(&update, module, "barswap_xorshift_update") == CUDA_SUCCESS);
    return module;
  }
  std::size_t libraries() { return life.machine().objects().libraries.size(); }
  CUdeviceptr alloc(std::uint64_t bytes) {
    CUdeviceptr base = 0;
    REQUIRE(cuMemAlloc_v2(&base, bytes) == CUDA_SUCCESS);
    return base;
  }
  CUresult launch(CUdeviceptr at, std::uint64_t words, CUstream stream = nullptr,
                  std::uint32_t salt = 3, unsigned shared_bytes = 0) {
    void* parameters[] = {&at, &words, &salt};
    return cuLaunchKernel(update, 1, 1, 1, 32, 1, 1, shared_bytes, stream, parameters, nullptr);
  }
  // What was named a while ago is data again, to which a launch goes.
  void pause(CUstream stream = nullptr) {
    for (int i = 0; i < 65; ++i) REQUIRE(launch(little, 1, stream) == CUDA_SUCCESS);
  }
  // What the program sees of the first words.
  std::vector<std::uint32_t> read(CUdeviceptr base, std::size_t words) {
    std::vector<std::uint32_t> out(words);
    REQUIRE(cuMemcpyDtoH_v2(out.data(), base, 4 * words) == CUDA_SUCCESS);
    return out;
  }
  struct Counts {
    std::uint64_t routed, changes, kept[BARSWAP_STATS_KEPT];
  };
  static Counts counts() {
    Counts out{};
    out.routed = stats::get(stats::live().routed);
    out.changes = stats::get(stats::live().die_changes);
    for (int i = 0; i < BARSWAP_STATS_KEPT; ++i) out.kept[i] = stats::get(stats::live().kept[i]);
    return out;
  }
  std::uint64_t sent() const { return counts().routed - before.routed; }
  std::uint64_t changes() const { return counts().changes - before.changes; }
  std::uint64_t kept(barswap_kept why) const { return counts().kept[why] - before.kept[why]; }
  bool lies_on(CUdeviceptr base, std::uint64_t bytes, int die) {
    for (const sim::Mapping* mapping : life.machine().memory().covering(base, bytes))
      if (mapping->on_host || mapping->die != die) return false;
    return true;
  }

  support::Life life;
  std::string text;
  CUlibrary library = nullptr;
  CUfunction update = nullptr;
  CUdeviceptr little = 0, near = 0, far = 0;
  Counts before{};
};

inline std::vector<std::uint32_t> expected(std::uint32_t start, std::size_t words, int rounds) {
  std::uint32_t word = start;
  for (int i = 0; i < rounds; ++i) word = updated(word, 3);
  return std::vector<std::uint32_t>(words, word);
}

inline std::string with_variable(std::string text, const char* space = "global") {
  const std::string variable = std::string(".visible .") + space + " .align 4 .u32 counter;\n";
  text.insert(text.find(".visible"), variable);
  const std::size_t entry = text.find("barswap_xorshift_update");
  text.insert(text.find('{', entry) + 1, std::string("\n  ld.") + space + ".u32 %r1, [counter];\n");
  return text;
}

}  // namespace barswap::routed_program

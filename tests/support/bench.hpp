// A life with a current primary context on each die, for the unit tests of the rooms.
#pragma once
#include <doctest/doctest.h>

#include <vector>

#include "support/life.hpp"

namespace barswap::support {

inline Setting small_setting(int dies = 1) {
  Setting setting;
  setting.machine.dies = dies;
  setting.machine.vram_bytes = 64_MiB;
  setting.machine.host_bytes = 256_MiB;
  setting.machine.strict = true;
  setting.setup.worker = false;
  setting.setup.options.paging_page_bytes = 2_MiB;
  setting.setup.options.vram_reserve_bytes = 0;
  setting.setup.options.tiers_host_limit = policy::size_of(128_MiB);
  return setting;
}

struct Bench {
  // `only`: a context on that die alone, and none on the others.
  explicit Bench(const Setting& setting = small_setting(), int only = -1) : life(setting) {
    REQUIRE(life.session() != nullptr);
    if (only >= 0) use(only);
    for (int die = setting.machine.dies - 1; only < 0 && die >= 0; --die) use(die);
  }
  // Makes the die's primary context current, and known.
  void use(int die) {
    CUcontext context = nullptr;
    REQUIRE(cuDevicePrimaryCtxRetain(&context, die) == CUDA_SUCCESS);
    REQUIRE(cuCtxSetCurrent(context) == CUDA_SUCCESS);
    contexts.resize(
        static_cast<std::size_t>(std::max<int>(die + 1, static_cast<int>(contexts.size()))));
    contexts[static_cast<std::size_t>(die)] = context;
  }
  session::Session& session() { return *life.session(); }
  pager::Pager& pager() { return session().pager(); }
  pager::Frames& frames() { return pager().frames(); }
  memory::Memory& memory() { return session().memory(); }
  CUdeviceptr alloc(std::uint64_t bytes) {
    CUdeviceptr base = 0;
    REQUIRE(cuMemAlloc_v2(&base, bytes) == CUDA_SUCCESS);
    return base;
  }
  pager::Run* run_at(CUdeviceptr base) {
    const auto range = memory().at(static_cast<Address>(base));
    REQUIRE(range.has_value());
    return range->run;
  }
  // Holds a stream until it is let go.
  CUstream held_stream() {
    CUstream stream = nullptr;
    REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
    if (!flag) {
      REQUIRE(cuMemHostAlloc(reinterpret_cast<void**>(&flag), 4, CU_MEMHOSTALLOC_PORTABLE) ==
              CUDA_SUCCESS);
      *flag = 0;
    }
    REQUIRE(cuStreamWaitValue32_v2(stream, reinterpret_cast<CUdeviceptr>(flag), 1,
                                   CU_STREAM_WAIT_VALUE_GEQ) == CUDA_SUCCESS);
    return stream;
  }
  void let_go() { *static_cast<volatile std::uint32_t*>(flag) = 1; }

  Life life;
  std::vector<CUcontext> contexts;
  std::uint32_t* flag = nullptr;
};

}  // namespace barswap::support

// What moving a page costs in the driver, and how fast pages change places: the bound of every plan
// that moves.
//   calls  medians in microseconds: create, map, grant, unmap and release of one page, then per
//          page when many neighbours are granted and unmapped by one call; quiet, and beside
//          copies by the engine that copies in, the one that copies out, both, and kernels
//   swap   GB/s each way while as many pages come in as go out, victims mapped to the host at
//          once: copied by engines or by kernels, by calls page by page or for neighbours together,
//          with aliases made beforehand, and the two halves of the work alone
//   load   microseconds that a small module takes to load
//   remap [--page-mib N] [--pages N]
#include <cuda_runtime.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "driver_call.hpp"

namespace {

using Handle = CUmemGenericAllocationHandle;

double now_us() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e6 + static_cast<double>(now.tv_nsec) / 1e3;
}

template <class Work>
double timed_us(Work work) {
  const double start_us = now_us();
  work();
  return now_us() - start_us;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Kind {
  const char* name;
  CUmemLocationType where;
  CUmemAllocationHandleType handles;
};

CUmemAllocationProp property_of(const Kind& kind) {
  CUmemAllocationProp property{};
  property.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  property.location.type = kind.where;
  property.location.id = 0;
  property.requestedHandleTypes = kind.handles;
  return property;
}

constexpr Kind kDevice{"device", CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_HANDLE_TYPE_NONE};
constexpr Kind kHost{"host_numa", CU_MEM_LOCATION_TYPE_HOST_NUMA, CU_MEM_HANDLE_TYPE_NONE};

size_t page_bytes = size_t{8} << 20;

CUresult create(const Kind& kind, Handle* handle) {
  const CUmemAllocationProp property = property_of(kind);
  return GPU_DRIVER(cuMemCreate)(handle, page_bytes, &property, 0);
}

CUdeviceptr reserve(size_t pages) {
  CUdeviceptr base = 0;
  GPU_NEED(cuMemAddressReserve, &base, pages * page_bytes, page_bytes, 0, 0);
  return base;
}

void map(CUdeviceptr at, Handle handle) { GPU_NEED(cuMemMap, at, page_bytes, 0, handle, 0); }
void unmap(CUdeviceptr at, size_t pages = 1) { GPU_NEED(cuMemUnmap, at, pages * page_bytes); }
void grant(CUdeviceptr at, size_t pages = 1) {
  CUmemAccessDesc access{};
  access.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
  access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
  GPU_NEED(cuMemSetAccess, at, pages * page_bytes, &access, 1);
}

// What a kernel of our own would cost a program: the driver's compiler, then its cache.
void loads() {
  const char* const ptx =
      ".version 6.3\n.target sm_70\n.address_size 64\n"
      ".visible .entry one(.param .u64 to, .param .u64 from)\n{\n.reg .b64 %a<3>; .reg .b32 "
      "%v<5>;\n"
      "ld.param.u64 %a1, [to];\nld.param.u64 %a2, [from];\n"
      "ld.global.v4.u32 {%v1, %v2, %v3, %v4}, [%a2];\n"
      "st.global.v4.u32 [%a1], {%v1, %v2, %v3, %v4};\nret;\n}\n";
  for (int pass = 0; pass < 4; ++pass) {
    CUmodule module = nullptr;
    const double load_us = timed_us([&] { GPU_NEED(cuModuleLoadData, &module, ptx); });
    CUfunction function = nullptr;
    const double find_us =
        timed_us([&] { GPU_NEED(cuModuleGetFunction, &function, module, "one"); });
    const double unload_us = timed_us([&] { GPU_NEED(cuModuleUnload, module); });
    std::printf("load of a small PTX module %.0f us, of its kernel %.0f, unload %.0f\n", load_us,
                find_us, unload_us);
  }
}

void calls(const Kind& kind, const char* beside, size_t pages) {
  std::vector<Handle> handles(pages);
  std::vector<double> creates, maps, grants, unmaps, releases;
  const std::string name = std::string("calls ") + kind.name + " " + beside;
  for (Handle& handle : handles) {
    CUresult result = CUDA_SUCCESS;
    creates.push_back(timed_us([&] { result = create(kind, &handle); }));
    if (result != CUDA_SUCCESS) {
      std::printf("%s refused %s\n", name.c_str(), gpu::name_of(result));
      return;
    }
  }
  const CUdeviceptr base = reserve(pages);
  for (size_t i = 0; i < pages; ++i) {
    const CUdeviceptr at = base + i * page_bytes;
    maps.push_back(timed_us([&] { map(at, handles[i]); }));
    grants.push_back(timed_us([&] { grant(at); }));
  }
  for (size_t i = 0; i < pages; ++i)
    unmaps.push_back(timed_us([&] { unmap(base + i * page_bytes); }));
  const double all = static_cast<double>(pages);
  const double map_all = timed_us([&] {
    for (size_t i = 0; i < pages; ++i) map(base + i * page_bytes, handles[i]);
  });
  const double grant_all = timed_us([&] { grant(base, pages); });
  const double unmap_all = timed_us([&] { unmap(base, pages); });
  for (const Handle handle : handles)
    releases.push_back(timed_us([&] { GPU_NEED(cuMemRelease, handle); }));
  GPU_NEED(cuMemAddressFree, base, pages * page_bytes);
  std::printf("%s create %.0f map %.1f grant %.1f unmap %.1f release %.1f"
              " together map %.1f grant %.1f unmap %.1f\n",
              name.c_str(), median(creates), median(maps), median(grants), median(unmaps),
              median(releases), map_all / all, grant_all / all, unmap_all / all);
  std::fflush(stdout);
}

// Reads four words of 16 bytes before it writes them, so that enough of the link is in flight.
__global__ void copy_words(uint4* to, const uint4* from, size_t count) {
  const size_t step = size_t{gridDim.x} * blockDim.x;
  size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x;
  for (; i + 3 * step < count; i += 4 * step) {
    const uint4 a = from[i], b = from[i + step], c = from[i + 2 * step], d = from[i + 3 * step];
    to[i] = a;
    to[i + step] = b;
    to[i + 2 * step] = c;
    to[i + 3 * step] = d;
  }
  for (; i < count; i += step) to[i] = from[i];
}

int kernel_blocks = 64;

void copy_page(bool by_kernel, CUdeviceptr to, CUdeviceptr from, CUstream stream) {
  if (!by_kernel) {
    GPU_NEED(cuMemcpyDtoDAsync, to, from, page_bytes, stream);
    return;
  }
  copy_words<<<kernel_blocks, 512, 0, stream>>>(reinterpret_cast<uint4*>(to),
                                                reinterpret_cast<const uint4*>(from),
                                                page_bytes / sizeof(uint4));
}

struct Lanes {
  bool used[2] = {true, true};  // in, out
  bool kernel = false;
};

// Keeps the link busy until it is destroyed.
class Traffic {
 public:
  Traffic(CUcontext context, Lanes lanes) {
    constexpr size_t kPages = 8;
    const CUdeviceptr near = reserve(kPages), far = reserve(kPages);
    for (size_t i = 0; i < kPages; ++i) {
      Handle handle = 0;
      gpu::need(create(kDevice, &handle), "create", __LINE__);
      map(near + i * page_bytes, handle);
      gpu::need(create(kHost, &handle), "create", __LINE__);
      map(far + i * page_bytes, handle);
    }
    grant(near, kPages);
    grant(far, kPages);
    feeder_ = std::thread([this, context, near, far, lanes] {
      GPU_NEED(cuCtxSetCurrent, context);
      CUstream streams[2];
      CUevent events[2];
      for (int i = 0; i < 2; ++i) {
        GPU_NEED(cuStreamCreate, &streams[i], CU_STREAM_NON_BLOCKING);
        GPU_NEED(cuEventCreate, &events[i], CU_EVENT_DISABLE_TIMING);
      }
      while (!stop_.load()) {
        for (size_t i = 0; i < kPages / 2; ++i) {
          const size_t other = i + kPages / 2;
          if (lanes.used[0])
            copy_page(lanes.kernel, near + i * page_bytes, far + i * page_bytes, streams[0]);
          if (lanes.used[1])
            copy_page(lanes.kernel, far + other * page_bytes, near + other * page_bytes,
                      streams[1]);
        }
        for (int i = 0; i < 2; ++i) GPU_NEED(cuEventRecord, events[i], streams[i]);
        for (int i = 0; i < 2; ++i)
          while (GPU_DRIVER(cuEventQuery)(events[i]) == CUDA_ERROR_NOT_READY) sched_yield();
      }
    });
  }
  ~Traffic() {
    stop_ = true;
    feeder_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread feeder_;
};

// As many pages on the host as on the die, each at an address of its own; a swap gives the first
// half of the addresses frames of the die and the other half frames of the host, and the next swap
// the other way round. Spare frames of both kinds take the copies.
struct Book {
  size_t pages = 0;  // of each kind
  CUdeviceptr base = 0, alias = 0;
  std::vector<Handle> at;            // by address; its first half on the host when `flipped` is not
  std::vector<Handle> spare_near, spare_far;
  bool flipped = false;
};

struct Way {
  const char* name;
  bool copies = true, remaps = true, aliases = true;  // aliases made and dropped in each swap
  size_t group = 1;
  bool kernel[2] = {false, false};  // in, out; else the copy engines
  size_t ahead = ~size_t{0};        // groups copied ahead of the one that is remapped
};

Book make_book(size_t pages) {
  Book book{pages, reserve(2 * pages), reserve(2 * pages), std::vector<Handle>(2 * pages),
            std::vector<Handle>(pages), std::vector<Handle>(pages)};
  for (size_t i = 0; i < 2 * pages; ++i) {
    gpu::need(create(i < pages ? kHost : kDevice, &book.at[i]), "create", __LINE__);
    map(book.base + i * page_bytes, book.at[i]);
  }
  grant(book.base, 2 * pages);
  for (Handle& handle : book.spare_near) gpu::need(create(kDevice, &handle), "create", __LINE__);
  for (Handle& handle : book.spare_far) gpu::need(create(kHost, &handle), "create", __LINE__);
  return book;
}

double swap_us(Book& book, const Way& way, CUstream in, CUstream out,
               std::vector<CUevent>& events) {
  const size_t n = book.pages;
  const size_t first_in = book.flipped ? n : 0, first_out = book.flipped ? 0 : n;
  // The lane in has the aliases from 0, the lane out those from n.
  const auto alias = [&](size_t lane, size_t i) {
    return book.alias + (lane * n + i) * page_bytes;
  };
  const auto address = [&](size_t lane, size_t i) {
    return book.base + ((lane == 0 ? first_in : first_out) + i) * page_bytes;
  };
  const auto spare = [&](size_t lane, size_t i) -> Handle& {
    return lane == 0 ? book.spare_near[i] : book.spare_far[i];
  };
  const auto put_aliases = [&] {
    for (size_t lane = 0; lane < 2; ++lane) {
      for (size_t i = 0; i < n; i += way.group) {
        for (size_t j = i; j < i + way.group; ++j) map(alias(lane, j), spare(lane, j));
        grant(alias(lane, i), way.group);
      }
    }
  };
  const auto drop_aliases = [&] {
    for (size_t lane = 0; lane < 2; ++lane)
      for (size_t i = 0; i < n; i += way.group) unmap(alias(lane, i), way.group);
  };
  if (!way.aliases) put_aliases();
  GPU_NEED(cuCtxSynchronize);
  const double start_us = now_us();
  if (way.aliases) put_aliases();
  const auto copy = [&](size_t i) {
    if (!way.copies || i >= n) return;
    for (size_t lane = 0; lane < 2; ++lane) {
      const CUstream stream = lane == 0 ? in : out;
      for (size_t j = i; j < i + way.group; ++j)
        copy_page(way.kernel[lane], alias(lane, j), address(lane, j), stream);
      GPU_NEED(cuEventRecord, events[lane * n + i], stream);
    }
  };
  const size_t ahead = std::min(way.ahead, n) * way.group;
  for (size_t i = 0; i < std::min(ahead, n); i += way.group) copy(i);
  for (size_t i = 0; i < n; i += way.group) {
    copy(i + ahead);
    for (size_t lane = 0; lane < 2; ++lane) {
      if (way.copies)
        while (GPU_DRIVER(cuEventQuery)(events[lane * n + i]) == CUDA_ERROR_NOT_READY)
          sched_yield();
      if (!way.remaps) continue;
      if (way.aliases) unmap(alias(lane, i), way.group);
      unmap(address(lane, i), way.group);
      for (size_t j = i; j < i + way.group; ++j) map(address(lane, j), spare(lane, j));
      grant(address(lane, i), way.group);
    }
  }
  if (way.copies)
    for (size_t lane = 0; lane < 2; ++lane)
      GPU_NEED(cuEventSynchronize, events[lane * n + n - way.group]);
  const double took_us = now_us() - start_us;
  if (!way.aliases || !way.remaps) drop_aliases();
  if (way.remaps) {
    // What left an address is the spare frame of the other lane.
    for (size_t i = 0; i < n; ++i) {
      std::swap(book.at[first_in + i], book.spare_near[i]);
      std::swap(book.at[first_out + i], book.spare_far[i]);
      std::swap(book.spare_near[i], book.spare_far[i]);
    }
    book.flipped = !book.flipped;
  }
  return took_us;
}

void swaps(size_t pages) {
  Book book = make_book(pages);
  CUstream in = nullptr, out = nullptr;
  GPU_NEED(cuStreamCreate, &in, CU_STREAM_NON_BLOCKING);
  GPU_NEED(cuStreamCreate, &out, CU_STREAM_NON_BLOCKING);
  std::vector<CUevent> events(2 * pages);
  for (CUevent& event : events) GPU_NEED(cuEventCreate, &event, CU_EVENT_DISABLE_TIMING);
  const size_t all = ~size_t{0};
  const Way ways[] = {
      {"engines, page by page"},
      {"engines, aliases before", true, true, false, 1},
      {"engines, aliases before, groups of 4", true, true, false, 4},
      {"engines, aliases before, one page ahead", true, true, false, 1, {false, false}, 1},
      {"engines, aliases before, two pages ahead", true, true, false, 1, {false, false}, 2},
      {"kernels, page by page", true, true, true, 1, {true, true}},
      {"kernels, aliases before", true, true, false, 1, {true, true}},
      {"kernels, aliases before, groups of 4", true, true, false, 4, {true, true}},
      {"kernels, aliases before, two pages ahead", true, true, false, 1, {true, true}, 2},
      {"kernel in, engine out, aliases before", true, true, false, 1, {true, false}, all},
      {"engine in, kernel out, aliases before", true, true, false, 1, {false, true}, all},
      {"copies alone, engines", true, false, false, 4},
      {"copies alone, kernels", true, false, false, 4, {true, true}},
      {"remaps alone, page by page", false, true, true, 1},
      {"remaps alone, aliases before", false, true, false, 1},
  };
  for (const Way& way : ways) {
    std::vector<double> times;
    for (int pass = 0; pass < 6; ++pass)
      times.push_back(swap_us(book, way, in, out, events));
    const double us = median(times);
    std::printf("swap %zu MiB x %zu, %s: %.1f GB/s each way, %.0f us a page\n", page_bytes >> 20,
                pages, way.name, static_cast<double>(pages * page_bytes) / us / 1e3,
                us / static_cast<double>(pages));
    std::fflush(stdout);
  }
}

}  // namespace

int main(int argc, char** argv) {
  size_t pages = 32;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--page-mib"))
      page_bytes = std::strtoull(argv[i + 1], nullptr, 10) << 20;
    if (!std::strcmp(argv[i], "--pages")) pages = std::strtoull(argv[i + 1], nullptr, 10) / 16 * 16;
  }
  const CUcontext context = gpu::use_first_die();
  loads();
  const Kind kinds[] = {
      kDevice,
      kHost,
      {"host", CU_MEM_LOCATION_TYPE_HOST, CU_MEM_HANDLE_TYPE_NONE},
      {"host_numa,fd", CU_MEM_LOCATION_TYPE_HOST_NUMA, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR},
      {"host_numa,fabric", CU_MEM_LOCATION_TYPE_HOST_NUMA, CU_MEM_HANDLE_TYPE_FABRIC},
  };
  for (const Kind& kind : kinds) calls(kind, "quiet", pages);
  struct Beside {
    const char* name;
    Lanes lanes;
  };
  for (const Beside& beside : {Beside{"beside engine in", {{true, false}, false}},
                               Beside{"beside engine out", {{false, true}, false}},
                               Beside{"beside engines", {{true, true}, false}},
                               Beside{"beside kernels", {{true, true}, true}}}) {
    const Traffic traffic(context, beside.lanes);
    for (const Kind& kind : {kDevice, kHost}) calls(kind, beside.name, pages);
  }
  for (const int blocks : {32, 64, 128}) {
    kernel_blocks = blocks;
    std::printf("kernels of %d blocks\n", blocks);
    swaps(pages);
  }
  return 0;
}

// What pages take that come from the host into one die's HBM in a drain, over its own link and over
// that of a second die as well, as shim/pager/detours does it (docs/adr/0025): the copies alone,
// and with the driver's work on the tables of two dies beside them. Needs no Barswap, and two dies;
// 77 without.
//
//   stripe_probe [MiB of a page] [pages]
//
// Prints one line a question and ends with status 1 if bytes were wrong.
#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <initializer_list>
#include <vector>

#include "driver_call.hpp"

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t kSlots = 4, kSlotBytes = 8u << 20;
constexpr int kRounds = 9;

double us_since(Clock::time_point start) {
  return std::chrono::duration<double, std::micro>(Clock::now() - start).count();
}

void grant(CUdeviceptr address, std::size_t bytes, std::initializer_list<int> dies) {
  std::vector<CUmemAccessDesc> all;
  for (const int die : dies) {
    CUmemAccessDesc one{};
    one.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    one.location.id = die;
    one.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    all.push_back(one);
  }
  GPU_NEED(cuMemSetAccess, address, bytes, all.data(), all.size());
}

CUmemGenericAllocationHandle frame_at(CUmemLocationType where, int number, std::size_t bytes) {
  CUmemAllocationProp place{};
  place.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  place.location.type = where;
  place.location.id = number;
  CUmemGenericAllocationHandle handle;
  GPU_NEED(cuMemCreate, &handle, bytes, &place, 0);
  return handle;
}

struct Probe {
  Probe(std::size_t bytes, std::size_t count) : page_bytes(bytes), pages(count) {
    GPU_NEED(cuCtxGetCurrent, &home);
    CUctxCreateParams none{};
    GPU_NEED(cuCtxCreate_v4, &other, &none, 0, 1);
    first = stream();
    arrived = event();
    GPU_NEED(cuCtxSetCurrent, home);
    own = stream();
    onward = stream();
    for (CUevent& one : emptied) one = event();
    for (std::size_t i = 0; i < pages; ++i) ends.push_back({event(), event()});
    int node = 0;
    GPU_NEED(cuDeviceGetAttribute, &node, CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID, 0);
    GPU_NEED(cuMemAddressReserve, &program, pages * page_bytes, 0, 0, 0);
    GPU_NEED(cuMemAddressReserve, &aliases, pages * page_bytes, 0, 0, 0);
    GPU_NEED(cuMemAddressReserve, &bounce, kSlots * kSlotBytes, 0, 0, 0);
    GPU_NEED(cuMemMap, bounce, kSlots * kSlotBytes, 0,
             frame_at(CU_MEM_LOCATION_TYPE_DEVICE, 1, kSlots * kSlotBytes), 0);
    grant(bounce, kSlots * kSlotBytes, {1, 0});
    for (std::size_t i = 0; i < pages; ++i) {
      host.push_back(frame_at(CU_MEM_LOCATION_TYPE_HOST_NUMA, std::max(node, 0), page_bytes));
      fresh.push_back(frame_at(CU_MEM_LOCATION_TYPE_DEVICE, 0, page_bytes));
      map(program, i, host[i], {0, 1});
      map(aliases, i, fresh[i], {0});
    }
    bytes_of_page.resize(page_bytes);
    for (std::size_t i = 0; i < pages; ++i) {
      pattern(i);
      GPU_NEED(cuMemcpyHtoD, program + i * page_bytes, bytes_of_page.data(), page_bytes);
    }
  }
  static CUstream stream() {
    CUstream made = nullptr;
    GPU_NEED(cuStreamCreate, &made, CU_STREAM_NON_BLOCKING);
    return made;
  }
  static CUevent event() {
    CUevent made = nullptr;
    GPU_NEED(cuEventCreate, &made, CU_EVENT_DISABLE_TIMING);
    return made;
  }
  void pattern(std::size_t page) {
    for (std::size_t k = 0; k < page_bytes; k += 4) {
      const auto word = static_cast<std::uint32_t>((k >> 2) * 2654435761u + page);
      std::memcpy(&bytes_of_page[k], &word, 4);
    }
  }
  void map(CUdeviceptr base, std::size_t page, CUmemGenericAllocationHandle frame,
           std::initializer_list<int> dies) {
    GPU_NEED(cuMemMap, base + page * page_bytes, page_bytes, 0, frame, 0);
    grant(base + page * page_bytes, page_bytes, dies);
  }
  void over_other(CUdeviceptr to, CUdeviceptr from, std::size_t bytes) {
    for (std::size_t offset = 0; offset < bytes; offset += kSlotBytes) {
      const std::size_t piece = std::min(kSlotBytes, bytes - offset), slot = sent++ % kSlots;
      GPU_NEED(cuCtxPushCurrent, other);
      GPU_NEED(cuStreamWaitEvent, first, emptied[slot], 0);
      GPU_NEED(cuMemcpyDtoDAsync, bounce + slot * kSlotBytes, from + offset, piece, first);
      GPU_NEED(cuEventRecord, arrived, first);
      CUcontext popped = nullptr;
      GPU_NEED(cuCtxPopCurrent, &popped);
      GPU_NEED(cuStreamWaitEvent, onward, arrived, 0);
      GPU_NEED(cuMemcpyDtoDAsync, to + offset, bounce + slot * kSlotBytes, piece, onward);
      GPU_NEED(cuEventRecord, emptied[slot], onward);
    }
  }
  void send(std::size_t page, std::size_t own_bytes) {
    const CUdeviceptr to = aliases + page * page_bytes, from = program + page * page_bytes;
    if (own_bytes > 0) GPU_NEED(cuMemcpyDtoDAsync, to, from, own_bytes, own);
    over_other(to + own_bytes, from + own_bytes, page_bytes - own_bytes);
    GPU_NEED(cuEventRecord, ends[page].own, own);
    GPU_NEED(cuEventRecord, ends[page].onward, onward);
  }
  void wait(std::size_t page) const {
    for (const CUevent end : {ends[page].own, ends[page].onward})
      while (GPU_DRIVER(cuEventQuery)(end) == CUDA_ERROR_NOT_READY) {}
  }

  std::size_t page_bytes, pages;
  CUcontext home = nullptr, other = nullptr;
  CUstream first = nullptr, own = nullptr, onward = nullptr;
  CUevent arrived = nullptr, emptied[kSlots] = {};
  struct Ends {
    CUevent own, onward;
  };
  std::vector<Ends> ends;
  CUdeviceptr program = 0, aliases = 0, bounce = 0;
  std::vector<CUmemGenericAllocationHandle> host, fresh;
  std::vector<unsigned char> bytes_of_page;
  std::size_t sent = 0;
};

enum class Tables { none, page_by_page, granted_at_once };

struct Took {
  double all_us = 0, unmap_us = 0, map_us = 0, back_us = 0;
};

// As a drain does it: all copies queued, then each page remapped as soon as its copy has ended.
Took bring_in(Probe& probe, std::size_t own_bytes, Tables tables) {
  Took took;
  const std::size_t bytes = probe.page_bytes;
  const auto start = Clock::now();
  for (std::size_t i = 0; i < probe.pages; ++i) probe.send(i, own_bytes);
  for (std::size_t i = 0; i < probe.pages; ++i) {
    probe.wait(i);
    if (tables == Tables::none) continue;
    auto step = Clock::now();
    GPU_NEED(cuMemUnmap, probe.aliases + i * bytes, bytes);
    GPU_NEED(cuMemUnmap, probe.program + i * bytes, bytes);
    took.unmap_us += us_since(step);
    step = Clock::now();
    GPU_NEED(cuMemMap, probe.program + i * bytes, bytes, 0, probe.fresh[i], 0);
    if (tables == Tables::page_by_page) grant(probe.program + i * bytes, bytes, {0, 1});
    took.map_us += us_since(step);
  }
  if (tables == Tables::granted_at_once) {
    const auto step = Clock::now();
    grant(probe.program, probe.pages * bytes, {0, 1});
    took.map_us += us_since(step);
  }
  took.all_us = us_since(start);
  return took;
}

bool right(Probe& probe, CUdeviceptr base) {
  std::vector<unsigned char> got(probe.page_bytes);
  for (std::size_t i = 0; i < probe.pages; ++i) {
    probe.pattern(i);
    GPU_NEED(cuMemcpyDtoH, got.data(), base + i * probe.page_bytes, got.size());
    if (got != probe.bytes_of_page) return false;
  }
  return true;
}

double back_to_host(Probe& probe) {
  const auto start = Clock::now();
  for (std::size_t i = 0; i < probe.pages; ++i) {
    GPU_NEED(cuMemUnmap, probe.program + i * probe.page_bytes, probe.page_bytes);
    probe.map(probe.program, i, probe.host[i], {0, 1});
  }
  const double us = us_since(start);
  for (std::size_t i = 0; i < probe.pages; ++i) probe.map(probe.aliases, i, probe.fresh[i], {0});
  return us;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t page_mib = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 32;
  const std::size_t pages = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 16;
  (void)gpu::use_first_die();
  int dies = 0;
  GPU_NEED(cuDeviceGetCount, &dies);
  if (dies < 2) return 77;
  Probe probe(page_mib << 20, pages);
  std::printf("%zu pages of %zu MiB, medians of %d\n", pages, page_mib, kRounds);
  bool good = true;
  const char* const tables_of[] = {"copies alone", "each page remapped as it lands",
                                   "the same, granted to both dies at once at the end"};
  for (const Tables tables : {Tables::none, Tables::page_by_page, Tables::granted_at_once})
    for (const std::size_t own_bytes : {probe.page_bytes, probe.page_bytes / 2, std::size_t{0}}) {
      std::vector<Took> rounds;
      for (int round = 0; round < kRounds; ++round) {
        GPU_NEED(cuMemsetD8, probe.aliases, 0, pages * probe.page_bytes);
        GPU_NEED(cuCtxSynchronize);
        Took took = bring_in(probe, own_bytes, tables);
        const bool remapped = tables != Tables::none;
        if (round == 0) good = right(probe, remapped ? probe.program : probe.aliases) && good;
        if (remapped) took.back_us = back_to_host(probe);
        rounds.push_back(took);
      }
      const auto median = [&](double Took::*of) {
        std::sort(rounds.begin(), rounds.end(),
                  [&](const Took& left, const Took& right) { return left.*of < right.*of; });
        return rounds[rounds.size() / 2].*of;
      };
      const double all_us = median(&Took::all_us), bytes = double(pages * probe.page_bytes);
      std::printf("%s, %3zu%% over its own link: %.1f GB/s", tables_of[static_cast<int>(tables)],
                  100 * own_bytes / probe.page_bytes, bytes / all_us / 1e3);
      if (tables != Tables::none)
        std::printf("; for a page %.0f us to unmap, %.0f to map and grant, %.0f back to the host",
                    median(&Took::unmap_us) / double(pages), median(&Took::map_us) / double(pages),
                    median(&Took::back_us) / double(pages));
      std::printf("\n");
    }
  std::printf("bytes: %s\n", good ? "right" : "WRONG");
  return good ? 0 : 1;
}

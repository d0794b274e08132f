#include "session/callsite.hpp"

#define UNW_LOCAL_ONLY
#include <dlfcn.h>
#include <libunwind.h>

#include <atomic>
#include <cstdio>

#include "barswap/log.hpp"

namespace barswap::session {
namespace {

constexpr const char* kLibrary = "libunwind.so.8";
constexpr int kFramesMax = 48;

#define BARSWAP_TEXT_(name) #name
#define BARSWAP_TEXT(name) BARSWAP_TEXT_(name)

struct Unwinder {
  decltype(&unw_init_local) init_local = nullptr;
  decltype(&unw_step) step = nullptr;
  decltype(&unw_get_reg) get_reg = nullptr;
#if defined(__x86_64__)
  int (*get_context)(unw_tdep_context_t*) = nullptr;
#endif
  bool usable = false;
};

Unwinder open_unwinder() {
  Unwinder out;
  void* handle = dlopen(kLibrary, RTLD_LAZY | RTLD_LOCAL);
  if (!handle) return out;
  out.init_local = reinterpret_cast<decltype(out.init_local)>(
      dlsym(handle, BARSWAP_TEXT(unw_init_local)));
  out.step = reinterpret_cast<decltype(out.step)>(dlsym(handle, BARSWAP_TEXT(unw_step)));
  out.get_reg = reinterpret_cast<decltype(out.get_reg)>(dlsym(handle, BARSWAP_TEXT(unw_get_reg)));
  out.usable = out.init_local && out.step && out.get_reg;
#if defined(__x86_64__)
  out.get_context =
      reinterpret_cast<decltype(out.get_context)>(dlsym(handle, "_Ux86_64_getcontext"));
  out.usable = out.usable && out.get_context;
#endif
  return out;
}

// Racing threads open the same library and store the same addresses; one stores first.
const Unwinder& unwinder() {
  static std::atomic<int> state{0};
  static Unwinder known;
  if (state.load(std::memory_order_acquire) == 2) return known;
  int fresh = 0;
  if (state.compare_exchange_strong(fresh, 1, std::memory_order_acq_rel)) {
    known = open_unwinder();
    state.store(2, std::memory_order_release);
    if (!known.usable)
      BARSWAP_LOG(warn, "session",
                  "call sites are asked for, but %s is not to be had: the direct caller is all "
                  "that is seen. Cure: install libunwind8",
                  kLibrary);
    return known;
  }
  static const Unwinder none;  // the other thread is still opening it
  return none;
}

// False for what is ours or nobody's.
bool add(std::vector<CallSite>& sites, const void* address) {
  Dl_info info{}, ours{};
  if (!dladdr(address, &info) || !dladdr(reinterpret_cast<const void*>(&open_unwinder), &ours))
    return false;
  if (info.dli_fbase == ours.dli_fbase) return false;
  const auto offset = reinterpret_cast<std::uintptr_t>(address) -
                      reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  sites.push_back(
      {info.dli_fname ? info.dli_fname : "", info.dli_sname ? info.dli_sname : "", offset});
  return true;
}

}  // namespace

std::vector<CallSite> call_sites(const void* return_address) {
  std::vector<CallSite> sites;
  const Unwinder& unwind = unwinder();
  if (!unwind.usable) {
    add(sites, return_address);
    return sites;
  }
  unw_context_t context;
  unw_cursor_t cursor;
#if defined(__x86_64__)
  if (unwind.get_context(&context) != 0) return sites;
#else
  unw_getcontext(&context);
#endif
  if (unwind.init_local(&cursor, &context) != 0) return sites;
  for (int i = 0; i < kFramesMax && unwind.step(&cursor) > 0; ++i) {
    unw_word_t address = 0;
    if (unwind.get_reg(&cursor, UNW_REG_IP, &address) != 0 || address == 0) break;
    // The return address is behind the call; the call itself decides whose it is.
    add(sites, reinterpret_cast<const void*>(address - 1));
  }
  return sites;
}

std::string caller_text() {
  const std::vector<CallSite> sites = call_sites(nullptr);
  const auto part_of_cuda = [](const CallSite& site) {
    return site.library.find("/libcuda") != std::string::npos ||
           site.library.find("/libcublas") != std::string::npos;
  };
  for (const CallSite& site : sites) {
    if (part_of_cuda(site)) continue;
    char offset[32];
    std::snprintf(offset, sizeof offset, "+%#zx", static_cast<std::size_t>(site.offset));
    return site.library + offset + (site.symbol.empty() ? "" : " (" + site.symbol + ")");
  }
  return "";
}

}  // namespace barswap::session

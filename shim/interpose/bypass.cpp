#include "interpose/bypass.hpp"

#include <link.h>

#include <atomic>
#include <cstdio>

#include "barswap/log.hpp"
#include "interpose/elf_image.hpp"
#include "interpose/loader.hpp"
#include "interpose/resolver.hpp"
#include "interpose/rows.hpp"

namespace barswap::interpose {
namespace {

struct Finding {
  char object[256] = "";
  char function[64] = "";
  unsigned bindings = 0;
};

void note(Finding& finding, const char* object, const char* function) {
  if (finding.bindings++ > 0) return;
  std::snprintf(finding.object, sizeof(finding.object), "%s", object);
  std::snprintf(finding.function, sizeof(finding.function), "%s", function);
}

void inspect(Finding& finding, const char* object, const ElfImage& image) {
  image.each_binding([&](const char* name, void** slot) {
    if (owner_of(name) != Owner::driver || !row_named(name).wrapper) return;
    // A slot that is not bound yet holds an address inside its own object.
    if (*slot && *slot == real_address(name)) note(finding, object, name);
  });
}

const ElfW(Dyn) * dynamic_of(const dl_phdr_info& info) {
  for (int i = 0; i < info.dlpi_phnum; ++i)
    if (info.dlpi_phdr[i].p_type == PT_DYNAMIC)
      return reinterpret_cast<const ElfW(Dyn)*>(info.dlpi_addr + info.dlpi_phdr[i].p_vaddr);
  return nullptr;
}

int visit(dl_phdr_info* info, std::size_t, void* state) {
  const ElfW(Dyn)* dynamic = dynamic_of(*info);
  if (!dynamic || is_driver_side(object_at(dynamic))) return 0;
  inspect(*static_cast<Finding*>(state), info->dlpi_name, ElfImage(info->dlpi_addr, dynamic));
  return 0;
}

}  // namespace

void report_bypasses() noexcept {
  static constinit std::atomic<bool> done{false};
  report_second_copy();
  if (!log_enabled(Level::info) || done.exchange(true, std::memory_order_relaxed)) return;
  Finding finding;
  dl_iterate_phdr(visit, &finding);
  if (finding.bindings > 0)
    BARSWAP_LOG(info, "interpose", "%s is bound past us: %s and %u other references to the driver",
                *finding.object ? finding.object : "the program", finding.function,
                finding.bindings - 1);
}

}  // namespace barswap::interpose

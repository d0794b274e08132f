// A loaded object's dynamic symbols, read straight from its mapped tables. It owns nothing, takes
// no lock, allocates nothing and calls nothing, so that it may be used where dlsym may not: inside
// our own dlsym. The object must stay loaded while an ElfImage looks at it.
#pragma once
#include <elf.h>
#include <link.h>

#include <cstdint>

namespace barswap::interpose {

// Not strcmp: while the C library or a sanitizer starts, that one may not be there yet.
inline bool same_text(const char* a, const char* b) {
  while (*a && *a == *b) ++a, ++b;
  return *a == *b;
}

class ElfImage {
 public:
  explicit ElfImage(const link_map& map) : ElfImage(map.l_addr, map.l_ld) {}
  ElfImage(ElfW(Addr) base, const ElfW(Dyn) * dynamic);

  // The address of a function that the object defines and exports, or null.
  void* find_function(const char* name) const;

  // Calls visit(symbol_name, slot) for each bound GLOB_DAT and JUMP_SLOT relocation.
  template <class Visit>
  void each_binding(Visit&& visit) const {
    each_binding(jump_slots_, jump_slots_bytes_, visit);
    each_binding(relocations_, relocations_bytes_, visit);
  }

 private:
  template <class Visit>
  void each_binding(const ElfW(Rela) * entries, std::uint64_t bytes, Visit& visit) const {
    if (!entries || !symbols_ || !strings_) return;
    for (std::uint64_t i = 0; i < bytes / sizeof(*entries); ++i) {
      if (!is_binding(ELF64_R_TYPE(entries[i].r_info))) continue;
      const ElfW(Sym)& symbol = symbols_[ELF64_R_SYM(entries[i].r_info)];
      visit(strings_ + symbol.st_name, reinterpret_cast<void**>(base_ + entries[i].r_offset));
    }
  }
  static bool is_binding(std::uint64_t type);
  const ElfW(Sym) * in_gnu_hash(const char* name) const;
  const ElfW(Sym) * in_sysv_hash(const char* name) const;
  bool defines(const ElfW(Sym) & symbol, const char* name) const;

  std::uintptr_t base_ = 0;
  const char* strings_ = nullptr;
  const ElfW(Sym) * symbols_ = nullptr;
  const std::uint32_t* gnu_hash_ = nullptr;
  const std::uint32_t* sysv_hash_ = nullptr;
  const ElfW(Rela) * jump_slots_ = nullptr;
  const ElfW(Rela) * relocations_ = nullptr;
  std::uint64_t jump_slots_bytes_ = 0;
  std::uint64_t relocations_bytes_ = 0;
};

}  // namespace barswap::interpose

#include "interpose/elf_image.hpp"

namespace barswap::interpose {
namespace {

// The loader writes absolute addresses into the tables of libraries, but not into the vDSO's.
template <class T>
const T* table_at(std::uintptr_t base, ElfW(Addr) value) {
  return reinterpret_cast<const T*>(value < base ? base + value : value);
}

std::uint32_t gnu_hash_of(const char* name) {
  std::uint32_t hash = 5381;
  for (; *name; ++name) hash = hash * 33 + static_cast<unsigned char>(*name);
  return hash;
}

std::uint32_t sysv_hash_of(const char* name) {
  std::uint32_t hash = 0;
  for (; *name; ++name) {
    hash = (hash << 4) + static_cast<unsigned char>(*name);
    const std::uint32_t high = hash & 0xf0000000u;
    hash = (hash ^ (high >> 24)) & ~high;
  }
  return hash;
}

}  // namespace

ElfImage::ElfImage(ElfW(Addr) base, const ElfW(Dyn) * dynamic) : base_(base) {
  for (const ElfW(Dyn)* entry = dynamic; entry && entry->d_tag != DT_NULL; ++entry) {
    switch (entry->d_tag) {
      case DT_STRTAB: strings_ = table_at<char>(base_, entry->d_un.d_ptr); break;
      case DT_SYMTAB: symbols_ = table_at<ElfW(Sym)>(base_, entry->d_un.d_ptr); break;
      case DT_GNU_HASH: gnu_hash_ = table_at<std::uint32_t>(base_, entry->d_un.d_ptr); break;
      case DT_HASH: sysv_hash_ = table_at<std::uint32_t>(base_, entry->d_un.d_ptr); break;
      case DT_JMPREL: jump_slots_ = table_at<ElfW(Rela)>(base_, entry->d_un.d_ptr); break;
      case DT_PLTRELSZ: jump_slots_bytes_ = entry->d_un.d_val; break;
      case DT_RELA: relocations_ = table_at<ElfW(Rela)>(base_, entry->d_un.d_ptr); break;
      case DT_RELASZ: relocations_bytes_ = entry->d_un.d_val; break;
      default: break;
    }
  }
}

bool ElfImage::is_binding(std::uint64_t type) {
#if defined(__x86_64__)
  return type == R_X86_64_JUMP_SLOT || type == R_X86_64_GLOB_DAT;
#elif defined(__aarch64__)
  return type == R_AARCH64_JUMP_SLOT || type == R_AARCH64_GLOB_DAT;
#else
#error "Barswap knows x86-64 and AArch64."
#endif
}

bool ElfImage::defines(const ElfW(Sym) & symbol, const char* name) const {
  return symbol.st_shndx != SHN_UNDEF && ELF64_ST_TYPE(symbol.st_info) == STT_FUNC &&
         same_text(strings_ + symbol.st_name, name);
}

const ElfW(Sym) * ElfImage::in_gnu_hash(const char* name) const {
  // Layout: bucket count, first symbol, bloom words, bloom shift, bloom filter, buckets, chains.
  const std::uint32_t buckets = gnu_hash_[0];
  const std::uint32_t first = gnu_hash_[1];
  const auto* bloom = reinterpret_cast<const ElfW(Addr)*>(gnu_hash_ + 4);
  const auto* bucket = reinterpret_cast<const std::uint32_t*>(bloom + gnu_hash_[2]);
  const std::uint32_t* chain = bucket + buckets;
  if (buckets == 0) return nullptr;
  const std::uint32_t hash = gnu_hash_of(name);
  std::uint32_t index = bucket[hash % buckets];
  if (index < first) return nullptr;
  for (;; ++index) {
    const std::uint32_t entry = chain[index - first];
    if ((entry | 1) == (hash | 1) && defines(symbols_[index], name)) return &symbols_[index];
    if (entry & 1) return nullptr;
  }
}

const ElfW(Sym) * ElfImage::in_sysv_hash(const char* name) const {
  const std::uint32_t buckets = sysv_hash_[0];
  const std::uint32_t* bucket = sysv_hash_ + 2;
  const std::uint32_t* chain = bucket + buckets;
  if (buckets == 0) return nullptr;
  for (std::uint32_t i = bucket[sysv_hash_of(name) % buckets]; i != STN_UNDEF; i = chain[i])
    if (defines(symbols_[i], name)) return &symbols_[i];
  return nullptr;
}

void* ElfImage::find_function(const char* name) const {
  if (!symbols_ || !strings_) return nullptr;
  const ElfW(Sym)* symbol = nullptr;
  if (gnu_hash_) symbol = in_gnu_hash(name);
  else if (sysv_hash_) symbol = in_sysv_hash(name);
  return symbol ? reinterpret_cast<void*>(base_ + symbol->st_value) : nullptr;
}

}  // namespace barswap::interpose

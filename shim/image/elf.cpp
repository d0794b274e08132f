#include "image/elf.hpp"

namespace barswap::image {
namespace {

// elf.h of older distributions does not know the machine.
constexpr Elf64_Half kMachine = 190;

bool is_cubin(const Elf64_Ehdr& header) {
  return std::memcmp(header.e_ident, ELFMAG, SELFMAG) == 0 &&
         header.e_ident[EI_CLASS] == ELFCLASS64 && header.e_ident[EI_DATA] == ELFDATA2LSB &&
         header.e_machine == kMachine && header.e_shentsize == sizeof(Elf64_Shdr);
}

// The flags say it in another byte since toolkit 13.0, whose files have version 8 of the ABI.
unsigned architecture_of(const Elf64_Ehdr& header) {
  constexpr unsigned kVersionOfToolkit13 = 8;
  const bool old = header.e_ident[EI_ABIVERSION] < kVersionOfToolkit13;
  return (header.e_flags >> (old ? 0 : 8)) & 0xff;
}

// A file of many kernels has more sections than its header can count: the first section does.
std::uint64_t sections_in(const Elf64_Ehdr& header, const Elf64_Shdr& first) {
  return header.e_shnum != 0 ? header.e_shnum : first.sh_size;
}

bool in_file(const Elf64_Shdr& section) {
  return section.sh_type != SHT_NOBITS && section.sh_type != SHT_NULL;
}

std::optional<Bytes> part_of(Bytes file, const Elf64_Shdr& section) {
  if (!in_file(section)) return Bytes();
  return file.part(section.sh_offset, section.sh_size);
}

}  // namespace

std::uint64_t Elf::size_of(const void* image) {
  // Beyond this no cubin is believed: with it, sums of offsets and sizes cannot overflow.
  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  const auto header = *Bytes(image, sizeof(Elf64_Ehdr)).read<Elf64_Ehdr>(0);
  if (!is_cubin(header) || header.e_shoff == 0 || header.e_shoff > kMost) return 0;
  const auto* table = static_cast<const std::byte*>(image) + header.e_shoff;
  const auto first = *Bytes(table, sizeof(Elf64_Shdr)).read<Elf64_Shdr>(0);
  const std::uint64_t count = sections_in(header, first);
  if (count > kMost / sizeof(Elf64_Shdr)) return 0;
  const Bytes headers(table, count * sizeof(Elf64_Shdr));
  std::uint64_t end = header.e_shoff + headers.size();
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto section = headers.entry<Elf64_Shdr>(i);
    if (!in_file(section)) continue;
    if (section.sh_offset > kMost || section.sh_size > kMost) return 0;
    end = std::max(end, section.sh_offset + section.sh_size);
  }
  return end;
}

bool Elf::read_sections(Bytes file, const Elf64_Ehdr& header) {
  const auto first = file.read<Elf64_Shdr>(header.e_shoff);
  if (!first) return false;
  const std::uint64_t count = sections_in(header, *first);
  if (count > file.size() / sizeof(Elf64_Shdr)) return false;
  const auto table = file.part(header.e_shoff, count * sizeof(Elf64_Shdr));
  const std::uint64_t named = header.e_shstrndx == SHN_XINDEX ? first->sh_link : header.e_shstrndx;
  if (!table || named >= count) return false;
  const auto names = part_of(file, table->entry<Elf64_Shdr>(named));
  if (!names) return false;
  sections_.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    const auto section = table->entry<Elf64_Shdr>(i);
    const auto bytes = part_of(file, section);
    if (!bytes) return false;
    sections_.push_back({names->text(section.sh_name), section.sh_type, section.sh_info,
                         section.sh_link, (section.sh_flags & SHF_ALLOC) != 0, *bytes});
  }
  return true;
}

bool Elf::read_symbols() {
  for (const Section& section : sections_) {
    if (section.type == SHT_SYMTAB_SHNDX) wide_sections_ = section.bytes;
    if (section.type != SHT_SYMTAB) continue;
    if (section.link >= sections_.size()) return false;
    symbols_ = section.bytes;
    symbol_names_ = sections_[section.link].bytes;
  }
  return true;
}

std::optional<Elf> Elf::open(Bytes file) {
  const auto header = file.read<Elf64_Ehdr>(0);
  if (!header || !is_cubin(*header)) return std::nullopt;
  Elf elf;
  elf.architecture_ = architecture_of(*header);
  if (!elf.read_sections(file, *header) || !elf.read_symbols()) return std::nullopt;
  return elf;
}

Symbol Elf::symbol(std::uint64_t index) const {
  if (index >= symbols()) return {};
  const auto entry = symbols_.entry<Elf64_Sym>(index);
  Symbol symbol;
  symbol.name = symbol_names_.text(entry.st_name);
  symbol.section = entry.st_shndx;
  symbol.type = ELF64_ST_TYPE(entry.st_info);
  symbol.other = entry.st_other;
  if (entry.st_shndx == SHN_XINDEX && index < wide_sections_.count<std::uint32_t>())
    symbol.section = wide_sections_.entry<std::uint32_t>(index);
  else if (entry.st_shndx >= SHN_LORESERVE) symbol.section = kNoSection + entry.st_shndx;
  return symbol;
}

}  // namespace barswap::image

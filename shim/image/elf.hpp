// The tables of a cubin, which is an ELF file: its sections and symbols. It owns a list of the
// sections; what they hold stays where the image lies. It says nothing of what they mean.
#pragma once
#include <elf.h>

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "image/bytes.hpp"

namespace barswap::image {

struct Section {
  std::string_view name;
  std::uint32_t type = SHT_NULL;
  std::uint32_t info = 0, link = 0;
  bool loaded = false;  // is there when the kernels run
  Bytes bytes;          // none for sections without bytes in the file
};

// What is no section but a word of its own, such as SHN_COMMON, stands above this.
constexpr std::uint32_t kNoSection = 0xffff0000;

struct Symbol {
  std::string_view name;
  std::uint32_t section = SHN_UNDEF;
  unsigned type = STT_NOTYPE, other = 0;
};

struct Relocation {
  std::uint64_t offset = 0;  // in the section that it changes
  std::uint64_t symbol = 0;
};

class Elf {
 public:
  // Nothing, if that is no cubin, or one whose tables leave it.
  static std::optional<Elf> open(Bytes file);
  // Where the file ends by its own headers, at whose start `image` is; 0, if it is no cubin.
  static std::uint64_t size_of(const void* image);

  // Ten times the major number of what the code is for, and the minor one; 0 if it does not say.
  unsigned architecture() const { return architecture_; }
  const std::vector<Section>& sections() const { return sections_; }
  std::uint64_t symbols() const { return symbols_.count<Elf64_Sym>(); }
  // No name and no section, if there is no such symbol.
  Symbol symbol(std::uint64_t index) const;

  // Calls take(Relocation) for each relocation in a section that holds some.
  template <class Take>
  static void each_relocation(const Section& section, Take take) {
    if (section.type == SHT_RELA) each<Elf64_Rela>(section.bytes, take);
    if (section.type == SHT_REL) each<Elf64_Rel>(section.bytes, take);
  }

 private:
  template <class Entry, class Take>
  static void each(Bytes bytes, Take& take) {
    for (std::uint64_t i = 0; i < bytes.count<Entry>(); ++i) {
      const auto entry = bytes.entry<Entry>(i);
      take(Relocation{entry.r_offset, ELF64_R_SYM(entry.r_info)});
    }
  }
  bool read_sections(Bytes file, const Elf64_Ehdr& header);
  bool read_symbols();

  std::vector<Section> sections_;
  Bytes symbols_, symbol_names_, wide_sections_;
  unsigned architecture_ = 0;
};

}  // namespace barswap::image

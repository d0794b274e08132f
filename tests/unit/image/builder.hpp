// Makes cubins and fatbins byte by byte, as the toolkits lay them out, so that tests need none.
#pragma once
#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace barswap::image {

using Blob = std::vector<std::byte>;

inline void append(Blob& blob, const void* from, std::size_t size) {
  const auto* bytes = static_cast<const std::byte*>(from);
  blob.insert(blob.end(), bytes, bytes + size);
}
template <class T>
void append(Blob& blob, const T& value) {
  append(blob, &value, sizeof(value));
}

// Instructions of sixteen bytes, of which only what is read here is set.
class CodeMaker {
 public:
  // Loads eight bytes from a bank of constants, at a fixed place.
  CodeMaker& load(std::uint64_t bank, std::uint64_t place) {
    return add(0xb82 | std::uint64_t{0xff} << 24 | bank << 54 | place << 38, 0xa00);
  }
  // The same with a register added to the place.
  CodeMaker& load_computed(std::uint64_t bank) { return add(0xb82 | 4 << 24 | bank << 54, 0xa00); }
  // BAR.SYNC of a barrier with a number, as kernels of specialised warps use it.
  CodeMaker& barrier(std::uint64_t number, std::uint64_t threads) {
    return add(0xb1d | 7 << 12 | threads << 42 | number << 54, 0);
  }
  CodeMaker& call_register() { return add(0x343, 0); }
  CodeMaker& call_virtual() { return add(0x344, 0); }
  CodeMaker& call_immediate() { return add(0x943, 0).add(0x944, 0); }
  CodeMaker& other() { return add(0x918, 0); }
  const Blob& blob() const { return blob_; }

 private:
  CodeMaker& add(std::uint64_t low, std::uint64_t high) {
    append(blob_, low);
    append(blob_, high);
    return *this;
  }
  Blob blob_;
};

class CubinMaker {
 public:
  explicit CubinMaker(unsigned architecture = 90, bool toolkit_13 = true) {
    std::memcpy(header_.e_ident, ELFMAG, SELFMAG);
    header_.e_ident[EI_CLASS] = ELFCLASS64;
    header_.e_ident[EI_DATA] = ELFDATA2LSB;
    header_.e_ident[EI_ABIVERSION] = toolkit_13 ? 8 : 7;
    header_.e_machine = 190;
    header_.e_flags = toolkit_13 ? architecture << 8 | 0x6000004 : architecture | 0x460500;
    header_.e_shentsize = sizeof(Elf64_Shdr);
    section("", SHT_NULL, {});
    section(".shstrtab", SHT_STRTAB, {});
    section(".strtab", SHT_STRTAB, {});
    section(".symtab", SHT_SYMTAB, {});
    sections_[kSymbols].header.sh_link = kNames;
    symbol("", SHN_UNDEF, STT_NOTYPE);
  }

  std::uint32_t section(std::string_view name, std::uint32_t type, Blob bytes,
                        std::uint64_t flags = 0) {
    Part part;
    part.header.sh_name = static_cast<std::uint32_t>(section_names_.size());
    part.header.sh_type = type;
    part.header.sh_flags = flags;
    part.bytes = std::move(bytes);
    append(section_names_, name.data(), name.size());
    section_names_.push_back(std::byte{0});
    sections_.push_back(std::move(part));
    return static_cast<std::uint32_t>(sections_.size() - 1);
  }
  std::uint32_t symbol(std::string_view name, std::uint32_t home, unsigned type,
                       unsigned other = 0) {
    Elf64_Sym entry{};
    entry.st_name = static_cast<Elf64_Word>(names_.size());
    entry.st_info = static_cast<unsigned char>(ELF64_ST_INFO(STB_GLOBAL, type));
    entry.st_other = static_cast<unsigned char>(other);
    entry.st_shndx = static_cast<Elf64_Half>(home);
    append(names_, name.data(), name.size());
    names_.push_back(std::byte{0});
    append(symbols_, entry);
    return static_cast<std::uint32_t>(symbols_.size() / sizeof(entry) - 1);
  }
  // Answers the section of its code; the symbol is the next that symbol() would answer.
  std::uint32_t kernel(const std::string& name, const CodeMaker& code = CodeMaker().other()) {
    return function(name, code, 0x10);
  }
  std::uint32_t function(const std::string& name, const CodeMaker& code = CodeMaker().other(),
                         unsigned other = 0) {
    const std::uint32_t home =
        section(".text." + name, SHT_PROGBITS, code.blob(), SHF_ALLOC | SHF_EXECINSTR);
    last_ = symbol(name, home, STT_FUNC, other);
    return home;
  }
  std::uint32_t last_symbol() const { return last_; }
  // A variable of eight bytes in a section of its own.
  std::uint32_t variable(const std::string& home, std::string_view name) {
    const std::uint32_t type = home == ".nv.global" ? SHT_NOBITS : SHT_PROGBITS;
    return symbol(name, section(home, type, Blob(8), SHF_ALLOC | SHF_WRITE), STT_OBJECT);
  }
  // Both kinds of relocations occur, and say the same here.
  void relocate(std::uint32_t changed, std::uint64_t offset, std::uint64_t symbol,
                bool addend = true) {
    Blob bytes;
    if (addend) append(bytes, Elf64_Rela{offset, ELF64_R_INFO(symbol, 2), 0});
    else append(bytes, Elf64_Rel{offset, ELF64_R_INFO(symbol, 2)});
    const std::uint32_t made =
        section(addend ? ".rela" : ".rel", addend ? SHT_RELA : SHT_REL, std::move(bytes));
    sections_[made].header.sh_info = changed;
  }

  // As in files of more sections than the header and a symbol can count.
  CubinMaker& many() {
    many_ = true;
    return *this;
  }

  Blob blob() const {
    std::vector<Part> parts = sections_;
    parts[1].bytes = section_names_;
    parts[kNames].bytes = names_;
    parts[kSymbols].bytes = symbols_;
    if (many_) widen(parts);
    Blob file(sizeof(Elf64_Ehdr));
    for (Part& part : parts) {
      part.header.sh_offset = file.size();
      part.header.sh_size = part.bytes.size();
      if (part.header.sh_type != SHT_NOBITS) append(file, part.bytes.data(), part.bytes.size());
    }
    Elf64_Ehdr header = header_;
    header.e_shoff = file.size();
    header.e_shnum = static_cast<Elf64_Half>(parts.size());
    header.e_shstrndx = 1;
    if (many_) {
      parts[0].header.sh_size = std::exchange(header.e_shnum, Elf64_Half{0});
      parts[0].header.sh_link = std::exchange(header.e_shstrndx, Elf64_Half{SHN_XINDEX});
    }
    std::memcpy(file.data(), &header, sizeof(header));
    for (const Part& part : parts) append(file, part.header);
    return file;
  }

 private:
  struct Part {
    Elf64_Shdr header{};
    Blob bytes;
  };
  static constexpr std::uint32_t kNames = 2, kSymbols = 3;

  static void widen(std::vector<Part>& parts) {
    Part wide;
    wide.header.sh_type = SHT_SYMTAB_SHNDX;
    Blob& symbols = parts[kSymbols].bytes;
    for (std::size_t at = 0; at < symbols.size(); at += sizeof(Elf64_Sym)) {
      Elf64_Sym entry;
      std::memcpy(&entry, symbols.data() + at, sizeof(entry));
      append(wide.bytes, std::uint32_t{std::exchange(entry.st_shndx, Elf64_Half{SHN_XINDEX})});
      std::memcpy(symbols.data() + at, &entry, sizeof(entry));
    }
    parts.push_back(std::move(wide));
  }

  Elf64_Ehdr header_{};
  std::vector<Part> sections_;
  Blob section_names_, names_, symbols_;
  std::uint32_t last_ = 0;
  bool many_ = false;
};

constexpr std::uint16_t kPtxKind = 1, kCubinKind = 2;
constexpr std::uint64_t kPlain = 0x11, kLz4Flag = 0x2000, kZstdFlag = 0x8000, kOnlyThere = 0x100000;

struct Payload {
  Blob bytes;
  std::uint64_t flags = kPlain;
  std::uint64_t unpacked_bytes = 0;
};

class FatbinMaker {
 public:
  FatbinMaker& entry(std::uint16_t kind, std::uint32_t architecture, Payload payload) {
    const bool packed = payload.unpacked_bytes != 0;
    const auto size = static_cast<std::uint32_t>(payload.bytes.size());
    payload.bytes.resize((payload.bytes.size() + 7) / 8 * 8);
    append(body_, kind);
    append(body_, std::uint16_t{0x101});
    append(body_, std::uint32_t{64});
    append(body_, std::uint64_t{payload.bytes.size()});
    append(body_, packed ? size : std::uint32_t{0});
    append(body_, std::uint64_t{0});  // options, version of the format
    append(body_, architecture);
    append(body_, std::uint64_t{0});  // a name
    append(body_, payload.flags);
    append(body_, std::uint64_t{0});
    append(body_, payload.unpacked_bytes);
    append(body_, payload.bytes.data(), payload.bytes.size());
    return *this;
  }
  Blob blob() const {
    Blob file;
    append(file, std::uint32_t{0xba55ed50});
    append(file, std::uint16_t{1});
    append(file, std::uint16_t{16});
    append(file, std::uint64_t{body_.size()});
    append(file, body_.data(), body_.size());
    return file;
  }

 private:
  Blob body_;
};

inline Blob text_blob(std::string_view text) {
  Blob blob;
  append(blob, text.data(), text.size());
  return blob;
}

}  // namespace barswap::image

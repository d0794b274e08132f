#include "core_dump.hpp"

#include <elf.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <utility>

namespace barswap::verify {
namespace {

constexpr std::uint16_t kMachine = 190;  // EM_CUDA
// Types of sections, above SHT_LOUSER.
constexpr std::uint32_t kRegisters = SHT_LOUSER + 5, kLanes = SHT_LOUSER + 15;
// In an entry of the table of a warp's lanes; entries grow with the driver.
constexpr std::uint64_t kException = 32, kLeastLane = 36;

// A file, mapped to be read.
class Mapped {
 public:
  explicit Mapped(const std::string& path) {
    const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0) return;
    struct stat status {};
    if (fstat(file, &status) == 0 && status.st_size > 0) {
      size_ = static_cast<std::uint64_t>(status.st_size);
      memory_ = mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, file, 0);
    }
    close(file);
  }
  ~Mapped() {
    if (memory_ != MAP_FAILED) munmap(memory_, size_);
  }
  Mapped(const Mapped&) = delete;
  Mapped& operator=(const Mapped&) = delete;

  // False: that lies behind its end.
  template <class T>
  bool at(std::uint64_t offset, T& out) const {
    if (!holds(offset, sizeof(T))) return false;
    std::memcpy(&out, static_cast<const char*>(memory_) + offset, sizeof(T));
    return true;
  }
  bool holds(std::uint64_t offset, std::uint64_t bytes) const {
    return memory_ != MAP_FAILED && offset <= size_ && bytes <= size_ - offset;
  }

 private:
  void* memory_ = MAP_FAILED;
  std::uint64_t size_ = 0;
};

bool sections_of(const Mapped& file, std::vector<Elf64_Shdr>& sections) {
  Elf64_Ehdr head{};
  if (!file.at(0, head) || std::memcmp(head.e_ident, ELFMAG, SELFMAG) != 0 ||
      head.e_ident[EI_CLASS] != ELFCLASS64 || head.e_type != ET_CORE ||
      head.e_machine != kMachine || head.e_shentsize != sizeof(Elf64_Shdr))
    return false;
  Elf64_Shdr first{};
  if (!file.at(head.e_shoff, first)) return false;
  // A count that does not fit the header stands in the first section.
  const std::uint64_t count = head.e_shnum != 0 ? head.e_shnum : first.sh_size;
  if (count > ~std::uint64_t{0} / sizeof first ||
      !file.holds(head.e_shoff, count * sizeof(Elf64_Shdr)))
    return false;
  sections.resize(count);
  for (std::uint64_t i = 0; i < count; ++i)
    if (!file.at(head.e_shoff + i * sizeof(Elf64_Shdr), sections[i])) return false;
  return true;
}

}  // namespace

std::optional<CoreDump> read_core_dump(const std::string& path, const std::vector<Span>& spans,
                                       std::uint64_t page_bytes) {
  const Mapped file(path);
  std::vector<Elf64_Shdr> sections;
  if (!sections_of(file, sections)) return std::nullopt;
  // Lanes by their table's section and their place in it: their registers are filed under that.
  std::set<std::pair<std::uint32_t, std::uint32_t>> faulted;
  for (std::uint32_t i = 0; i < sections.size(); ++i) {
    const Elf64_Shdr& section = sections[i];
    if (section.sh_type != kLanes || section.sh_entsize < kLeastLane) continue;
    if (!file.holds(section.sh_offset, section.sh_size)) return std::nullopt;
    for (std::uint64_t lane = 0; lane < section.sh_size / section.sh_entsize; ++lane) {
      std::uint32_t exception = 0;
      if (!file.at(section.sh_offset + lane * section.sh_entsize + kException, exception))
        return std::nullopt;
      if (exception != 0) faulted.emplace(i, static_cast<std::uint32_t>(lane));
    }
  }
  CoreDump out;
  out.faulted = faulted.size();
  std::map<std::pair<std::uint64_t, std::uint64_t>, Candidate> pages;
  for (const Elf64_Shdr& section : sections) {
    if (section.sh_type != kRegisters || !faulted.contains({section.sh_link, section.sh_info}))
      continue;
    if (!file.holds(section.sh_offset, section.sh_size)) return std::nullopt;
    std::set<std::pair<std::uint64_t, std::uint64_t>> seen;
    for (std::uint64_t at = 0; at + 8 <= section.sh_size; at += 4) {
      std::uint64_t word = 0;
      if (!file.at(section.sh_offset + at, word)) return std::nullopt;
      for (const Span& span : spans) {
        if (word - span.base >= span.bytes || word < span.base) continue;
        const std::pair key(span.base, (word - span.base) / page_bytes);
        Candidate& page = pages[key];
        if (page.threads == 0 || word < page.address) page.address = word;
        page.threads += seen.insert(key).second ? 1 : 0;
      }
    }
  }
  for (const auto& [key, candidate] : pages) out.candidates.push_back(candidate);
  std::stable_sort(
      out.candidates.begin(), out.candidates.end(),
      [](const Candidate& a, const Candidate& b) { return a.threads > b.threads; });
  return out;
}

}  // namespace barswap::verify

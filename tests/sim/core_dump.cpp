#include "sim/core_dump.hpp"

#include <elf.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

namespace barswap::sim {
namespace {

constexpr std::uint16_t kMachine = 190;
constexpr std::uint32_t kRegistersType = SHT_LOUSER + 5, kLanesType = SHT_LOUSER + 15;
constexpr std::uint32_t kIllegalAddress = 14;

// As cudacoredump.h has it since r346, with what r575 added.
struct Lane {
  std::uint64_t virtual_pc, physical_pc;
  std::uint32_t number, x, y, z;
  std::uint32_t exception, depth, syscall_depth, condition, state, padding;
};

}  // namespace

void write_core_dump(std::uint64_t address) {
  const char* asked = std::getenv("CUDA_ENABLE_COREDUMP_ON_EXCEPTION");
  const char* file = std::getenv("CUDA_COREDUMP_FILE");
  if (!asked || std::string(asked) != "1" || !file) return;
  std::string path = file;
  if (const auto at = path.find("%p"); at != std::string::npos)
    path.replace(at, 2, std::to_string(getpid()));

  std::array<Lane, 2> lanes{};
  lanes[1].number = 1;
  lanes[1].exception = kIllegalAddress;
  // The lane that did not fault holds another address.
  const std::array<std::uint32_t, 6> idle{0, 0, 1, 2, 3, 4};
  const std::array<std::uint32_t, 6> stray{
      7, 9, static_cast<std::uint32_t>(address), static_cast<std::uint32_t>(address >> 32), 5, 0};
  Elf64_Ehdr head{};
  const unsigned char mark[] = {0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, EV_CURRENT, 0x33, 7};
  for (std::size_t i = 0; i < sizeof mark; ++i) head.e_ident[i] = mark[i];
  head.e_type = ET_CORE;
  head.e_machine = kMachine;
  head.e_version = EV_CURRENT;
  head.e_ehsize = sizeof head;
  head.e_shentsize = sizeof(Elf64_Shdr);
  head.e_shoff = sizeof head;
  std::vector<Elf64_Shdr> sections(4);
  head.e_shnum = static_cast<std::uint16_t>(sections.size());
  std::uint64_t offset = sizeof head + sections.size() * sizeof(Elf64_Shdr);
  const auto place = [&](std::size_t index, std::uint32_t type, std::uint64_t bytes,
                         std::uint64_t entry) {
    sections[index].sh_type = type;
    sections[index].sh_offset = offset;
    sections[index].sh_size = bytes;
    sections[index].sh_entsize = entry;
    offset += bytes;
  };
  place(1, kLanesType, sizeof lanes, sizeof(Lane));
  for (std::uint32_t lane = 0; lane < lanes.size(); ++lane) {
    place(2 + lane, kRegistersType, sizeof stray, sizeof(std::uint32_t));
    sections[2 + lane].sh_link = 1;
    sections[2 + lane].sh_info = lane;
  }
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  const auto put = [&](const void* bytes, std::size_t size) {
    out.write(static_cast<const char*>(bytes), static_cast<std::streamsize>(size));
  };
  put(&head, sizeof head);
  put(sections.data(), sections.size() * sizeof(Elf64_Shdr));
  put(&lanes, sizeof lanes);
  put(&idle, sizeof idle);
  put(&stray, sizeof stray);
}

}  // namespace barswap::sim

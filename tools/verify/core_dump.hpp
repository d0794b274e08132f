// GPU core dumps: which address the threads that faulted held in their registers. The driver writes
// ELF files of machine EM_CUDA; their layout is that of cudacoredump.h of NVIDIA's CUDA-GDB. The
// address that faulted is not in them, but the registers of the threads that faulted are.
#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace barswap::verify {

// What they wrote before they faulted is not undone, and a register pair may hold an old address:
// the candidates are those that most threads hold.
struct Candidate {
  std::uint64_t address = 0;
  std::uint64_t threads = 0;
};

struct Span {
  std::uint64_t base = 0, bytes = 0;
};

struct CoreDump {
  std::uint64_t faulted = 0;          // threads
  std::vector<Candidate> candidates;  // most threads first; the lowest address of each page
};

// Of a dump, addresses within `spans`, told apart by pages of `page_bytes`. None: it is no core
// dump of a GPU, or it is cut short.
std::optional<CoreDump> read_core_dump(const std::string& path, const std::vector<Span>& spans,
                                       std::uint64_t page_bytes);

}  // namespace barswap::verify

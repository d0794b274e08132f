// A trace (include/barswap/trace.h) in memory, every record checked for size. What a broken or
// foreign file holds never leads outside of it: records that do not hold together end the reading.
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "barswap/trace.h"

namespace barswap::replay {

class Record {
 public:
  explicit Record(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}
  barswap_trace_record head() const { return as<barswap_trace_record>(); }
  // Zeroes where the record is shorter.
  template <class T>
  T as() const {
    T out{};
    std::memcpy(&out, bytes_.data(), std::min(sizeof out, bytes_.size()));
    return out;
  }
  std::vector<std::uint32_t> ranges() const;  // of LAUNCH, GRAPH, COPY, MEMSET; without padding
  std::vector<std::uint8_t> tiers() const;    // of RUN: one for each page

 private:
  std::span<const std::uint8_t> bytes_;
};

struct Trace {
  barswap_trace_header header{};
  std::vector<std::uint8_t> bytes;  // of all records
  struct Piece {
    std::size_t offset, size;
  };
  std::vector<Piece> pieces;
  bool ended = false;         // the process wrote its last record
  std::size_t cut_bytes = 0;  // at the end, of no whole record
  std::uint64_t lost = 0;     // records that the writer says are missing
  std::uint64_t unknown = 0;  // records of kinds that we do not know
  Record at(std::size_t i) const {
    return Record(std::span(bytes).subspan(pieces[i].offset, pieces[i].size));
  }
};

// True, or `trouble` says why not, with the cure, in words that follow the file's name.
bool parse(std::vector<std::uint8_t> file, Trace& trace, std::string& trouble);
bool read(const std::string& path, Trace& trace, std::string& trouble);

}  // namespace barswap::replay

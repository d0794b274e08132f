// A record of the trace as bytes, for any sink with append(const void*, std::size_t). The writer
// and the makers of test traces share it.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

#include "trace/trace.hpp"

namespace barswap::trace {

constexpr std::size_t kWordBytes = 8;
constexpr std::size_t kRecordBytesMax = 0xffff * kWordBytes;

// The word of a range in a record.
constexpr std::uint32_t word_of(const NamedRange& named) {
  if (named.range == kEverything) return BARSWAP_TRACE_EVERYTHING | named.flags;
  // After 268 million allocations a number comes back; by then the first range is long gone.
  return static_cast<std::uint32_t>((named.range - 1) % BARSWAP_TRACE_RANGE_MAX + 1) | named.flags;
}

// The name of a stream: its handle, folded.
constexpr std::uint32_t name_of_stream(std::uint64_t stream) {
  return static_cast<std::uint32_t>((stream * 0x9e3779b97f4a7c15ull) >> 32);
}

template <class Sink, class Record>
void put_head(Sink& sink, Record& record, barswap_trace_kind kind, std::size_t tail_bytes) {
  static_assert(sizeof(Record) % kWordBytes == 0);
  record.head.kind = static_cast<std::uint8_t>(kind);
  record.head.words =
      static_cast<std::uint16_t>((sizeof(Record) + tail_bytes + kWordBytes - 1) / kWordBytes);
  sink.append(&record, sizeof record);
}

template <class Sink>
void pad(Sink& sink, std::size_t tail_bytes) {
  constexpr std::uint64_t kZero = 0;
  if (tail_bytes % kWordBytes != 0) sink.append(&kZero, kWordBytes - tail_bytes % kWordBytes);
}

template <class Sink, class Record>
void put(Sink& sink, Record record, barswap_trace_kind kind) {
  put_head(sink, record, kind, 0);
}

// A list that is too long for a record says "everything", which is true as well.
template <class Sink, class Record>
void put_ranges(Sink& sink, Record record, barswap_trace_kind kind,
                std::span<const NamedRange> ranges) {
  constexpr NamedRange kAll[] = {{kEverything, 0}};
  if (ranges.size() > (kRecordBytesMax - sizeof record) / sizeof(std::uint32_t)) ranges = kAll;
  const std::size_t bytes = ranges.size() * sizeof(std::uint32_t);
  put_head(sink, record, kind, bytes);
  for (const NamedRange& named : ranges) {
    const std::uint32_t word = word_of(named);
    sink.append(&word, sizeof word);
  }
  pad(sink, bytes);
}

// Pages beyond what a record holds (4 TiB of pages of 8 MiB) have the tier of the last one there.
template <class Sink>
void put_run(Sink& sink, barswap_trace_run record, std::span<const Tier> pages) {
  record.pages = static_cast<std::uint32_t>(pages.size());
  const std::size_t bytes = std::min(pages.size(), kRecordBytesMax - sizeof record);
  put_head(sink, record, BARSWAP_TRACE_RUN, bytes);
  static_assert(sizeof(Tier) == 1);
  sink.append(pages.data(), bytes);
  pad(sink, bytes);
}

}  // namespace barswap::trace

#include "reader.hpp"

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <iterator>

namespace barswap::replay {
namespace {

// The fixed part of a kind; 0: not known.
std::size_t least_bytes(std::uint8_t kind) {
  switch (kind) {
    case BARSWAP_TRACE_DIE: return sizeof(barswap_trace_die);
    case BARSWAP_TRACE_RUN: return sizeof(barswap_trace_run);
    case BARSWAP_TRACE_RUN_END: return sizeof(barswap_trace_run_end);
    case BARSWAP_TRACE_ALLOC: return sizeof(barswap_trace_alloc);
    case BARSWAP_TRACE_FREE: return sizeof(barswap_trace_free);
    case BARSWAP_TRACE_LAUNCH:
    case BARSWAP_TRACE_GRAPH: return sizeof(barswap_trace_launch);
    case BARSWAP_TRACE_COPY:
    case BARSWAP_TRACE_MEMSET: return sizeof(barswap_trace_copy);
    case BARSWAP_TRACE_SYNC: return sizeof(barswap_trace_sync);
    case BARSWAP_TRACE_MOVE: return sizeof(barswap_trace_move);
    case BARSWAP_TRACE_DRAIN: return sizeof(barswap_trace_drain);
    case BARSWAP_TRACE_TIMED: return sizeof(barswap_trace_timed);
    case BARSWAP_TRACE_LOST: return sizeof(barswap_trace_lost);
    case BARSWAP_TRACE_END: return sizeof(barswap_trace_record);
    default: return 0;
  }
}

std::string judge(const barswap_trace_header& header, std::size_t file_bytes) {
  if (file_bytes < sizeof header || header.magic != BARSWAP_TRACE_MAGIC)
    return "is no trace. Record one with BARSWAP_TRACE=FILE barswap run PROGRAM";
  if (header.version != BARSWAP_TRACE_VERSION)
    return "has version " + std::to_string(header.version) +
           " of the layout, and this command reads " + std::to_string(BARSWAP_TRACE_VERSION) +
           ". Use the `barswap` of that installation";
  if (header.header_bytes < sizeof header || header.header_bytes > file_bytes)
    return "has a broken header. Record it anew";
  return "";
}

}  // namespace

std::vector<std::uint32_t> Record::ranges() const {
  const std::size_t fixed = least_bytes(head().kind);
  if (bytes_.size() <= fixed) return {};
  std::vector<std::uint32_t> words((bytes_.size() - fixed) / sizeof(std::uint32_t));
  std::memcpy(words.data(), bytes_.data() + fixed, words.size() * sizeof(std::uint32_t));
  std::erase(words, 0u);
  return words;
}

std::vector<std::uint8_t> Record::tiers() const {
  const auto run = as<barswap_trace_run>();
  const auto tail = bytes_.subspan(std::min(bytes_.size(), sizeof run));
  // A count that its own sizes do not bear out must not take all memory.
  const std::uint64_t whole = run.page_bytes == 0 ? 0 : (run.bytes - 1) / run.page_bytes + 1;
  constexpr std::size_t kPagesMax = 1 << 22;  // 8 TiB of the smallest pages
  if (run.pages == 0 || run.pages != whole || run.pages > kPagesMax) return {};
  const std::size_t pages = run.pages;
  std::vector<std::uint8_t> tiers(
      tail.begin(), tail.begin() + static_cast<std::ptrdiff_t>(std::min(pages, tail.size())));
  const std::uint8_t last = tiers.empty() ? 0 : tiers.back();
  tiers.resize(pages, last);
  return tiers;
}

bool parse(std::vector<std::uint8_t> file, Trace& trace, std::string& trouble) {
  trace = {};
  if (!file.empty())
    std::memcpy(&trace.header, file.data(), std::min(file.size(), sizeof trace.header));
  trouble = judge(trace.header, file.size());
  if (!trouble.empty()) return false;
  trace.header.program[sizeof trace.header.program - 1] = '\0';
  trace.bytes = std::move(file);
  std::size_t offset = trace.header.header_bytes;
  while (offset + sizeof(barswap_trace_record) <= trace.bytes.size()) {
    barswap_trace_record head;
    std::memcpy(&head, trace.bytes.data() + offset, sizeof head);
    const std::size_t size = std::size_t{head.words} * 8;
    if (size < sizeof head || size > trace.bytes.size() - offset) break;
    const std::size_t least = least_bytes(head.kind);
    if (least == 0) ++trace.unknown;
    else if (size < least) break;
    else trace.pieces.push_back({offset, size});
    offset += size;
    if (head.kind == BARSWAP_TRACE_END) trace.ended = true;
    if (head.kind == BARSWAP_TRACE_LOST)
      trace.lost += trace.at(trace.pieces.size() - 1).as<barswap_trace_lost>().records;
  }
  trace.cut_bytes = trace.bytes.size() - offset;
  return true;
}

bool read(const std::string& path, Trace& trace, std::string& trouble) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    trouble = std::string("cannot be read: ") + std::strerror(errno) +
              ". Name a file that BARSWAP_TRACE recorded";
    return false;
  }
  std::vector<std::uint8_t> bytes((std::istreambuf_iterator<char>(in)),
                                  std::istreambuf_iterator<char>());
  return parse(std::move(bytes), trace, trouble);
}

}  // namespace barswap::replay

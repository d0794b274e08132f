#include "image/fatbin.hpp"

#include <algorithm>
#include <iterator>

namespace barswap::image {
namespace {

struct Header {
  std::uint32_t magic;
  std::uint16_t version;
  std::uint16_t header_bytes;
  std::uint64_t bytes;  // of what follows the header
};
static_assert(sizeof(Header) == 16);

struct EntryHeader {
  std::uint16_t kind;
  std::uint16_t version;
  std::uint32_t header_bytes;
  std::uint64_t bytes;  // up to the next entry
  std::uint32_t packed_bytes;
  std::uint32_t options;
  std::uint16_t minor, major;  // of the format of what it holds
  std::uint32_t architecture;
  std::uint32_t name, name_bytes;
  std::uint64_t flags;
  std::uint64_t zero;
  std::uint64_t unpacked_bytes;
};
static_assert(sizeof(EntryHeader) == 64);

constexpr std::uint16_t kPtx = 1, kCubin = 2;
// The first of them marks a compression that no toolkit of today writes.
constexpr std::uint64_t kOldPacked = 0x1000, kLz4 = 0x2000, kZstd = 0x8000;
// Code for the very architecture ("sm_90a"), or for its family ("sm_100f").
constexpr std::uint64_t kOnlyThere = 0x100000 | 0x200000;

Code code_of(std::uint16_t kind) {
  if (kind == kPtx) return Code::ptx;
  return kind == kCubin ? Code::cubin : Code::unknown;
}

Packing packing_of(std::uint64_t flags) {
  switch (flags & (kOldPacked | kLz4 | kZstd)) {
    case 0: return Packing::none;
    case kLz4: return Packing::lz4;
    case kZstd: return Packing::zstd;
    default: return Packing::unknown;
  }
}

// Adds the entry at `at`. Answers where the next one starts; 0: this one was not understood.
std::uint64_t take_entry(Bytes body, std::uint64_t at, std::vector<Entry>& entries) {
  const auto header = body.read<EntryHeader>(at);
  if (!header || header->header_bytes < sizeof(EntryHeader)) return 0;
  const std::uint64_t start = at + header->header_bytes;
  const auto padded = body.part(start, header->bytes);
  if (!padded) return 0;
  const Packing packing = packing_of(header->flags);
  const auto bytes = packing == Packing::none ? padded : padded->part(0, header->packed_bytes);
  if (!bytes) return 0;
  entries.push_back({code_of(header->kind), header->architecture, (header->flags & kOnlyThere) != 0,
                     packing, *bytes, header->unpacked_bytes});
  return start + header->bytes;
}

bool take_entries(Bytes body, std::vector<Entry>& entries) {
  for (std::uint64_t at = 0; at < body.size();)
    if (at = take_entry(body, at, entries); at == 0) return false;
  return true;
}

bool runs_on(const Entry& entry, unsigned capability) {
  return entry.code == Code::cubin && entry.architecture / 10 == capability / 10 &&
         entry.architecture <= capability;
}

// That it runs there, the flags do not put in doubt.
bool surely_runs_on(const Entry& entry, unsigned capability) {
  return runs_on(entry, capability) && (!entry.only_there || entry.architecture == capability);
}

}  // namespace

bool is_fatbin(Bytes image) { return image.read<std::uint32_t>(0) == kFatbinMagic; }

std::uint64_t fatbin_size(const void* image) {
  // Beyond this no fatbin is believed.
  constexpr std::uint64_t kMost = std::uint64_t{1} << 40;
  const auto header = *Bytes(image, sizeof(Header)).read<Header>(0);
  if (header.magic != kFatbinMagic || header.bytes > kMost) return 0;
  return header.header_bytes + header.bytes;
}

Entries entries_of(Bytes image) {
  Entries result;
  while (const auto header = image.read<Header>(0)) {
    if (header->magic != kFatbinMagic || header->header_bytes < sizeof(Header)) break;
    const auto body = image.part(header->header_bytes, header->bytes);
    if (!body || !take_entries(*body, result.entries)) break;
    image = *image.part(header->header_bytes + header->bytes,
                        image.size() - header->header_bytes - header->bytes);
  }
  result.whole = image.size() == 0;
  return result;
}

std::vector<Entry> chosen(const std::vector<Entry>& entries, unsigned capability) {
  if (capability == 0) return entries;
  const auto may_run = [&](const Entry& entry) { return runs_on(entry, capability); };
  std::vector<Entry> result;
  std::copy_if(entries.begin(), entries.end(), std::back_inserter(result), may_run);
  const bool sure = std::any_of(result.begin(), result.end(), [&](const Entry& entry) {
    return surely_runs_on(entry, capability);
  });
  // Without a cubin the driver translates PTX, or what else there is.
  if (!sure)
    std::copy_if(entries.begin(), entries.end(), std::back_inserter(result),
                 [&](const Entry& entry) {
                   return entry.code != Code::cubin && entry.architecture <= capability;
                 });
  return result;
}

}  // namespace barswap::image

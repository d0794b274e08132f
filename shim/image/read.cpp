// The one way in: tells what an image is, and merges what its parts say.
#include <algorithm>
#include <cstring>
#include <utility>

#include "image/cubin.hpp"
#include "image/elf.hpp"
#include "image/fatbin.hpp"
#include "image/ptx.hpp"
#include "image/state.hpp"

namespace barswap::image {
namespace {

// What the compiler puts around a fatbin that is linked into a program.
struct Wrapper {
  std::uint32_t magic;
  std::uint32_t version;
  const void* fatbin;
  // Version 2: the parts that the fatbin was linked from, up to a null.
  const void* const* parts;
};
constexpr std::uint32_t kWrapperMagic = 0x466243b1;

struct Question {
  std::string_view only;  // a kernel; empty: all
  unsigned capability;
};

bool is_elf(Bytes image) {
  return image.size() >= SELFMAG && std::memcmp(image.data(), ELFMAG, SELFMAG) == 0;
}

void read_entry(const Entry& entry, const Question& question, Facts& facts) {
  Unpacked unpacked;
  Bytes bytes = entry.bytes;
  if (entry.packing != Packing::none) {
    unpacked = unpack(entry.packing, entry.bytes, entry.unpacked_bytes);
    bytes = unpacked.bytes;
  }
  bool understood = false;
  if (entry.code == Code::cubin) understood = read_cubin(bytes, question.only, facts);
  if (entry.code == Code::ptx) understood = read_ptx(bytes.text(0), question.only, facts);
  if (!understood) facts.whole |= kUnknown;
}

// False: nothing in it is for the die.
bool read_fatbin(Bytes image, const Question& question, Facts& facts) {
  const Entries found = entries_of(image);
  if (!found.whole) facts.whole |= kUnknown;
  const std::vector<Entry> entries = chosen(found.entries, question.capability);
  for (const Entry& entry : entries) read_entry(entry, question, facts);
  return !entries.empty();
}

void read_bytes(Bytes image, const Question& question, Facts& facts) {
  bool understood = false;
  if (is_fatbin(image)) understood = read_fatbin(image, question, facts);
  else if (is_elf(image)) understood = read_cubin(image, question.only, facts);
  else understood = read_ptx(image.text(0), question.only, facts);
  if (!understood) facts.whole |= kUnknown;
}

// Reads no further than the first difference: PTX may be shorter than any of these words.
bool starts_with(const void* image, std::uint32_t magic) {
  char word[sizeof(magic)];
  std::memcpy(word, &magic, sizeof(magic));
  return std::strncmp(static_cast<const char*>(image), word, sizeof(word)) == 0;
}

// PTX ends with a zero. Whatever has another sign that is not in texts is none.
std::uint64_t text_size(const void* image) {
  const auto* text = static_cast<const unsigned char*>(image);
  std::uint64_t size = 0;
  while (text[size] >= '\t') ++size;
  return text[size] == 0 ? size : 0;
}

std::uint64_t size_of(const void* image) {
  std::uint32_t elf;
  std::memcpy(&elf, ELFMAG, sizeof(elf));
  if (starts_with(image, kFatbinMagic)) return fatbin_size(image);
  return starts_with(image, elf) ? Elf::size_of(image) : text_size(image);
}

constexpr std::uint32_t kWithParts = 2;

void read_address(const void* image, const Question& question, Facts& facts);

void read_wrapper(const void* image, const Question& question, Facts& facts) {
  const auto wrapper = *Bytes(image, sizeof(Wrapper)).read<Wrapper>(0);
  if (!wrapper.fatbin || !starts_with(wrapper.fatbin, kFatbinMagic)) {
    facts.whole |= kUnknown;
    return;
  }
  const bool found =
      read_fatbin(Bytes(wrapper.fatbin, fatbin_size(wrapper.fatbin)), question, facts);
  if (found) return;
  // The driver links the parts anew where what was linked does not run.
  if (wrapper.version != kWithParts || !wrapper.parts) facts.whole |= kUnknown;
  else
    for (const void* const* part = wrapper.parts; *part; ++part)
      read_address(*part, question, facts);
}

void read_address(const void* image, const Question& question, Facts& facts) {
  if (!image) facts.whole |= kUnknown;
  else if (starts_with(image, kWrapperMagic)) read_wrapper(image, question, facts);
  else read_bytes(Bytes(image, size_of(image)), question, facts);
}

Facts sorted(Facts facts) {
  std::vector<Kernel>& kernels = facts.kernels;
  std::sort(kernels.begin(), kernels.end(),
            [](const Kernel& a, const Kernel& b) { return a.name < b.name; });
  std::size_t kept = 0;
  for (std::size_t i = 1; i < kernels.size(); ++i) {
    if (kernels[i].name == kernels[kept].name) kernels[kept].states |= kernels[i].states;
    else if (++kept != i) kernels[kept] = std::move(kernels[i]);
  }
  if (!kernels.empty()) kernels.resize(kept + 1);
  return facts;
}

// The two ways to name an image.
void read_any(const void* image, const Question& question, Facts& facts) {
  read_address(image, question, facts);
}
void read_any(std::span<const std::byte> image, const Question& question, Facts& facts) {
  read_bytes(Bytes(image), question, facts);
}

template <class Image>
Facts answer(Image image, const Question& question) {
  Facts facts;
  read_any(image, question, facts);
  return sorted(std::move(facts));
}

}  // namespace

States Facts::of(std::string_view kernel) const {
  const auto found = std::lower_bound(
      kernels.begin(), kernels.end(), kernel,
      [](const Kernel& known, std::string_view name) { return known.name < name; });
  if (found == kernels.end() || found->name != kernel) return whole | kUnknown;
  return whole | found->states;
}

std::span<const std::byte> bytes_of(const void* image) {
  if (!image) return {};
  if (starts_with(image, kWrapperMagic)) {
    const auto wrapper = *Bytes(image, sizeof(Wrapper)).read<Wrapper>(0);
    if (wrapper.version == kWithParts || !wrapper.fatbin ||
        !starts_with(wrapper.fatbin, kFatbinMagic))
      return {};
    return bytes_of(wrapper.fatbin);
  }
  const std::uint64_t size = size_of(image);
  const bool text = !is_fatbin(Bytes(image, size)) && !is_elf(Bytes(image, size));
  return {static_cast<const std::byte*>(image), size + (text && size > 0 ? 1 : 0)};
}

Facts read(const void* image, unsigned capability) { return answer(image, {{}, capability}); }

Facts read(std::span<const std::byte> image, unsigned capability) {
  return answer(image, {{}, capability});
}

States states_of(const void* image, std::string_view kernel, unsigned capability) {
  return answer(image, {kernel, capability}).of(kernel);
}

States states_of(std::span<const std::byte> image, std::string_view kernel, unsigned capability) {
  return answer(image, {kernel, capability}).of(kernel);
}

}  // namespace barswap::image

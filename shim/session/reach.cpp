#include "session/reach.hpp"

#include <cstring>

namespace barswap::session {
namespace {

// The words of cuda.h that mark the entries of `extra`.
constexpr std::uintptr_t kEnd = 0, kBuffer = 1, kBufferSize = 2;

}  // namespace

const Reach::Layout* Reach::layout_of(driver::Function function) {
  const auto word = static_cast<std::uintptr_t>(function);
  {
    Lock lock(mutex_);
    const auto found = known_.find(word);
    if (found != known_.end()) return found->second;
  }
  auto sizes = verbs_.parameter_bytes(function);
  Lock lock(mutex_);
  const Layout* layout = sizes ? &layouts_.emplace(*sizes, true).first->first : nullptr;
  known_[word] = layout;
  return layout;
}

// Pointers lie at multiples of eight, in structures passed by value as well; an integer that looks
// like an address of ours costs a wrong count. A tensor map begins with its address.
void Reach::scan(const void* bytes, std::uint64_t size) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (std::uint64_t offset = 0; offset + sizeof(std::uint64_t) <= size; offset += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, at + offset, sizeof word);
    heat_.note(Address{word});
  }
}

void Reach::launch(driver::Function function, void* const* parameters, void* const* extra) {
  heat_.operation();
  if (parameters) {
    const Layout* layout = layout_of(function);
    if (!layout) return;
    for (std::size_t i = 0; i < layout->size(); ++i)
      if ((*layout)[i] >= sizeof(std::uint64_t) && parameters[i]) scan(parameters[i], (*layout)[i]);
    return;
  }
  if (!extra) return;
  const void* buffer = nullptr;
  std::uint64_t size = 0;
  for (std::size_t i = 0; reinterpret_cast<std::uintptr_t>(extra[i]) != kEnd; i += 2) {
    const auto mark = reinterpret_cast<std::uintptr_t>(extra[i]);
    if (mark == kBuffer) buffer = extra[i + 1];
    else if (mark == kBufferSize) size = *static_cast<const std::size_t*>(extra[i + 1]);
    else return;
  }
  if (buffer) scan(buffer, size);
}

void Reach::copy(Address to, Address from) {
  heat_.operation();
  heat_.note(to);
  heat_.note(from);
}

void Reach::forget_functions() {
  Lock lock(mutex_);
  known_.clear();
}

}  // namespace barswap::session

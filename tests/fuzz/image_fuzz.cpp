// Any bytes as an image. Beyond not crashing, it must hold that asking for one kernel answers what
// asking for all of them does, and that names come in order.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "image/state.hpp"

namespace {

using namespace barswap;

void promise(bool kept, const char* what) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

void check(std::span<const std::byte> bytes, unsigned capability) {
  const image::Facts facts = image::read(bytes, capability);
  const std::string* last = nullptr;
  std::size_t asked = 0;
  for (const image::Kernel& kernel : facts.kernels) {
    promise(!last || *last < kernel.name, "kernels are in order, each once");
    last = &kernel.name;
    // An empty name asks for all; a few are enough.
    if (kernel.name.empty() || ++asked > 4) continue;
    promise(image::states_of(bytes, kernel.name, capability) == facts.of(kernel.name),
            "one kernel has the states that it has among all");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  const std::span image(reinterpret_cast<const std::byte*>(bytes), count);
  for (const unsigned capability : {0u, 90u}) check(image, capability);
  return 0;
}

// Works through large ranges in the same order, pass after pass, as a model works through its
// layers: whatever stands in HBM, the range needed next is the one that was used longest ago. With
// --hold it waits while it holds everything.
#include "program.hpp"

using e2e::Buffer;

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 256);
  const e2e::Die die;
  constexpr std::uint64_t kAtOnceWords = 4096;
  const std::vector<Buffer> layers = e2e::make_layers(options, die);
  NEED(cuCtxSynchronize());
  for (std::uint64_t round = 0; round < options.rounds; ++round) {
    for (const Buffer& layer : layers) {
      // A stretch of every page-sized part, another one in each round.
      constexpr std::uint64_t kParts = 16;
      for (std::uint64_t part = 0; part < kParts; ++part) {
        const std::uint64_t at = part * layer.bytes / kParts + round % 8 * kAtOnceWords * 4;
        die.kernels.xorshift_update(layer.address + at, kAtOnceWords,
                                    static_cast<std::uint32_t>(round + part));
      }
    }
    NEED(cuCtxSynchronize());
  }
  options.hold_here();
  e2e::Hash hash;
  for (const Buffer& layer : layers) e2e::hash_device(hash, layer);
  return e2e::finish(hash);
}

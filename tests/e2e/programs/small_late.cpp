// Fills its memory with large ranges first and asks for small ones last, as frameworks do with
// weights and workspaces: whoever manages the memory must not leave the small, hot ones in the
// slowest place. With --hold it waits while it holds everything.
#include "program.hpp"

using e2e::Buffer;

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 256, 200);
  const e2e::Die die;
  const std::uint64_t large_bytes = 32ull << 20;
  std::vector<Buffer> large, small;
  for (std::uint64_t held = 0; held + large_bytes <= options.bytes(); held += large_bytes) {
    large.push_back(Buffer::make(large_bytes));
    die.kernels.fill(large.back().address, large.back().words(),
                     static_cast<std::uint32_t>(large.size()));
    NEED(cuCtxSynchronize());
  }
  e2e::Random random(options.seed);
  for (std::uint64_t i = 0; i < options.count; ++i) {
    small.push_back(Buffer::make(4 * random.between(256, 16384)));
    die.kernels.fill(small.back().address, small.back().words(), static_cast<std::uint32_t>(i));
  }
  for (std::uint64_t round = 0; round < options.rounds; ++round) {
    for (const Buffer& buffer : large) {
      die.kernels.xorshift_update(buffer.address, buffer.words(), 1);
      for (std::size_t k = 0; k < small.size(); k += 8)
        die.kernels.xorshift_update(small[k].address, small[k].words(), 2);
    }
    NEED(cuCtxSynchronize());
  }
  std::uint64_t small_bytes = 0;
  for (const Buffer& buffer : small) small_bytes += buffer.bytes;
  std::printf("large %llu\nsmall %llu\n",
              static_cast<unsigned long long>(large.size() * large_bytes),
              static_cast<unsigned long long>(small_bytes));
  options.hold_here();
  e2e::Hash hash;
  for (const Buffer& buffer : large) e2e::hash_device(hash, buffer);
  for (const Buffer& buffer : small) e2e::hash_device(hash, buffer);
  return e2e::finish(hash);
}

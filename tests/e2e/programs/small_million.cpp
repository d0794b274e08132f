// Very many small ranges at once: --count of them, up to 4 KiB each. Writes through all of them
// with a table of pointers, verifies a sample at each end, frees in another order than it
// allocated.
#include "program.hpp"

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 10000);
  const e2e::Die die;
  e2e::Random random(options.seed);
  std::vector<e2e::Buffer> buffers;
  std::uint64_t asked = 0, padded = 0;
  for (std::uint64_t i = 0; i < options.count; ++i) {
    const std::uint64_t bytes = 4 * random.between(1, 1024);
    buffers.push_back(e2e::Buffer::make(bytes));
    asked += bytes;
    padded += (bytes + 511) / 512 * 512;
    CHECK(buffers.back().address % 256 == 0);
  }
  std::printf("asked %llu\npadded %llu\n", static_cast<unsigned long long>(asked),
              static_cast<unsigned long long>(padded));
  std::vector<CUdeviceptr> addresses;
  for (const e2e::Buffer& buffer : buffers) {
    NEED(cuMemsetD32Async(buffer.address, static_cast<unsigned>(addresses.size()), buffer.words(),
                          nullptr));
    addresses.push_back(buffer.address);
  }
  e2e::Buffer table = e2e::Buffer::make(8 * addresses.size());
  NEED(cuMemcpyHtoD(table.address, addresses.data(), table.bytes));
  die.kernels.table(table.address, addresses.size(), 1, 77);
  options.hold_here();
  e2e::Hash hash;
  std::vector<std::uint32_t> words(1024);
  for (std::size_t i = 0; i < buffers.size(); ++i) {
    NEED(cuMemcpyDtoH(words.data(), buffers[i].address, buffers[i].bytes));
    CHECK(words[0] == i + 77);
    for (std::size_t k = 1; k < buffers[i].words(); ++k) CHECK(words[k] == i);
    hash.add(words.data(), buffers[i].bytes);
  }
  for (std::size_t step : {1, 0})
    for (std::size_t i = step; i < buffers.size(); i += 2) buffers[i].free();
  table.free();
  // What was freed can be had again in one piece.
  e2e::Buffer whole = e2e::Buffer::make(padded);
  die.kernels.fill(whole.address, whole.words(), 9);
  e2e::hash_device(hash, whole);
  whole.free();
  return e2e::finish(hash);
}

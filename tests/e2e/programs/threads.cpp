// 64 threads on four contexts of one die allocate, launch, copy, verify and free at the same time.
#include "program.hpp"

namespace {

constexpr unsigned kThreads = 64;
constexpr unsigned kContexts = 4;

struct Place {
  CUcontext context = nullptr;
  e2e::Kernels kernels;
};

void work(const Place& place, const e2e::Options& options, unsigned number, e2e::Hash* hash) {
  NEED(cuCtxSetCurrent(place.context));
  CUstream stream = nullptr;
  NEED(cuStreamCreate(&stream, number % 2 == 0 ? CU_STREAM_NON_BLOCKING : CU_STREAM_DEFAULT));
  e2e::Random random(options.seed * 1000 + number);
  const std::uint64_t most = options.bytes() / kThreads / 2;
  for (std::uint64_t turn = 0; turn < options.count; ++turn) {
    e2e::Buffer first = e2e::Buffer::make(4 * random.between(1, most / 4));
    e2e::Buffer second = e2e::Buffer::make(first.bytes);
    const auto seed = static_cast<std::uint32_t>(random.next());
    place.kernels.fill.on(stream, first.address, first.words(), seed);
    place.kernels.xorshift_update.on(stream, first.address, first.words(), number);
    NEED(cuMemcpyDtoDAsync(second.address, first.address, first.bytes, stream));
    NEED(cuMemsetD32Async(first.address, seed, first.words(), stream));
    NEED(cuStreamSynchronize(stream));
    std::vector<std::uint32_t> words(first.words());
    NEED(cuMemcpyDtoH(words.data(), second.address, second.bytes));
    for (std::size_t i = 0; i < words.size(); ++i)
      CHECK(words[i] == e2e::xorshift(e2e::word_at(i, seed), number));
    hash->add(words.data(), second.bytes);
    NEED(cuMemcpyDtoH(words.data(), first.address, first.bytes));
    for (const std::uint32_t word : words) CHECK(word == seed);
    first.free();
    second.free();
  }
  NEED(cuStreamDestroy(stream));
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 6);
  NEED(cuInit(0));
  Place places[kContexts];
  for (Place& place : places) {
    NEED(cuCtxCreate(&place.context, nullptr, 0, 0));
    place.kernels.load();
  }
  e2e::Hash hashes[kThreads];
  std::vector<std::thread> threads;
  for (unsigned i = 0; i < kThreads; ++i)
    threads.emplace_back(work, std::cref(places[i % kContexts]), std::cref(options), i, &hashes[i]);
  for (std::thread& thread : threads) thread.join();
  for (const Place& place : places) NEED(cuCtxDestroy(place.context));
  e2e::Hash hash;
  for (const e2e::Hash& one : hashes) hash.add(one.value());
  return e2e::finish(hash);
}

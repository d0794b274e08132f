#include "pager/fingerprint.hpp"

#include <algorithm>

#include "sim/objects.hpp"
#include "support/bench.hpp"

extern const char barswap_fingerprint_ptx[];

namespace {

using namespace barswap;
using pager::Fingerprint;
using pager::Fingerprints;
using support::Bench;

constexpr std::uint64_t kBytes = 2_MiB;
constexpr std::size_t kWords = kBytes / 8;

driver::Context word_of(CUcontext context) {
  return static_cast<driver::Context>(reinterpret_cast<std::uintptr_t>(context));
}

std::vector<std::uint64_t> some_words(std::size_t count = kWords) {
  std::vector<std::uint64_t> words(count);
  std::mt19937_64 random(7);
  for (std::uint64_t& word : words) word = random();
  return words;
}

// A die, a piece of its memory, and what tells whether that was written.
struct Teller {
  explicit Teller(const support::Setting& setting = support::small_setting())
      : bench(setting), prints(bench.session().verbs()) {
    REQUIRE(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  }
  driver::Context context() { return word_of(bench.contexts[0]); }
  bool prepare() { return prints.prepare(context()); }
  Result<void> submit(CUdeviceptr at, std::uint64_t bytes, std::size_t index = 0) {
    return prints.submit(context(),
                         static_cast<driver::Stream>(reinterpret_cast<std::uintptr_t>(stream)),
                         index, Address{at}, bytes);
  }
  Fingerprint of(CUdeviceptr at, std::uint64_t bytes = kBytes) {
    REQUIRE(submit(at, bytes).has_value());
    REQUIRE(cuStreamSynchronize(stream) == CUDA_SUCCESS);
    return prints.answer(context(), 0);
  }
  Fingerprint of(const std::vector<std::uint64_t>& words) {
    if (piece == 0) piece = bench.alloc(kBytes);
    write(piece, words);
    return of(piece, words.size() * 8);
  }
  void write(CUdeviceptr at, const std::vector<std::uint64_t>& words) {
    REQUIRE(cuMemcpyHtoD_v2(at, words.data(), words.size() * 8) == CUDA_SUCCESS);
  }
  sim::Audit audit() { return bench.life.machine().audit(); }

  Bench bench;
  Fingerprints prints;
  CUstream stream = nullptr;
  CUdeviceptr piece = 0;
};

TEST_CASE("the two ways of mixing are the known ones") {
  CHECK(pager::mix_a(1) == 0xb456bcfc34c2cb2cull);
  CHECK(pager::mix_b(0x9e3779b97f4a7c15ull) == 0xe220a8397b1dcdafull);
}

TEST_CASE("a fingerprint is the sum of all words, whatever block reads them") {
  Teller teller;
  const driver::Verbs& verbs = teller.bench.session().verbs();
  auto module = verbs.load(barswap_fingerprint_ptx);
  REQUIRE(module.has_value());
  auto function = verbs.function_in(*module, "barswap_fingerprint");
  REQUIRE(function.has_value());
  CHECK_FALSE(verbs.function_in(*module, "barswap_other").has_value());
  for (std::size_t i = 0; i < 5; ++i)
    CHECK(verbs.parameter(*function, driver::FunctionKind::function, i)->bytes == 8);
  CHECK_FALSE(verbs.parameter(*function, driver::FunctionKind::function, 5).has_value());
  constexpr unsigned kBlocks = 3;
  auto answers = verbs.make_host_buffer(kBlocks * 16);
  REQUIRE(answers.has_value());

  for (const std::size_t count : {std::size_t{0}, std::size_t{2}, std::size_t{10'000}}) {
    const auto words = some_words(count);
    CUdeviceptr data = teller.bench.alloc(std::max<std::uint64_t>(count * 8, 16));
    if (count > 0) teller.write(data, words);
    std::uint64_t words_count = count, partial = value_of(answers->address);
    pager::FingerprintKey key{3, 5};
    void* parameters[] = {&data, &words_count, &key.a, &key.b, &partial};
    REQUIRE(verbs.launch(*function, kBlocks, pager::kFingerprintThreads,
                         static_cast<driver::Stream>(
                             reinterpret_cast<std::uintptr_t>(teller.stream)),
                         parameters)
                .has_value());
    REQUIRE(cuStreamSynchronize(teller.stream) == CUDA_SUCCESS);
    pager::FingerprintSums expected, seen;
    for (std::size_t i = 0; i < count; ++i) expected.add_word(words[i], i, key);
    const auto* parts = static_cast<const std::uint64_t*>(answers->memory);
    for (unsigned i = 0; i < kBlocks; ++i) seen.add({parts[2 * i], parts[2 * i + 1]});
    CHECK(seen.a == expected.a);
    CHECK(seen.b == expected.b);
  }
  verbs.free_host_buffer(answers->memory);
  verbs.unload(*module);
}

TEST_CASE("the same bytes have the same fingerprint at every address and in every answer") {
  Teller teller;
  REQUIRE(teller.prepare());
  const auto words = some_words();
  const Fingerprint first = teller.of(words);
  CHECK(first == teller.of(teller.piece));
  const CUdeviceptr other = teller.bench.alloc(kBytes);
  teller.write(other, words);
  CHECK(first == teller.of(other));
  // Many in flight.
  for (std::size_t i = 0; i < Fingerprints::kMost; ++i)
    REQUIRE(teller.submit(i % 2 == 0 ? other : teller.piece, i < 2 ? kBytes : 16, i).has_value());
  REQUIRE(cuStreamSynchronize(teller.stream) == CUDA_SUCCESS);
  CHECK(first == teller.prints.answer(teller.context(), 0));
  CHECK(first == teller.prints.answer(teller.context(), 1));
  const Fingerprint last = teller.prints.answer(teller.context(), Fingerprints::kMost - 1);
  CHECK(last == teller.prints.answer(teller.context(), 2));
  CHECK_FALSE(last == first);
}

TEST_CASE("one flipped bit is seen, wherever it is") {
  Teller teller;
  REQUIRE(teller.prepare());
  auto words = some_words();
  const Fingerprint before = teller.of(words);
  for (const std::size_t at : {std::size_t{0}, std::size_t{1}, kWords / 2 - 1, kWords / 2,
                               kWords / 4 + 77, kWords - 2, kWords - 1})
    for (const int bit : {0, 31, 63}) {
      words[at] ^= std::uint64_t{1} << bit;
      CHECK_FALSE(teller.of(words) == before);
      words[at] ^= std::uint64_t{1} << bit;
    }
  CHECK(teller.of(words) == before);
}

TEST_CASE("changes that a plain sum would not see are seen") {
  Teller teller;
  REQUIRE(teller.prepare());
  const auto words = some_words();
  const Fingerprint before = teller.of(words);
  for (const std::size_t other : {std::size_t{1}, std::size_t{2}, std::size_t{512}, kWords - 1}) {
    auto changed = words;
    std::swap(changed[0], changed[other]);
    CHECK_FALSE(teller.of(changed) == before);
    changed = words;
    changed[0] += 12345;
    changed[other] -= 12345;
    CHECK_FALSE(teller.of(changed) == before);
    changed = words;
    changed[0] ^= 1ull << 63;
    changed[other] ^= 1ull << 63;
    CHECK_FALSE(teller.of(changed) == before);
  }
}

TEST_CASE("zeros of another length have another fingerprint") {
  Teller teller;
  REQUIRE(teller.prepare());
  std::vector<Fingerprint> seen;
  for (const std::size_t count : {std::size_t{2}, std::size_t{4}, kWords / 2, kWords}) {
    const Fingerprint print = teller.of(std::vector<std::uint64_t>(count));
    CHECK(std::find(seen.begin(), seen.end(), print) == seen.end());
    seen.push_back(print);
  }
}

TEST_CASE("keys differ") {
  Teller teller;
  Fingerprints other(teller.bench.session().verbs());
  REQUIRE(teller.prepare());
  const Fingerprint first = teller.of(some_words(2));
  REQUIRE(other.prepare(teller.context()));
  REQUIRE(other
              .submit(teller.context(),
                      static_cast<driver::Stream>(reinterpret_cast<std::uintptr_t>(teller.stream)),
                      0, Address{teller.piece}, 16)
              .has_value());
  REQUIRE(cuStreamSynchronize(teller.stream) == CUDA_SUCCESS);
  CHECK_FALSE(other.answer(teller.context(), 0) == first);
}

TEST_CASE("what cannot be asked is refused, and nothing is made before it is wanted") {
  Teller teller;
  const CUdeviceptr at = teller.bench.alloc(kBytes);
  CHECK_FALSE(teller.submit(at, kBytes).has_value());
  CHECK(teller.audit().calls["cuModuleLoadData"] == 0);
  CHECK(teller.audit().calls["cuMemHostAlloc"] == 0);
  REQUIRE(teller.prepare());
  CHECK_FALSE(teller.submit(at + 8, 16).has_value());
  CHECK_FALSE(teller.submit(at, 24).has_value());
  CHECK_FALSE(teller.submit(at, kBytes, Fingerprints::kMost).has_value());
  CHECK(teller.submit(at, kBytes, Fingerprints::kMost - 1).has_value());
  REQUIRE(teller.prepare());
  CHECK(teller.audit().calls["cuModuleLoadData"] == 1);
}

TEST_CASE("a kernel that never ran gives an answer that no bytes have") {
  support::Setting setting = support::small_setting();
  setting.machine.faults.push_back({"cuLaunchKernel", 2, CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES});
  Teller teller(setting);
  REQUIRE(teller.prepare());
  const Fingerprint before = teller.of(some_words());
  CHECK_FALSE(teller.submit(teller.piece, kBytes).has_value());
  CHECK_FALSE(teller.prints.answer(teller.context(), 0) == before);
  CHECK(teller.of(teller.piece) == before);
}

TEST_CASE("a refusal of the driver leaves nothing behind, and is not asked for again") {
  for (const char* function :
       {"cuModuleLoadData", "cuModuleGetFunction", "cuFuncLoad", "cuMemHostAlloc"}) {
    CAPTURE(function);
    support::Setting setting = support::small_setting();
    setting.machine.faults.push_back({function, 1, CUDA_ERROR_OUT_OF_MEMORY});
    Teller teller(setting);
    const std::size_t allocations = teller.audit().allocations;
    const std::size_t modules = teller.bench.life.machine().objects().modules.size();
    CHECK_FALSE(teller.prepare());
    CHECK(teller.audit().calls[function] == 1);
    CHECK(teller.audit().allocations == allocations);
    CHECK(teller.bench.life.machine().objects().modules.size() == modules);
    CHECK_FALSE(teller.prepare());
    CHECK(teller.audit().calls[function] == 1);
    CHECK_FALSE(teller.submit(teller.bench.alloc(kBytes), kBytes).has_value());
    // Another context, or one in its place, is another matter.
    teller.prints.forget(teller.context());
    CHECK(teller.prepare());
  }
}

TEST_CASE("a driver that cannot load a function early serves as well") {
  Teller teller;
  driver::Api api = teller.bench.life.api();
  api.cuFuncLoad = nullptr;
  const driver::Verbs verbs(api);
  Fingerprints prints(verbs);
  CHECK(prints.prepare(teller.context()));
}

TEST_CASE("what a context had dies with it, and the next one has its own") {
  Teller teller;
  const Fingerprint none{};
  const std::size_t allocations = teller.audit().allocations;
  REQUIRE(teller.prepare());
  CHECK(teller.audit().allocations == allocations + 1);
  const Fingerprint before = teller.of(some_words(2));
  CHECK_FALSE(before == none);
  REQUIRE(cuDevicePrimaryCtxReset_v2(0) == CUDA_SUCCESS);
  teller.prints.forget(teller.context());
  CHECK(teller.audit().allocations == 0);
  CHECK(teller.bench.life.machine().objects().modules.empty());

  teller.bench.use(0);
  REQUIRE(cuStreamCreate(&teller.stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  teller.piece = 0;
  REQUIRE(teller.prepare());
  CHECK(teller.of(some_words(2)) == before);  // the key is the process's
}

TEST_CASE("each context has its own") {
  Teller teller(support::small_setting(2));
  REQUIRE(teller.prepare());
  const Fingerprint first = teller.of(some_words());
  REQUIRE(cuCtxSetCurrent(teller.bench.contexts[1]) == CUDA_SUCCESS);
  std::swap(teller.bench.contexts[0], teller.bench.contexts[1]);
  teller.piece = 0;
  REQUIRE(cuStreamCreate(&teller.stream, CU_STREAM_NON_BLOCKING) == CUDA_SUCCESS);
  REQUIRE(teller.prepare());
  CHECK(teller.of(some_words()) == first);
  CHECK(teller.audit().calls["cuModuleLoadData"] == 2);
}

TEST_CASE("the kernel meets what is mapped: an address of nobody is the device's fault") {
  Teller teller;
  REQUIRE(teller.prepare());
  CUdeviceptr nobody = 0;
  REQUIRE(teller.bench.life.api().cuMemAddressReserve(&nobody, kBytes, 0, 0, 0) == CUDA_SUCCESS);
  REQUIRE(teller.submit(nobody, kBytes).has_value());
  CHECK(cuStreamSynchronize(teller.stream) == CUDA_ERROR_ILLEGAL_ADDRESS);
}

}  // namespace

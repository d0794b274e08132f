// Runs every kernel of tests/e2e/kernels.cu, the shim's own and those of tools/bench on inputs that
// are the same on every machine, and prints a hash of each one's bytes. Started once with the real
// driver and once with the simulated one, it shows whether a kernel and its simulated twin give the
// same bytes: compare the outputs, or the dumps.
//   twins [--dump FILE]
#include "pager/fingerprint_words.hpp"
#include "program.hpp"

extern const char barswap_fingerprint_ptx[];
extern const char barswap_bench_ptx[];

namespace {

using e2e::Buffer;

// Odd, so that the last block of every grid is not full.
constexpr std::uint64_t kWords = 70001;
constexpr std::uint32_t kSide = 67;

class Twins {
 public:
  explicit Twins(const char* path) {
    if (path != nullptr && (dump_ = std::fopen(path, "wb")) == nullptr)
      e2e::stop(e2e::kStatusFailed, "cannot write %s", path);
  }

  void run() {
    const e2e::Kernels& k = die_.kernels;
    Buffer a = words(1);
    Buffer b = words(2);
    record("barswap_fill", {a, b});

    Buffer x = floats(3);
    Buffer y = floats(4);
    record("barswap_fill_float", {x, y});
    k.saxpy(1.7f, x.address, y.address, kWords);
    k.saxpy(-0.3f, y.address, x.address, kWords);
    record("barswap_saxpy", {x, y});

    Buffer c = Buffer::make(kSide * kSide * 4);
    k.matmul(x.address, y.address, c.address, kSide);
    record("barswap_matmul", {c});

    Buffer out = words(5);
    k.stencil(a.address, out.address, kWords);
    record("barswap_stencil", {out});
    k.gather(a.address, b.address, out.address, kWords, kWords - 6);
    record("barswap_gather", {out});
    k.xorshift_update(out.address, kWords, 77);
    record("barswap_xorshift_update", {out});

    Buffer sum = zeros(8);
    k.checksum(out.address, kWords, sum.address);
    record("barswap_checksum", {sum});
    Buffer counters = zeros(256 * 4);
    k.atomic(counters.address, 1000003);
    record("barswap_atomic", {counters});

    chase();
    table();
    flags();

    k.writer(BarswapWriterJob{pointer(a), pointer(b), kWords, 99, 0});
    record("barswap_writer", {a, b});
    k.writer(BarswapWriterJob{nullptr, pointer(a), kWords, 7, 0});
    k.writer(BarswapWriterJob{pointer(b), nullptr, kWords, 8, 0});
    record("barswap_writer_halves", {a, b});
    fingerprint();
    bench();
  }

  int finish() {
    if (dump_ != nullptr && std::fclose(dump_) != 0)
      e2e::stop(e2e::kStatusFailed, "the dump was not written");
    return e2e::finish(all_);
  }

 private:
  static std::uint32_t* pointer(const Buffer& buffer) {
    return reinterpret_cast<std::uint32_t*>(buffer.address);
  }
  Buffer words(std::uint32_t seed) {
    Buffer buffer = Buffer::make(kWords * 4);
    die_.kernels.fill(buffer.address, kWords, seed);
    return buffer;
  }
  Buffer floats(std::uint32_t seed) {
    Buffer buffer = Buffer::make(kWords * 4);
    die_.kernels.fill_float(buffer.address, kWords, seed);
    return buffer;
  }
  static Buffer zeros(std::uint64_t bytes) {
    Buffer buffer = Buffer::make(bytes);
    NEED(cuMemsetD8(buffer.address, 0, bytes));
    return buffer;
  }

  // The addresses in a node differ from machine to machine: values and visits are recorded alone.
  void chase() {
    constexpr std::uint64_t kNodes = 3001;
    Buffer nodes = Buffer::make(kNodes * sizeof(BarswapNode));
    Buffer fold = zeros(8);
    std::vector<BarswapNode> host(kNodes);
    for (std::uint64_t i = 0; i < kNodes; ++i) {
      const bool last = i + 1 == kNodes;
      // A stride that visits every node, in an order unlike that of the addresses.
      host[i * 1009 % kNodes] = {
          last ? nullptr
               : reinterpret_cast<BarswapNode*>(nodes.address) + (i + 1) * 1009 % kNodes,
          e2e::mix(static_cast<std::uint32_t>(i)), 0};
    }
    NEED(cuMemcpyHtoD(nodes.address, host.data(), nodes.bytes));
    die_.kernels.chase(nodes.address, 2000, fold.address);
    die_.kernels.chase(nodes.address, 5000, fold.address);
    NEED(cuMemcpyDtoH(host.data(), nodes.address, nodes.bytes));
    std::vector<std::uint32_t> seen;
    for (const BarswapNode& node : host) {
      seen.push_back(node.value);
      seen.push_back(node.visits);
    }
    std::uint64_t folded = 0;
    NEED(cuMemcpyDtoH(&folded, fold.address, sizeof folded));
    seen.push_back(static_cast<std::uint32_t>(folded));
    seen.push_back(static_cast<std::uint32_t>(folded >> 32));
    record_host("barswap_chase", seen.data(), seen.size() * 4);
  }

  void table() {
    const std::vector<Buffer> rows = {words(21), words(22), words(23)};
    std::vector<CUdeviceptr> addresses;
    for (const Buffer& row : rows) addresses.push_back(row.address);
    const Buffer list = Buffer::make(addresses.size() * sizeof(CUdeviceptr));
    NEED(cuMemcpyHtoD(list.address, addresses.data(), list.bytes));
    die_.kernels.table(list.address, rows.size(), kWords, 0x10001);
    record("barswap_table", rows);
  }

  // Both wait for a word that is set already, and so end at once.
  void flags() {
    e2e::Flag flag;
    flag.set(5);
    const Buffer seen = zeros(4);
    NEED(die_.kernels.persistent.launch(nullptr, 2, flag.address(), seen.address));
    NEED(die_.kernels.spin.launch(nullptr, 2, flag.address()));
    record("barswap_persistent", {seen});
    flag.free();
  }

  // A page, and pieces that fill no round of reads: what the blocks answer, not only the sum.
  void fingerprint() {
    CUmodule module = nullptr;
    CUfunction function = nullptr;
    NEED(cuModuleLoadData(&module, barswap_fingerprint_ptx));
    NEED(cuModuleGetFunction(&function, module, "barswap_fingerprint"));
    Buffer page = Buffer::make(16u << 20);
    die_.kernels.fill(page.address, page.words(), 31);
    std::vector<Buffer> answers;
    for (const unsigned blocks : {barswap::pager::kFingerprintBlocks, 3u})
      for (const std::uint64_t bytes : {page.bytes, std::uint64_t{2} << 20, kWords * 4 / 16 * 16}) {
        answers.push_back(zeros(blocks * 16));
        CUdeviceptr data = page.address, partial = answers.back().address;
        std::uint64_t words = bytes / 8;
        std::uint64_t key_a = 0x243f6a8885a308d3, key_b = 0x13198a2e03707344;
        void* list[] = {&data, &words, &key_a, &key_b, &partial};
        NEED(cuLaunchKernel(function, blocks, 1, 1, barswap::pager::kFingerprintThreads, 1, 1, 0,
                            nullptr, list, nullptr));
      }
    record("barswap_fingerprint", answers);
    NEED(cuModuleUnload(module));
  }

  // Whole warps, as these kernels are launched, but no whole rounds of reads.
  void bench() {
    CUmodule module = nullptr;
    NEED(cuModuleLoadData(&module, barswap_bench_ptx));
    const auto kernel = [&]<class... Params>(const char* name, Params... params) {
      CUfunction function = nullptr;
      NEED(cuModuleGetFunction(&function, module, name));
      NEED((e2e::Kernel<Params...>{function}.launch(nullptr, 7, params...)));
    };
    constexpr std::uint64_t kPieces = 32 * 2187, kRows = kPieces / 8, kDraws = 3001;
    const Buffer a = Buffer::make(kPieces * 16), b = Buffer::make(kPieces * 16);
    const Buffer sums = zeros(3 * 8);
    kernel("barswap_bench_fill", a.address, kPieces, std::uint32_t{5});
    kernel("barswap_bench_fill", b.address, kPieces, std::uint32_t{6});
    record("barswap_bench_fill", {a, b});
    kernel("barswap_bench_read", a.address, kPieces, std::uint32_t{1}, sums.address);
    kernel("barswap_bench_read", b.address, kPieces, std::uint32_t{3}, sums.address + 8);
    record("barswap_bench_read", {sums});
    kernel("barswap_bench_step", a.address, b.address, kPieces);
    kernel("barswap_bench_step", b.address, a.address, kPieces);
    record("barswap_bench_step", {a, b});
    kernel("barswap_bench_gather", a.address, static_cast<std::uint32_t>(kRows), kDraws,
           std::uint32_t{9}, sums.address + 16);
    record("barswap_bench_gather", {sums});
    NEED(cuModuleUnload(module));
  }

  void record(const char* name, const std::vector<Buffer>& buffers) {
    std::vector<unsigned char> bytes;
    for (const Buffer& buffer : buffers) {
      const std::size_t at = bytes.size();
      bytes.resize(at + buffer.bytes);
      NEED(cuMemcpyDtoH(bytes.data() + at, buffer.address, buffer.bytes));
    }
    record_host(name, bytes.data(), bytes.size());
  }
  void record_host(const char* name, const void* data, std::size_t bytes) {
    e2e::Hash hash;
    hash.add(data, bytes);
    all_.add(hash.value());
    std::printf("%s %016llx\n", name, static_cast<unsigned long long>(hash.value()));
    if (dump_ != nullptr && std::fwrite(data, 1, bytes, dump_) != bytes)
      e2e::stop(e2e::kStatusFailed, "the dump was not written");
  }

  e2e::Die die_;
  e2e::Hash all_;
  std::FILE* dump_ = nullptr;
};

}  // namespace

int main(int argc, char** argv) {
  Twins twins(argc == 3 && std::strcmp(argv[1], "--dump") == 0 ? argv[2] : nullptr);
  twins.run();
  return twins.finish();
}

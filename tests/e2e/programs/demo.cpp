// The demonstration: a program that knows nothing of its memory's tiers. It holds --mib of device
// memory in large and small ranges, reads and rewrites every page of it several times with
// products, a stencil, a gather and a table of pointers, frees and re-allocates between the rounds,
// and hashes every byte.
#include "program.hpp"

namespace {

using e2e::Buffer;

// Three square matrices; their values stay finite through four products.
struct Matrices {
  Buffer a, b, c;
};

class Demo {
 public:
  Demo(const e2e::Options& options) : options_(options), random_(options.seed) {
    const std::uint64_t total = options.bytes();
    large_bytes_ = total / 16 / 4096 * 4096;
    matrix_rows_ = options.mib <= 1024 ? 128 : 2048;
    const std::uint64_t matrix_bytes = 4ull * matrix_rows_ * matrix_rows_;
    sets_ = std::min<std::uint64_t>(8, std::max<std::uint64_t>(1, total / 24 / (3 * matrix_bytes)));
    small_bytes_ = total / 32;
    sums_ = Buffer::make(kSums * 8);
    NEED(cuMemsetD8(sums_.address, 0, sums_.bytes));
  }

  void allocate() {
    // 14 of 16 shares are large ranges, with small ones born between them.
    for (int i = 0; i < kLarge; ++i) {
      large_.push_back(filled(large_bytes_));
      allocate_small(small_bytes_ / kLarge);
    }
    for (std::uint64_t i = 0; i < sets_; ++i) sets_of_matrices_.push_back(make_matrices());
    spare_ = filled(large_bytes_);
    options_.say("demo: holds %llu MiB in %zu large and %zu small ranges and %zu sets of matrices",
                 static_cast<unsigned long long>(held() >> 20), large_.size() + 1, small_.size(),
                 sets_of_matrices_.size());
  }

  void round(std::uint64_t number) {
    multiply();
    for (std::size_t i = 0; i < large_.size(); ++i) {
      kernels().stencil(large_[i].address, spare_.address, large_[i].words());
      std::swap(large_[i], spare_);
    }
    for (std::size_t i = 0; i < large_.size(); ++i) {
      const Buffer& table = large_[(i + 1) % large_.size()];
      const Buffer& index = large_[(i + 2) % large_.size()];
      kernels().gather(table.address, index.address, large_[i].address, large_[i].words(),
                       table.words());
    }
    add_through_table(static_cast<std::uint32_t>(number + 1));
    for (const Buffer& small : small_)
      kernels().xorshift_update(small.address, small.words(), static_cast<std::uint32_t>(number));
    sum_all();
    options_.say("demo: round %llu done", static_cast<unsigned long long>(number + 1));
  }

  // Frees a third of the ranges and asks for others of the same sum.
  void exchange() {
    for (std::size_t i = 0; i < large_.size(); i += 3) large_[i].free();
    for (std::size_t i = 0; i < small_.size(); i += 2) small_[i].free();
    for (std::size_t i = 0; i < small_.size(); i += 2) small_[i] = filled(small_size());
    for (std::size_t i = 0; i < large_.size(); i += 3) large_[i] = filled(large_bytes_);
    options_.say("demo: a third freed and allocated anew");
  }

  std::uint64_t held() const {
    std::uint64_t bytes = spare_.bytes + sums_.bytes;
    for (const Buffer& buffer : large_) bytes += buffer.bytes;
    for (const Buffer& buffer : small_) bytes += buffer.bytes;
    for (const Matrices& set : sets_of_matrices_) bytes += set.a.bytes * 3;
    return bytes;
  }

  e2e::Hash hash() const {
    e2e::Hash hash;
    for (const Buffer& buffer : large_) e2e::hash_device(hash, buffer);
    for (const Buffer& buffer : small_) e2e::hash_device(hash, buffer);
    for (const Matrices& set : sets_of_matrices_)
      for (const Buffer& matrix : {set.a, set.b, set.c}) e2e::hash_device(hash, matrix);
    e2e::hash_device(hash, spare_);
    e2e::hash_device(hash, sums_);
    return hash;
  }

 private:
  static constexpr int kLarge = 13;
  static constexpr std::uint64_t kSums = 4096;

  const e2e::Kernels& kernels() const { return die_.kernels; }
  std::uint32_t seed() { return static_cast<std::uint32_t>(random_.next()); }
  std::uint64_t small_size() {
    return 4 * random_.between(1, options_.mib <= 1024 ? 16384 : 131072);
  }

  Buffer filled(std::uint64_t bytes) {
    const Buffer buffer = Buffer::make(bytes);
    kernels().fill(buffer.address, buffer.words(), seed());
    return buffer;
  }

  void allocate_small(std::uint64_t bytes) {
    for (std::uint64_t sum = 0; sum < bytes; sum += small_.back().bytes)
      small_.push_back(filled(small_size()));
  }

  Matrices make_matrices() {
    const std::uint64_t bytes = 4ull * matrix_rows_ * matrix_rows_;
    const Matrices set{Buffer::make(bytes), Buffer::make(bytes), Buffer::make(bytes)};
    for (const Buffer& matrix : {set.a, set.b, set.c})
      kernels().fill_float(matrix.address, matrix.words(), seed());
    return set;
  }

  void multiply() {
    for (const Matrices& set : sets_of_matrices_) {
      const auto [a, b, c] = std::array{set.a.address, set.b.address, set.c.address};
      // Fresh values each round keep the products finite; the old ones live on in the sums.
      kernels().fill_float(a, set.a.words(), seed());
      kernels().matmul(a, b, c, matrix_rows_);
      kernels().fill_float(b, set.b.words(), seed());
      kernels().saxpy(0.5f, c, a, set.a.words());
      kernels().matmul(a, b, c, matrix_rows_);
      sum(set.c);
      kernels().saxpy(0.25f, a, b, set.b.words());
    }
  }

  void add_through_table(std::uint32_t add) {
    std::vector<CUdeviceptr> addresses;
    for (const Buffer& buffer : large_) addresses.push_back(buffer.address);
    const Buffer table = Buffer::make(addresses.size() * sizeof addresses[0]);
    NEED(cuMemcpyHtoD(table.address, addresses.data(), table.bytes));
    kernels().table(table.address, addresses.size(), large_bytes_ / 4, add);
    Buffer gone = table;
    gone.free();
  }

  void sum(const Buffer& buffer) {
    kernels().checksum(buffer.address, buffer.words(), sums_.address + 8 * (next_sum_++ % kSums));
  }

  void sum_all() {
    for (const Buffer& buffer : large_) sum(buffer);
    for (const Buffer& buffer : small_) sum(buffer);
    for (const Matrices& set : sets_of_matrices_)
      for (const Buffer& matrix : {set.a, set.b, set.c}) sum(matrix);
  }

  const e2e::Options& options_;
  e2e::Die die_;
  e2e::Random random_;
  std::uint64_t large_bytes_;
  std::uint64_t small_bytes_;
  std::uint32_t matrix_rows_;
  std::uint64_t sets_;
  std::vector<Buffer> large_;
  std::vector<Buffer> small_;
  std::vector<Matrices> sets_of_matrices_;
  Buffer spare_;
  Buffer sums_;
  std::uint64_t next_sum_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64);
  Demo demo(options);
  demo.allocate();
  for (std::uint64_t number = 0; number < options.rounds; ++number) {
    demo.round(number);
    if (number + 1 < options.rounds) demo.exchange();
  }
  options.hold_here();
  return e2e::finish(demo.hash());
}

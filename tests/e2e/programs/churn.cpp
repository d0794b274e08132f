// Allocates, fills, changes, verifies and frees in random order, with sizes from a word to a fifth
// of what it may hold; --count steps. Every range is verified against values computed on the host.
#include "program.hpp"

namespace {

struct Live {
  e2e::Buffer buffer;
  std::uint32_t seed;
  std::uint32_t updates;
};

class Churn {
 public:
  explicit Churn(const e2e::Options& options) : options_(options), random_(options.seed) {}

  void step() {
    const std::uint64_t dice = random_.below(10);
    if (live_.empty() || dice < 4) grow();
    else if (dice < 6) update(pick());
    else if (dice < 8) verify(live_[pick()]);
    else shrink(pick());
  }

  e2e::Hash end() {
    while (!live_.empty()) shrink(live_.size() - 1);
    return hash_;
  }

 private:
  std::size_t pick() { return random_.below(live_.size()); }

  std::uint64_t size() {
    const std::uint64_t most = options_.bytes() / 5;
    // Evenly over the powers of two, so that small sizes are as frequent as large ones.
    std::uint64_t ceiling = 64;
    while (ceiling < most && random_.below(12) != 0) ceiling *= 2;
    return 4 * random_.between(1, std::min(ceiling, most) / 4);
  }

  void grow() {
    const std::uint64_t bytes = size();
    while (held_ + bytes > options_.bytes()) shrink(pick());
    const Live one{e2e::Buffer::make(bytes), static_cast<std::uint32_t>(random_.next()), 0};
    die_.kernels.fill(one.buffer.address, one.buffer.words(), one.seed);
    live_.push_back(one);
    held_ += bytes;
  }

  void update(std::size_t index) {
    Live& one = live_[index];
    die_.kernels.xorshift_update(one.buffer.address, one.buffer.words(), one.seed);
    ++one.updates;
  }

  void verify(const Live& one) {
    std::vector<std::uint32_t> words(one.buffer.words());
    NEED(cuMemcpyDtoH(words.data(), one.buffer.address, one.buffer.bytes));
    for (std::size_t i = 0; i < words.size(); ++i) {
      std::uint32_t expected = e2e::word_at(i, one.seed);
      for (std::uint32_t k = 0; k < one.updates; ++k) expected = e2e::xorshift(expected, one.seed);
      CHECK(words[i] == expected);
    }
    hash_.add(words.data(), one.buffer.bytes);
  }

  void shrink(std::size_t index) {
    verify(live_[index]);
    held_ -= live_[index].buffer.bytes;
    live_[index].buffer.free();
    live_[index] = live_.back();
    live_.pop_back();
  }

  const e2e::Options& options_;
  e2e::Die die_;
  e2e::Random random_;
  e2e::Hash hash_;
  std::vector<Live> live_;
  std::uint64_t held_ = 0;
};

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 300);
  Churn churn(options);
  for (std::uint64_t i = 0; i < options.count; ++i) churn.step();
  return e2e::finish(churn.end());
}

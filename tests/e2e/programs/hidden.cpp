// Everything is reached through pointers in device memory: one chain of nodes that crosses all
// ranges, and tables of tables. No launch names the ranges that it touches.
#include "program.hpp"

namespace {

using e2e::Buffer;

// A chain through all nodes of all buffers, in a shuffled order.
class Chain {
 public:
  Chain(const std::vector<Buffer>& buffers, std::uint64_t nodes_each, e2e::Random& random) {
    // Nodes are spread evenly over a buffer, so that every page holds some.
    for (const Buffer& buffer : buffers)
      for (std::uint64_t n = 0; n < nodes_each; ++n)
        order_.push_back(buffer.address + n * (buffer.bytes / nodes_each / 16 * 16));
    for (std::size_t i = order_.size() - 1; i > 0; --i)
      std::swap(order_[i], order_[random.below(i + 1)]);
    for (std::size_t i = 0; i < order_.size(); ++i) {
      BarswapNode node{next(i), static_cast<std::uint32_t>(random.next()), 0};
      NEED(cuMemcpyHtoD(order_[i], &node, sizeof node));
    }
  }
  CUdeviceptr head() const { return order_[0]; }
  std::uint64_t size() const { return order_.size(); }

  // Addresses differ from run to run, so the links must go before the bytes are hashed.
  void unlink(std::uint64_t visits) const {
    for (std::size_t i = 0; i < order_.size(); ++i) {
      BarswapNode node{};
      NEED(cuMemcpyDtoH(&node, order_[i], sizeof node));
      CHECK(node.next == next(i) && node.visits == visits);
      NEED(cuMemsetD32(order_[i], 0, 2));
    }
  }

 private:
  BarswapNode* next(std::size_t i) const {
    return i + 1 < order_.size() ? reinterpret_cast<BarswapNode*>(order_[i + 1]) : nullptr;
  }
  std::vector<CUdeviceptr> order_;
};

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64, 200);
  const e2e::Die die;
  e2e::Random random(options.seed);
  constexpr std::uint64_t kBuffers = 16;
  std::vector<Buffer> buffers;
  for (std::uint64_t i = 0; i < kBuffers; ++i) {
    buffers.push_back(Buffer::make(options.bytes() / kBuffers / 16 * 16));
    die.kernels.fill(buffers.back().address, buffers.back().words(), static_cast<std::uint32_t>(i));
  }
  const Chain chain(buffers, options.count, random);
  const Buffer fold = Buffer::make(8);
  NEED(cuMemsetD8(fold.address, 0, 8));

  std::vector<CUdeviceptr> addresses;
  for (const Buffer& buffer : buffers) addresses.push_back(buffer.address);
  const Buffer table = Buffer::make(8 * kBuffers);
  NEED(cuMemcpyHtoD(table.address, addresses.data(), table.bytes));

  e2e::Hash hash;
  for (std::uint64_t turn = 0; turn < options.rounds; ++turn) {
    die.kernels.chase(chain.head(), chain.size(), fold.address);
    std::uint64_t value = 0;
    NEED(cuMemcpyDtoH(&value, fold.address, 8));
    hash.add(value);
  }
  chain.unlink(options.rounds);
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  for (std::uint32_t turn = 1; turn <= options.rounds; ++turn)
    die.kernels.table(table.address, kBuffers, buffers[0].words(), turn * 3);
  BarswapWriterJob job{reinterpret_cast<std::uint32_t*>(buffers[0].address),
                       reinterpret_cast<std::uint32_t*>(buffers[kBuffers - 1].address),
                       buffers[0].words() / 2, 11, 0};
  die.kernels.writer(job);
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  return e2e::finish(hash);
}

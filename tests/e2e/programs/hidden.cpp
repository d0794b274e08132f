// Everything is reached through pointers in device memory: one chain of nodes that crosses all
// ranges, and tables of tables. No launch names the ranges that it touches.
#include "program.hpp"

namespace {

using e2e::Buffer;

// Links all nodes of all buffers in a shuffled order; the head is returned.
CUdeviceptr link(const std::vector<Buffer>& buffers, std::uint64_t nodes_each,
                 e2e::Random& random) {
  struct Spot {
    std::uint32_t buffer, node;
  };
  std::vector<Spot> order;
  for (std::uint32_t b = 0; b < buffers.size(); ++b)
    for (std::uint32_t n = 0; n < nodes_each; ++n) order.push_back({b, n});
  for (std::size_t i = order.size() - 1; i > 0; --i)
    std::swap(order[i], order[random.below(i + 1)]);
  // Nodes are spread evenly over a buffer, so that every page holds some.
  const auto address = [&](const Spot& spot) {
    const std::uint64_t gap = buffers[spot.buffer].bytes / nodes_each / 16 * 16;
    return buffers[spot.buffer].address + spot.node * gap;
  };
  for (std::size_t i = 0; i < order.size(); ++i) {
    BarswapNode node{};
    node.next =
        i + 1 < order.size() ? reinterpret_cast<BarswapNode*>(address(order[i + 1])) : nullptr;
    node.value = static_cast<std::uint32_t>(random.next());
    NEED(cuMemcpyHtoD(address(order[i]), &node, sizeof node));
  }
  return address(order[0]);
}

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
  const CUdeviceptr head = link(buffers, options.count, random);
  const Buffer fold = Buffer::make(8);
  NEED(cuMemsetD8(fold.address, 0, 8));

  std::vector<CUdeviceptr> addresses;
  for (const Buffer& buffer : buffers) addresses.push_back(buffer.address);
  const Buffer table = Buffer::make(8 * kBuffers);
  NEED(cuMemcpyHtoD(table.address, addresses.data(), table.bytes));

  e2e::Hash hash;
  for (std::uint64_t turn = 0; turn < options.rounds; ++turn) {
    die.kernels.chase(head, kBuffers * options.count, fold.address);
    std::uint64_t value = 0;
    NEED(cuMemcpyDtoH(&value, fold.address, 8));
    hash.add(value);
  }
  for (std::size_t i = 0; i < buffers.size(); ++i) e2e::hash_device(hash, buffers[i]);
  // The links are gone after this: every word of every buffer changes.
  for (std::uint32_t turn = 1; turn <= options.rounds; ++turn)
    die.kernels.table(table.address, kBuffers, buffers[0].words(), turn * 3);
  BarswapWriterJob job{reinterpret_cast<std::uint32_t*>(buffers[0].address),
                       reinterpret_cast<std::uint32_t*>(buffers[kBuffers - 1].address),
                       buffers[0].words() / 2, 11, 0};
  die.kernels.writer(job);
  for (const Buffer& buffer : buffers) e2e::hash_device(hash, buffer);
  return e2e::finish(hash);
}

// Reads large ranges in the same order, pass after pass, as a model reads its weights, on two
// streams by turns and without a pause between passes; only a small range is written. With --count
// above 1 every so many rounds one launch reaches all of them, whole, through a table of pointers,
// and leaves their bytes as they are. With --mode graph a pass is a graph, on one stream, and that
// launch is part of each.
#include "program.hpp"

using e2e::Buffer;

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 256, 1);
  const e2e::Die die;
  constexpr std::uint64_t kAtOnceWords = 4096;
  const std::vector<Buffer> layers = e2e::make_layers(options, die);
  std::vector<CUdeviceptr> addresses;
  for (const Buffer& layer : layers) addresses.push_back(layer.address);
  const Buffer table = Buffer::make(addresses.size() * sizeof(CUdeviceptr));
  NEED(cuMemcpyHtoD(table.address, addresses.data(), table.bytes));
  const Buffer sums = Buffer::make(2 * sizeof(std::uint64_t));
  NEED(cuMemsetD8(sums.address, 0, sums.bytes));
  CUstream streams[2] = {};
  for (CUstream& stream : streams) NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
  NEED(cuCtxSynchronize());
  const bool graph = options.mode == "graph";
  const auto pass = [&](std::uint64_t round) {
    for (std::size_t i = 0; i < layers.size(); ++i) {
      // A stretch of every page-sized part, another one in each round.
      constexpr std::uint64_t kParts = 16;
      const std::size_t lane = graph ? 0 : i % 2;
      for (std::uint64_t part = 0; part < kParts; ++part) {
        const std::uint64_t at = part * layers[i].bytes / kParts + round % 8 * kAtOnceWords * 4;
        die.kernels.checksum.on(streams[lane], layers[i].address + at, kAtOnceWords,
                                sums.address + lane * sizeof(std::uint64_t));
      }
      if (options.count > 1 && i == 0 && round % options.count == options.count - 1)
        die.kernels.table.on(streams[lane], table.address, addresses.size(), layers[0].words(), 0);
    }
  };
  CUgraphExec recorded = nullptr;
  if (graph) {
    CUgraph nodes = nullptr;
    NEED(cuStreamBeginCapture(streams[0], CU_STREAM_CAPTURE_MODE_GLOBAL));
    pass(options.count - 1);
    NEED(cuStreamEndCapture(streams[0], &nodes));
    NEED(cuGraphInstantiateWithFlags(&recorded, nodes, 0));
    NEED(cuGraphDestroy(nodes));
  }
  for (std::uint64_t round = 0; round < options.rounds; ++round) {
    if (graph) NEED(cuGraphLaunch(recorded, streams[0]));
    else pass(round);
    if (round % 4 == 3) NEED(cuCtxSynchronize());
  }
  NEED(cuCtxSynchronize());
  if (recorded) NEED(cuGraphExecDestroy(recorded));
  options.hold_here();
  e2e::Hash hash;
  e2e::hash_device(hash, sums);
  for (const Buffer& layer : layers) e2e::hash_device(hash, layer);
  return e2e::finish(hash);
}

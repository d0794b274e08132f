// Two dies: copies between them without and with peer access, kernels that read and write the other
// die's memory, ranges made before and after access was given, and the codes of every wrong call.
#include "program.hpp"

namespace {

using e2e::Buffer;

void show(const char* what, CUresult result) {
  std::printf("%s: %s\n", what, e2e::name_of(result));
}

struct Pair {
  e2e::Die first{0};
  e2e::Die second{1};

  Buffer make_on(const e2e::Die& die, std::uint64_t bytes, std::uint32_t seed) const {
    die.use();
    const Buffer buffer = Buffer::make(bytes);
    die.kernels.fill(buffer.address, buffer.words(), seed);
    NEED(cuCtxSynchronize());
    return buffer;
  }

  void copies(const Buffer& here, const Buffer& there) const {
    NEED(cuMemcpyPeer(there.address, second.context, here.address, first.context, here.bytes / 2));
    NEED(cuCtxSynchronize());
    second.use();
    CUstream stream = nullptr;
    NEED(cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING));
    second.kernels.xorshift_update.on(stream, there.address, there.words(), 5);
    NEED(cuMemcpyPeerAsync(here.address + here.bytes / 2, first.context,
                           there.address + there.bytes / 2, second.context,
                           here.bytes - here.bytes / 2, stream));
    NEED(cuStreamSynchronize(stream));
    // By the addresses alone.
    NEED(cuMemcpyDtoD(there.address, here.address, here.bytes / 3 / 4 * 4));
    NEED(cuMemcpy(here.address, there.address + there.bytes / 2, here.bytes / 4));
    // Copies within devices need not be done when they return, and this stream waits for no other.
    NEED(cuCtxSynchronize());
    NEED(cuMemcpyDtoDAsync(there.address + 4096, here.address, 4096, stream));
    NEED(cuStreamSynchronize(stream));
    NEED(cuStreamDestroy(stream));
    NEED(cuCtxSynchronize());
  }
};

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 64);
  NEED(cuInit(0));
  int dies = 0;
  NEED(cuDeviceGetCount(&dies));
  if (dies < 2) e2e::stop(e2e::kStatusMissing, "peers: needs two dies");
  const Pair pair;
  const std::uint64_t bytes = options.bytes() / 8 / 4096 * 4096;
  std::vector<Buffer> here, there;
  for (std::uint32_t i = 0; i < 3; ++i) {
    here.push_back(pair.make_on(pair.first, bytes, 10 + i));
    there.push_back(pair.make_on(pair.second, bytes, 20 + i));
  }
  pair.copies(here[0], there[0]);

  int reachable = 0;
  NEED(cuDeviceCanAccessPeer(&reachable, 0, 1));
  if (reachable == 0) e2e::stop(e2e::kStatusMissing, "peers: the dies cannot reach each other");
  pair.first.use();
  show("disable before enable", cuCtxDisablePeerAccess(pair.second.context));
  show("enable, bad flags", cuCtxEnablePeerAccess(pair.second.context, 1));
  show("enable for itself", cuCtxEnablePeerAccess(pair.first.context, 0));
  show("enable", cuCtxEnablePeerAccess(pair.second.context, 0));
  show("enable again", cuCtxEnablePeerAccess(pair.second.context, 0));
  pair.second.use();
  show("the other way", cuCtxEnablePeerAccess(pair.first.context, 0));

  // Ranges made after access was given must be reachable, too.
  here.push_back(pair.make_on(pair.first, bytes, 30));
  there.push_back(pair.make_on(pair.second, bytes, 31));
  for (std::size_t i = 0; i < here.size(); ++i) {
    pair.first.use();
    pair.first.kernels.stencil(there[i].address, here[i].address, here[i].words());
    NEED(cuCtxSynchronize());
    pair.second.use();
    pair.second.kernels.xorshift_update(here[i].address, here[i].words(), 9);
    pair.second.kernels.gather(here[i].address, there[i].address, there[i].address,
                               there[i].words(), here[i].words());
    NEED(cuCtxSynchronize());
  }
  pair.copies(here[3], there[3]);
  // A small range that both write in turn: a flag or a counter in a real program.
  const Buffer counters = pair.make_on(pair.first, 1024, 0);
  pair.first.use();
  NEED(cuMemsetD8(counters.address, 0, counters.bytes));
  NEED(cuCtxSynchronize());
  for (int turn = 0; turn < 4; ++turn) {
    const e2e::Die& die = turn % 2 == 0 ? pair.first : pair.second;
    die.use();
    die.kernels.atomic(counters.address, 10000);
    NEED(cuCtxSynchronize());
  }
  pair.first.use();
  show("disable", cuCtxDisablePeerAccess(pair.second.context));
  show("disable again", cuCtxDisablePeerAccess(pair.second.context));
  pair.copies(here[1], there[2]);
  show("enable once more", cuCtxEnablePeerAccess(pair.first.context, 0));
  e2e::Hash hash;
  pair.first.use();
  for (const Buffer& buffer : here) e2e::hash_device(hash, buffer);
  e2e::hash_device(hash, counters);
  pair.second.use();
  for (const Buffer& buffer : there) e2e::hash_device(hash, buffer);
  return e2e::finish(hash);
}

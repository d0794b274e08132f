// Says which dies it sees, computes a little on each, and says what of the choice its environment
// shows, to itself and to a child. With --count N as many threads start the driver at once.
#include <unistd.h>

#include <atomic>

#include "program.hpp"

namespace {

void start_driver(std::uint64_t threads) {
  std::atomic<std::uint64_t> waiting{threads};
  std::vector<std::thread> all;
  for (std::uint64_t i = 0; i < threads; ++i)
    all.emplace_back([&] {
      --waiting;
      while (waiting != 0) {}
      NEED(cuInit(0));
    });
  for (std::thread& one : all) one.join();
}

void say_uuid(int number) {
  CUuuid uuid{};
  NEED(cuDeviceGetUuid_v2(&uuid, number));
  std::printf("die %d ", number);
  for (const char byte : uuid.bytes) std::printf("%02x", static_cast<unsigned char>(byte));
  std::printf("\n");
}

}  // namespace

int main(int argc, char** argv) {
  const e2e::Options options(argc, argv, 8, 1);
  start_driver(options.count);
  int dies = 0;
  NEED(cuDeviceGetCount(&dies));
  std::printf("dies %d\n", dies);
  e2e::Hash hash;
  for (int i = 0; i < dies; ++i) {
    say_uuid(i);
    const e2e::Die die(i);
    const e2e::Buffer buffer = e2e::Buffer::make(options.bytes());
    die.kernels.fill(buffer.address, buffer.words(), 7);
    NEED(cuCtxSynchronize());
    e2e::hash_device(hash, buffer);
  }
  const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
  std::printf("visible %s\n", visible ? visible : "(not set)");
  std::fflush(stdout);
  if (std::system("echo child ${CUDA_VISIBLE_DEVICES-'(not set)'}") != 0) return 1;
  options.hold_here();
  return e2e::finish(hash);
}

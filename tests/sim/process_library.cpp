// The machine of libcuda.so.1: from the environment, for as long as the process lives.
#include <pthread.h>

#include <cstdlib>

#include "sim/process.hpp"

namespace barswap::sim {
namespace {

void at_exit() {
  Machine* machine = Machine::current();
  machine->write_audit();
  machine->deinitialize();
}

Machine* build() {
  // Never destroyed: the program may call until its last instruction.
  Machine* machine = new Machine(Config::from_environment());
  pthread_atfork(nullptr, nullptr, [] { Machine::current()->forked(); });
  std::atexit(at_exit);
  return machine;
}

}  // namespace

Machine* machine_for_call() {
  static Machine* machine = build();
  return machine;
}

}  // namespace barswap::sim

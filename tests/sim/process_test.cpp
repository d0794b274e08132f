#include "sim/process.hpp"

namespace barswap::sim {

Machine* machine_for_call() { return Machine::current(); }

}  // namespace barswap::sim

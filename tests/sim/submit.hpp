// What every family of bodies needs: the context at hand, the stream meant, and the way into a
// stream.
#pragma once

#include "sim/machine.hpp"
#include "sim/objects.hpp"

namespace barswap::sim {

inline Machine& machine() { return *Machine::current(); }
inline Memory& memory() { return machine().memory(); }
inline Objects& objects() { return machine().objects(); }

#define BARSWAP_SIM_TRY(expression)                                                          \
  do {                                                                                       \
    if (const CUresult try_result = (expression); try_result != CUDA_SUCCESS) return try_result; \
  } while (0)

// Puts work into the stream, or a node into the graph that the stream captures. Refuses where the
// driver would: a poisoned context, a capture that is void or that the legacy stream would break.
CUresult submit(CUstream stream, std::unique_ptr<Op> op, const Node* like = nullptr);
CUresult submit(const std::shared_ptr<Stream>& stream, std::unique_ptr<Op> op,
                const Node* like = nullptr);
CUresult submit_and_wait(CUstream stream, std::unique_ptr<Op> op);

// For a call that a capture in progress forbids: voids the captures it would disturb and refuses.
CUresult refuse_beside_capture();
// The same for a call that looks at a whole context, whatever the thread's mode.
CUresult refuse_captured(Context& context);

// A launch as work, and as the node that a capture gains.
CUresult make_kernel(CUfunction handle, const unsigned (&grid)[3], const unsigned (&block)[3],
                     unsigned shared_bytes, void** parameters, void** extra,
                     std::unique_ptr<Op>& result, Node& node);

inline std::uintptr_t address_of(const void* pointer) {
  return reinterpret_cast<std::uintptr_t>(pointer);
}

}  // namespace barswap::sim

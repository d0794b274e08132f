// Copies of two and three dimensions, between any kinds of memory.
#pragma once

#include "sim/submit.hpp"

namespace barswap::sim {

// One description for all the driver's shapes; contexts are null unless the copy names them.
struct Shaped {
  CUDA_MEMCPY3D copy{};
  CUcontext from_context = nullptr;
  CUcontext to_context = nullptr;
};

Shaped shaped(const CUDA_MEMCPY2D& copy);
Shaped shaped(const CUDA_MEMCPY3D& copy);
Shaped shaped(const CUDA_MEMCPY3D_PEER& copy);

// The work of it; refused if memory it names is not there.
CUresult make_shaped_copy(const Shaped& shaped, std::unique_ptr<CopyOp>& op);
// True if the copy ends in memory that the driver cannot write later.
bool ends_in_pageable_memory(const CopyOp& op);
CUresult shaped_copy_async(const Shaped& shaped, CUstream stream);
CUresult shaped_copy_now(const Shaped& shaped);

}  // namespace barswap::sim

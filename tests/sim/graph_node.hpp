// Making the work of a graph's node from the parameters that a program gives.
#pragma once

#include "sim/submit.hpp"

namespace barswap::sim {

// Each fills the node's work and remembers the parameters for those who ask.
CUresult fill_kernel_node(Node& node, const CUDA_KERNEL_NODE_PARAMS& parameters);
CUresult fill_copy_node(Node& node, const CUDA_MEMCPY3D& copy);
CUresult fill_memset_node(Node& node, const CUDA_MEMSET_NODE_PARAMS& parameters);
CUresult fill_host_node(Node& node, const CUDA_HOST_NODE_PARAMS& parameters);
CUresult fill_child_node(Node& node, CUgraph child);
// From the tagged union; NOT_SUPPORTED for kinds that this machine does not have.
CUresult fill_node(Node& node, const CUgraphNodeParams& parameters);

// The kernel node's parameters in the form that a launch takes; they live as long as the node.
void** kernel_parameter_pointers(Node& node);

// A node of the graph, after the given ones.
CUresult add_node(CUgraphNode* result, CUgraph graph, const CUgraphNode* after, std::size_t count,
                  Node filled);

}  // namespace barswap::sim

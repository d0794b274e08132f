// The workload that is a real program: transformers generates tokens, with accelerate for a peer.
// It needs a Python that has both, which no other part of the bench does.
#pragma once
#include <string>
#include <vector>

#include "workload.hpp"

namespace barswap::bench {

// The program and its arguments, but for those that every run has.
std::vector<std::string> words_of_decode(const Workload& workload, bool with_accelerate,
                                         const std::string& python);

// Why this Python cannot run it; empty if it can.
std::string why_no_decode(const std::string& python, int limit_s);

}  // namespace barswap::bench

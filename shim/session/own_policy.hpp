// The policy of this process, read once: from the files and variables that hold when it is first
// asked for, which is before the first cuInit. It needs no lock: threads that race read the same,
// and one reading stays. It is never freed.
#pragma once
#include <string>

#include "policy/load.hpp"

namespace barswap::session {

struct OwnPolicy {
  std::string program;  // the file name of the executable
  policy::Loaded loaded;
};

const OwnPolicy& own_policy();

}  // namespace barswap::session

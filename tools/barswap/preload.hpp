// The environment in which a program meets the shim: which libbarswap.so, and the value of
// LD_PRELOAD.
#pragma once
#include <string>

namespace barswap::tools {

// The libbarswap.so of this command: in the build tree, else where it is installed, else in the
// command's own folder. Empty when it is in none of these.
std::string find_library();

// `current` with `library` in it, once. Other preloads stay, in their order, behind ours; only a
// sanitizer's runtime stays in front, because it insists on coming first. Another libbarswap.so is
// replaced.
std::string with_preload(const std::string& current, const std::string& library);

// `current` without any libbarswap.so.
std::string without_preload(const std::string& current);

// Why no CUDA driver can be loaded here; empty when one can.
std::string why_no_driver();

}  // namespace barswap::tools

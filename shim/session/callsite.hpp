// Call sites: which libraries and functions led to an allocation, for policies that ask. libunwind
// is opened on the first question, never linked: it exports the unwinder's names and would take
// over the program's exceptions. Unwinding takes the loader's lock, so it happens before any lock
// of ours and outside every driver call. Without libunwind only the caller's return address is
// known, said once.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace barswap::session {

struct CallSite {
  std::string library;  // path of the object, or empty
  std::string symbol;   // nearest exported function, or empty
  std::uintptr_t offset = 0;  // of the call in the object
};

// Innermost first, our own frames left out. `return_address` is the fallback.
std::vector<CallSite> call_sites(const void* return_address);
// The innermost caller that is not part of CUDA, as "FILE+0xOFFSET (SYMBOL)"; empty if unknown.
std::string caller_text();

}  // namespace barswap::session

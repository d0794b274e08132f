// BARSWAP_CHECK: a broken invariant that could return wrong bytes. It is on in every build: wrong
// bytes are worse than a stopped program. It never fires for the program's own mistakes.
#pragma once

namespace barswap {
[[noreturn]] void check_failed(const char* expression, const char* file, int line);
}

#define BARSWAP_CHECK(expression)                                                  \
  do {                                                                             \
    if (!(expression)) [[unlikely]]                                                \
      ::barswap::check_failed(#expression, __FILE__, __LINE__);                    \
  } while (0)

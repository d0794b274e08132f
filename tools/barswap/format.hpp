// One line of a table, as printf would write it; cut at 511 bytes.
#pragma once
#include <cstdarg>
#include <cstdio>
#include <string>

namespace barswap::tools {

[[gnu::format(printf, 1, 2)]] inline std::string format(const char* pattern, ...) {
  char text[512];
  va_list arguments;
  va_start(arguments, pattern);
  std::vsnprintf(text, sizeof text, pattern, arguments);
  va_end(arguments);
  return text;
}

}  // namespace barswap::tools

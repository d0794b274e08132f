// What the loader will do with a program: found on PATH, followed through `#!` lines, looked at as
// an ELF file. Reads files, changes nothing.
#pragma once
#include <string>

namespace barswap::tools {

// The file that execvp would run for `name`, or an empty string.
std::string find_program(const std::string& name);

// Why preloading would have no effect on this program: a sentence with cause and cure, or an empty
// string when the loader will honour LD_PRELOAD. A file that is no ELF and has no `#!` line is left
// to exec to judge.
std::string why_not_preloadable(const std::string& path);

}  // namespace barswap::tools

// Statistics files as the command reads them: one consistent-enough copy of each, taken without
// stopping its writer.
#pragma once
#include <string>
#include <vector>

#include "barswap/stats.h"

namespace barswap::tools {

struct Reading {
  std::string path;
  barswap_stats stats = {};
  bool living = true;
  std::string trouble;  // why the file cannot be read; then `stats` is empty
};

// The user's processes, by pid; with `pid`, only that one. Removes the files of ended processes: of
// these only the one asked for by number is returned, a last time.
std::vector<Reading> read_all(int pid);

}  // namespace barswap::tools

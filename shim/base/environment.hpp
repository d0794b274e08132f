// The only reader of environment variables. They are read once, when the process starts with us,
// into a plain struct; a variable that the program changes later has no effect. Allocates nothing.
#pragma once
#include <cstdint>

namespace barswap {

// Each string points into the process's environment and may be empty, never null.
struct Environment {
  const char* policy = "";          // BARSWAP_POLICY: a policy file, after all others
  const char* set = "";             // BARSWAP_SET: key=value items, separated by ';'
  const char* log = "";             // BARSWAP_LOG: error, warn (the default), info or debug
  const char* log_file = "";        // BARSWAP_LOG_FILE: appended to instead of standard error
  const char* trace = "";  // BARSWAP_TRACE: a file for the trace; "%p" becomes the process's number
  bool trace_times = false;         // BARSWAP_TRACE_TIMES=1: with the time of each launch
  const char* verify = "";          // BARSWAP_VERIFY: a folder for the record of `barswap verify`
  bool chaos = false;               // BARSWAP_CHAOS=seed: random moves at every drain
  std::uint64_t chaos_seed = 0;
  bool disable = false;             // BARSWAP_DISABLE=1: step aside at once
  const char* one_die = "";         // BARSWAP_ONE_DIE: what `barswap run` chose (dies/launched.hpp)
  const char* config_home = "";     // XDG_CONFIG_HOME, else HOME/.config is used
  const char* home = "";            // HOME
  const char* runtime_dir = "";     // XDG_RUNTIME_DIR: where the statistics file goes
  const char* injection = "";       // CUDA_INJECTION64_PATH: a tool that submits work we do not see
};

const Environment& environment();

// The variable by which the driver is told which dies it has, when it starts.
constexpr const char* kVisibleDies = "CUDA_VISIBLE_DEVICES";
// Its value now, because programs set it for themselves before they start the
// driver. Null: not set.
const char* visible_dies();
// By this one `barswap run` tells what it wrote there.
constexpr const char* kOneDie = "BARSWAP_ONE_DIE";

}  // namespace barswap

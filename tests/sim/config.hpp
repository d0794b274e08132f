// What a simulated machine is made of. Plain values: a test fills them in, libcuda.so.1 reads them
// from the environment. Read once, when the machine is built.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "driver/api.hpp"

namespace barswap::sim {

inline constexpr std::size_t granule_bytes = std::size_t{2} << 20;
inline constexpr int dies_max = 8;

// The nth call of a function, and all after it if `always`, answers `result` and does nothing.
struct Fault {
  std::string function;  // exported symbol, or the API name, which means all its variants
  std::uint64_t nth = 1;
  CUresult result = CUDA_ERROR_OUT_OF_MEMORY;
  bool always = false;
};

// After so many driver calls a die has fewer bytes: another process took them.
struct Loss {
  int die = 0;
  std::size_t bytes = 0;
  std::uint64_t after_calls = 0;
};

// Bytes in a microsecond, and fixed costs. The defaults are those of docs/physics.md.
struct Rates {
  double hbm = 4'300'000;
  double link = 55'200;
  double zero_copy = 51'300;
  double peer = 373'000;
  std::uint64_t launch_ns = 4'000;
  std::uint64_t call_ns = 200;
};

struct Config {
  int dies = 1;
  std::size_t vram_bytes = std::size_t{256} << 20;  // of each die
  std::vector<std::size_t> vram_each;               // of single dies, where it is another
  std::size_t host_bytes = std::size_t{16} << 30;   // host-located handles; 0 refuses them
  std::size_t context_bytes = 0;                    // VRAM that a context takes
  std::uint64_t seed = 1;
  int driver_version = 13000;
  bool no_device = false;
  bool vmm = true;
  bool host = true;       // location HOST is accepted
  bool host_numa = true;  // location HOST_NUMA is accepted
  bool peer = true;  // dies reach each other, at least in their island
  int islands = 1;   // dies of different ones, which are dealt in turn, do not
  std::vector<std::pair<int, int>> apart;  // nor do the two of each of these
  bool strict = false;     // a remap beside device work is a violation
  bool aborts = false;     // a violation ends the process
  bool threads = false;    // work proceeds between driver calls, and host functions have a thread
  std::uint32_t steps_per_call_max = 3;
  std::uint32_t late_queries = 0;  // how often a ready event still says not ready
  unsigned char poison = 0xA5;     // what fresh cuMemAlloc memory holds
  int sms = 4;
  Rates rates;
  std::vector<Fault> faults;
  std::vector<Loss> losses;
  std::string audit_path;
  bool reads_visible = false;  // cuInit looks at CUDA_VISIBLE_DEVICES
  std::vector<int> visible;    // which dies it left, in its order; empty: all

  // The die of the machine that the process knows by this number.
  int real(int die) const {
    return visible.empty() ? die : visible[static_cast<std::size_t>(die)];
  }
  std::size_t vram_of(int die) const {
    const auto index = static_cast<std::size_t>(die);
    return index < vram_each.size() ? vram_each[index] : vram_bytes;
  }
  bool reaches(int die, int other) const {
    if (die == other) return true;
    die = real(die), other = real(other);
    for (const auto& [one, two] : apart)
      if ((one == die && two == other) || (one == other && two == die)) return false;
    return peer && die % islands == other % islands;
  }

  // SIM_DIES, SIM_VRAM, SIM_HOST, SIM_CONTEXT, SIM_SEED, SIM_DRIVER_VERSION, SIM_NO_DEVICE,
  // SIM_VMM, SIM_HOST_LOCATION, SIM_HOST_NUMA, SIM_PEER, SIM_ISLANDS, SIM_STRICT, SIM_STEPS,
  // SIM_LATE, SIM_FAULT, SIM_LOSE, SIM_AUDIT; and cuInit reads CUDA_VISIBLE_DEVICES. A value that
  // cannot be read stops the process: a test must not run on a wrong machine.
  static Config from_environment();
};

// "4096", "64KiB", "256MiB", "2GiB".
std::size_t parse_size(const std::string& text);
// "cuMemCreate:3:2:once;cuMemMap:*:2:always": function, nth call (* is the first), CUresult, how
// long.
std::vector<Fault> parse_faults(const std::string& text);
// "GPU-51515151-5151-5151-5151-515151515100" and so on.
std::string uuid_text(int die);
// As CUDA_VISIBLE_DEVICES: numbers and beginnings of UUIDs; the first that names no die, or
// several, ends the list. One die twice: none at all.
std::vector<int> parse_visible(const std::string& text, int dies);
// "die:bytes:after_calls;..."
std::vector<Loss> parse_losses(const std::string& text);

}  // namespace barswap::sim

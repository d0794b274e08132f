#include "sim/config.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <sstream>

namespace barswap::sim {
namespace {

[[noreturn]] void refuse(const std::string& text) {
  std::fprintf(stderr, "sim: cannot read '%s'\n", text.c_str());
  std::abort();
}

std::uint64_t parse_number(const std::string& text) {
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end != '\0') refuse(text);
  return value;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

template <class Set>
void read(const char* name, Set set) {
  if (const char* text = std::getenv(name); text != nullptr && *text != '\0')
    set(std::string(text));
}

void read_bool(const char* name, bool& value) {
  read(name, [&](const std::string& text) { value = parse_number(text) != 0; });
}

template <class Number>
void read_number(const char* name, Number& value) {
  read(name, [&](const std::string& text) { value = static_cast<Number>(parse_number(text)); });
}

void read_size(const char* name, std::size_t& value) {
  read(name, [&](const std::string& text) { value = parse_size(text); });
}

}  // namespace

std::size_t parse_size(const std::string& text) {
  char* end = nullptr;
  const std::uint64_t value = std::strtoull(text.c_str(), &end, 10);
  const std::string unit = end;
  if (end == text.c_str()) refuse(text);
  if (unit.empty() || unit == "B") return value;
  if (unit == "KiB") return value << 10;
  if (unit == "MiB") return value << 20;
  if (unit == "GiB") return value << 30;
  refuse(text);
}

std::vector<Fault> parse_faults(const std::string& text) {
  std::vector<Fault> faults;
  for (const std::string& item : split(text, ';')) {
    const auto parts = split(item, ':');
    if (parts.size() != 4 || (parts[3] != "once" && parts[3] != "always")) refuse(item);
    faults.push_back({parts[0], parts[1] == "*" ? 1 : parse_number(parts[1]),
                      static_cast<CUresult>(parse_number(parts[2])), parts[3] == "always"});
  }
  return faults;
}

std::vector<Loss> parse_losses(const std::string& text) {
  std::vector<Loss> losses;
  for (const std::string& item : split(text, ';')) {
    const auto parts = split(item, ':');
    if (parts.size() != 3) refuse(item);
    losses.push_back({static_cast<int>(parse_number(parts[0])), parse_size(parts[1]),
                      parse_number(parts[2])});
  }
  return losses;
}

std::string uuid_text(int die) {
  char text[48];
  std::snprintf(text, sizeof text, "GPU-51515151-5151-5151-5151-5151515151%02x",
                static_cast<unsigned>(die));
  return text;
}

std::vector<int> parse_visible(const std::string& text, int dies) {
  std::vector<int> visible;
  for (const std::string& entry : split(text, ',')) {
    int found = -1, count = 0;
    for (int die = 0; die < dies; ++die)
      if (entry == std::to_string(die) ||
          (entry.rfind("GPU-", 0) == 0 && uuid_text(die).rfind(entry, 0) == 0))
        found = die, ++count;
    if (count != 1) break;
    if (std::find(visible.begin(), visible.end(), found) != visible.end()) return {};
    visible.push_back(found);
  }
  return visible;
}

Config Config::from_environment() {
  Config config;
  config.threads = true;
  config.aborts = true;
  config.reads_visible = true;
  read_number("SIM_DIES", config.dies);
  if (config.dies < 0 || config.dies > dies_max) refuse("SIM_DIES");
  read_size("SIM_VRAM", config.vram_bytes);
  read_size("SIM_HOST", config.host_bytes);
  read_size("SIM_CONTEXT", config.context_bytes);
  read_number("SIM_SEED", config.seed);
  read_number("SIM_DRIVER_VERSION", config.driver_version);
  read_bool("SIM_NO_DEVICE", config.no_device);
  read_bool("SIM_VMM", config.vmm);
  read_bool("SIM_HOST_LOCATION", config.host);
  read_bool("SIM_HOST_NUMA", config.host_numa);
  read_bool("SIM_PEER", config.peer);
  read_number("SIM_ISLANDS", config.islands);
  if (config.islands < 1) refuse("SIM_ISLANDS");
  read_bool("SIM_STRICT", config.strict);
  read_number("SIM_STEPS", config.steps_per_call_max);
  read_number("SIM_LATE", config.late_queries);
  read("SIM_FAULT", [&](const std::string& text) { config.faults = parse_faults(text); });
  read("SIM_LOSE", [&](const std::string& text) { config.losses = parse_losses(text); });
  read("SIM_AUDIT", [&](const std::string& text) { config.audit_path = text; });
  return config;
}

}  // namespace barswap::sim

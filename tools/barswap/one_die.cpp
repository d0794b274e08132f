#include "one_die.hpp"

#include <dlfcn.h>

#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "base/environment.hpp"
#include "dies/launched.hpp"
#include "dies/sights.hpp"

namespace barswap::tools {
namespace {

void* nvml_library = nullptr;

void* find_in_nvml(const char* name) { return dlsym(nvml_library, name); }

std::vector<dies::Sight> sights_by_nvml() {
  nvml_library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (nvml_library == nullptr) return {};
  const dies::Nvml nvml(find_in_nvml);
  std::vector<dies::Sight> sights = dies::sights(nvml);
  // What it keeps open is not to be the program's.
  nvml.call("nvmlShutdown");
  return sights;
}

std::optional<std::string> visible_now() {
  const char* value = visible_dies();
  return value != nullptr ? std::optional<std::string>(value) : std::nullopt;
}

void set(const char* name, const std::optional<std::string>& value) {
  if (value) setenv(name, value->c_str(), 1);
  else unsetenv(name);
}

// Inside a program that was started so, one die stands where the user's stood.
std::optional<std::string> take_back() {
  const auto before = dies::read_launched(environment().one_die, visible_dies());
  if (before) set(kVisibleDies, before->given);
  unsetenv(kOneDie);
  return visible_now();
}

}  // namespace

void choose_one_die(const policy::Options& options) {
  const std::optional<std::string> given = take_back();
  if (options.dies_present != policy::Present::one) return;
  const std::vector<dies::Sight> sights = sights_by_nvml();
  if (sights.empty()) return;
  const auto choice = dies::choose(options, sights, given ? given->c_str() : nullptr);
  if (!choice) return;
  set(kVisibleDies, choice->name);
  set(kOneDie, dies::write_launched({*choice, given}));
}

}  // namespace barswap::tools

// `barswap check`: what the policy comes to, or what is wrong with it.
#include <algorithm>
#include <cstdio>
#include <string>

#include "commands.hpp"
#include "policy_request.hpp"

namespace barswap::tools {
namespace {

std::string origin_of(const policy::Setting& setting) {
  if (setting.line == 0) return setting.source;
  return setting.source + ":" + std::to_string(setting.line);
}

void explain(const policy::Loaded& loaded) {
  int key_width = 0;
  int value_width = 0;
  for (const policy::Setting& setting : loaded.settings) {
    key_width = std::max(key_width, static_cast<int>(setting.key.size()));
    value_width = std::max(value_width, static_cast<int>(setting.value.size()));
  }
  value_width = std::min(value_width, 40);
  for (const policy::Setting& setting : loaded.settings)
    std::printf("%-*s = %-*s  # %s\n", key_width, setting.key.c_str(), value_width,
                setting.value.c_str(), origin_of(setting).c_str());
}

}  // namespace

int check(const CheckArguments& arguments) {
  std::string argv = arguments.argv.empty() ? arguments.program : arguments.argv;
  policy::Loaded loaded = policy::load(request_for(arguments.policy, arguments.program, argv));
  if (!loaded.ok()) {
    print_diagnostics(loaded);
    return kRefused;
  }
  for (const std::string& file : loaded.files) std::printf("# read %s\n", file.c_str());
  if (arguments.explain) explain(loaded);
  else std::printf("The policy is good.\n");
  return 0;
}

}  // namespace barswap::tools

#include "policy_request.hpp"

#include <cstdio>
#include <filesystem>

#include "base/environment.hpp"

namespace barswap::tools {

std::string merged_sets(const PolicyArguments& arguments) {
  std::string all = environment().set;
  for (const std::string& item : arguments.sets) all += (all.empty() ? "" : ";") + item;
  return all;
}

std::string chosen_policy_file(const PolicyArguments& arguments) {
  if (arguments.file.empty()) return environment().policy;
  std::error_code failed;
  std::filesystem::path whole = std::filesystem::absolute(arguments.file, failed);
  return failed ? arguments.file : whole.string();
}

policy::Request request_for(const PolicyArguments& arguments, const std::string& program,
                            const std::string& argv) {
  const Environment& variables = environment();
  policy::Request request;
  request.exe = program;
  request.argv = argv;
  request.policy_file = chosen_policy_file(arguments);
  std::string sets = merged_sets(arguments);
  if (!sets.empty()) request.sets.push_back(sets);
  request.shipped_apps_folder = BARSWAP_SHIPPED_FOLDER;
  request.system_folder = "/etc/barswap";
  if (*variables.config_home != '\0')
    request.user_folder = std::string(variables.config_home) + "/barswap";
  else if (*variables.home != '\0')
    request.user_folder = std::string(variables.home) + "/.config/barswap";
  return request;
}

std::string command_line(const std::vector<std::string>& words) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : " ") + word;
  return all;
}

void print_diagnostics(const policy::Loaded& loaded) {
  for (const policy::Diagnostic& diagnostic : loaded.diagnostics)
    std::fprintf(stderr, "%s\n", policy::text_of(diagnostic).c_str());
}

}  // namespace barswap::tools

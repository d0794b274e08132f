// `barswap run` and `barswap env`: refuse what cannot work, set the environment, exec.
#include <errno.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "base/environment.hpp"
#include "commands.hpp"
#include "executable.hpp"
#include "one_die.hpp"
#include "policy_request.hpp"
#include "preload.hpp"

namespace barswap::tools {
namespace {

struct Preparation {
  std::vector<std::pair<std::string, std::string>> variables;
  policy::Options options;
};

constexpr int kCannotExecute = 126;
constexpr int kNotFound = 127;

// 0, or the exit status after a refusal.
int prepare(const RunArguments& arguments, const std::string& program, Preparation& prepared) {
  std::string library = arguments.library.empty() ? find_library() : arguments.library;
  if (library.empty())
    return refuse(
        "libbarswap.so is neither in this command's build tree nor where it would be"
        " installed. Build all targets, or name the file with --library.");
  std::error_code failed;
  library = std::filesystem::canonical(library, failed).string();
  if (failed)
    return refuse("there is no file " + arguments.library + ". Name a built libbarswap.so.");
  if (library.find_first_of(" :;") != std::string::npos)
    return refuse("the path " + library +
                  " has a space or a colon in it, at which the loader would"
                  " cut LD_PRELOAD. Move Barswap to another folder.");

  policy::Loaded loaded =
      policy::load(request_for(arguments.policy, program, command_line(arguments.command)));
  if (!loaded.ok()) {
    print_diagnostics(loaded);
    return refuse("the policy has errors; the program was not started.");
  }
  prepared.options = loaded.options;
  auto& variables = prepared.variables;
  const char* preloads = std::getenv("LD_PRELOAD");
  variables.emplace_back("LD_PRELOAD", with_preload(preloads != nullptr ? preloads : "", library));
  std::string file = chosen_policy_file(arguments.policy);
  if (!file.empty()) variables.emplace_back("BARSWAP_POLICY", file);
  std::string sets = merged_sets(arguments.policy);
  if (!sets.empty()) variables.emplace_back("BARSWAP_SET", sets);
  return 0;
}

int check_driver() {
  if (environment().disable)
    return refuse(
        "BARSWAP_DISABLE=1 is set, with which the program would run without Barswap. Unset"
        " it, or start the program directly.");
  std::string missing = why_no_driver();
  if (missing.empty()) return 0;
  return refuse("no CUDA driver can be loaded (" + missing +
                "). Install the NVIDIA driver, or name"
                " the folder of libcuda.so.1 in LD_LIBRARY_PATH.");
}

std::string quoted(const std::string& text) {
  std::string all = "'";
  for (char letter : text) {
    if (letter == '\'') all += "'\\''";
    else all += letter;
  }
  return all + "'";
}

}  // namespace

int run(const RunArguments& arguments) {
  const std::string& name = arguments.command.front();
  std::string program = find_program(name);
  if (program.empty()) {
    refuse("there is no program " + name +
           " that you may execute. Give its path, or put its folder"
           " into PATH.");
    return kNotFound;
  }
  std::string obstacle = why_not_preloadable(program);
  if (!obstacle.empty()) return refuse(obstacle);
  Preparation prepared;
  if (int refused = prepare(arguments, program, prepared)) return refused;
  if (int refused = check_driver()) return refused;

  for (const auto& [key, value] : prepared.variables) setenv(key.c_str(), value.c_str(), 1);
  choose_one_die(prepared.options);
  std::vector<char*> argv;
  for (const std::string& word : arguments.command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  refuse("cannot start " + program + ": " + std::strerror(errno) + ".");
  return kCannotExecute;
}

// No die is chosen here: the shell would be nailed to it, and all that it ever starts.
int print_environment(const RunArguments& arguments) {
  Preparation prepared;
  if (int refused = prepare(arguments, "", prepared)) return refused;
  for (const auto& [key, value] : prepared.variables)
    std::printf("export %s=%s\n", key.c_str(), quoted(value).c_str());
  return 0;
}

}  // namespace barswap::tools

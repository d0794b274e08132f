// What to ask the policy room: the same folders, files and strings that the shim will use in the
// program's process.
#pragma once
#include <string>
#include <vector>

#include "commands.hpp"
#include "policy/load.hpp"

namespace barswap::tools {

// The files and strings of the environment come first, those of the command line after them.
policy::Request request_for(const PolicyArguments& arguments, const std::string& program,
                            const std::string& argv);

// The words of a command with spaces between them, as [[program]]'s argv is matched.
std::string command_line(const std::vector<std::string>& words);

// Prints each diagnostic on standard error.
void print_diagnostics(const policy::Loaded& loaded);

// BARSWAP_SET with the items of --set behind those that it has.
std::string merged_sets(const PolicyArguments& arguments);
// --policy, as an absolute path because the program may change its folder; else BARSWAP_POLICY.
std::string chosen_policy_file(const PolicyArguments& arguments);

}  // namespace barswap::tools

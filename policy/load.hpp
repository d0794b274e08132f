// Policy files, from folders and strings to Options. load() owns nothing after it returns. It reads
// files and nothing else: never the environment, never a lock, never CUDA. It never throws and
// never prints; what is wrong comes back as diagnostics.
//
// Layers, later wins:
//   1. built-in: the defaults of policy/schema.def
//   2. shipped   apps/NAME.toml, NAME being the file name of the program
//   3. system    policy.toml, its matching [[program]]s, then apps/NAME.toml
//   4. user      the same
//   5. the explicit policy file
//   6. the set strings
// Inside any file, matching [[program]]s win over the file's other keys, later ones over earlier.
// Rules of [[allocation]] are consulted from the last layer to the first, in order inside each.
// Files of layers 2 to 4 may be absent. A section for another program is checked all the same.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "policy/options.hpp"

namespace barswap::policy {

struct Request {
  std::string exe;          // the program, a path or a name
  std::string argv;         // its command line, words joined by spaces
  std::string policy_file;  // BARSWAP_POLICY or --policy; empty: none
  // BARSWAP_SET, then each --set. Each holds items `key=value`, separated by ; or newline.
  std::vector<std::string> sets;
  // Folders, each may be empty: no such layer.
  std::string shipped_apps_folder;  // holds NAME.toml
  std::string system_folder;        // /etc/barswap: holds policy.toml and apps/NAME.toml
  std::string user_folder;          // $XDG_CONFIG_HOME/barswap: the same
};

// An error. In set strings `file` is "--set", `line` the number of the item, `column` inside it.
struct Diagnostic {
  std::string file;
  std::uint32_t line = 1;
  std::uint32_t column = 1;
  std::string message;
  std::string nearest;  // the nearest real key or word; empty where none is meant
};

// `file:line:column: error: message; did you mean 'nearest'?`
std::string text_of(const Diagnostic& diagnostic);

// Which source set a key. One for each key, in the order of the schema, then one for each rule of
// [[allocation]] in the order of Options::allocations.
struct Setting {
  std::string key;
  std::string value;   // as it would be written in a file
  std::string source;  // a file, "--set" or "built-in"
  std::uint32_t line = 0;
  std::uint32_t column = 0;
};

struct Loaded {
  Options options;                 // only meaningful if ok()
  std::vector<std::string> files;  // those that took part, in the order of the layers
  std::vector<Setting> settings;
  std::vector<Diagnostic> diagnostics;
  bool ok() const { return diagnostics.empty(); }
};

Loaded load(const Request& request);

}  // namespace barswap::policy

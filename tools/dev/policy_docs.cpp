// Writes the pages that follow from policy/schema.def: the reference docs/policy.md and the sample
// docs/policy.sample.toml. `policy_docs DOCS` writes them; `policy_docs --check DOCS` fails if what
// stands there differs from what would be written.
#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "policy/schema.hpp"

namespace {

using barswap::policy::Condition;
using barswap::policy::Key;
using barswap::policy::Options;

struct Page {
  std::string name;
  std::string text;
};

std::string group_of(const Key& key) {
  const std::string name = key.name.string();
  return name.substr(0, name.rfind('.'));
}

std::string leaf_of(const Key& key) {
  const std::string name = key.name.string();
  return name.substr(name.rfind('.') + 1);
}

std::string accepted_by(const Key& key) {
  const std::string bounds = bounds_of(key.accepts);
  return forms_of(key.accepts) + (bounds.empty() ? "" : " (" + bounds + ")");
}

// Comment lines of at most 100 columns.
std::string comment(const std::string& text) {
  std::string lines, line = "#";
  std::size_t start = 0;
  while (start < text.size()) {
    const std::size_t end = std::min(text.find(' ', start), text.size());
    const std::string word = text.substr(start, end - start);
    if (line.size() + 1 + word.size() > 100) {
      lines += line + "\n";
      line = "#";
    }
    line += " " + word;
    start = end + 1;
  }
  return lines + line + "\n";
}

// A condition as a rule has it, with its example.
std::string example_of(const std::string& name) {
  for (const Condition& condition : barswap::policy::conditions())
    if (condition.name == name)
      return " " + name.substr(name.rfind('.') + 1) + " = " + condition.example + " ";
  return "";
}

std::string sample() {
  std::string text =
      "# Every key of Barswap's policy with its built-in value.\n"
      "# Generated from policy/schema.def by tools/dev/policy_docs; do not edit.\n"
      "# Copy what you change; what a file does not name keeps its value. docs/policy.md says "
      "where\n"
      "# files are looked for and which one wins.\n"
      "schema = 1\n";
  std::string group;
  for (const Key& key : barswap::policy::keys()) {
    if (group_of(key) != group) text += "\n[" + (group = group_of(key)) + "]\n";
    text += comment(key.sentence);
    text += comment("Accepts " + accepted_by(key) + ".");
    if (*key.cost != 0) text += comment(std::string("Cost: ") + key.cost);
    text += leaf_of(key) + " = " + key.write(key, Options{}) + "\n";
  }
  text +=
      "\n# Where single allocations go; the first rule that matches counts. The place is "
      "\"auto\",\n"
      "# \"resident\" (stays in HBM) or \"stream\" (lies on the host and is read in place).\n"
      "# [[allocation]]\n# match = {";
  text += example_of("allocation.match.size") + "}\n# place = \"stream\"\n";
  text +=
      "\n# Kernels that touch more than their parameters name, for paging.overlap = \"reach\", or "
      "that\n"
      "# stay on the die they are launched on, for routing.kernels = \"data\"; the first rule "
      "that\n"
      "# matches and says so counts. The reach is \"parameters\" or \"everything\", the route "
      "\"auto\"\n"
      "# or \"home\".\n"
      "# [[kernel]]\n# match = {" +
      example_of("kernel.match.name") + "}\n# reach = \"everything\"\n";
  text +=
      "\n# Other values for single programs: any keys as above, after what the program must "
      "match.\n"
      "# [[program]]\n# match = { exe = \"python3*\", argv = \"*train.py*\" }\n"
      "# vram.limit = \"8GiB\"\n";
  return text;
}

const char* const kOpening =
    R"(<!-- Generated from policy/schema.def by tools/dev/policy_docs; do not edit. -->
# The policy

A policy is TOML. Every file begins with `schema = 1`. [policy.sample.toml](policy.sample.toml)
holds every key with its built-in value. `barswap check --explain` shows each value and which file
set it.

## Where values come from
Later wins:
1. built-in: the defaults on this page;
2. the shipped `apps/NAME.toml`, where NAME is the file name of the program;
3. `/etc/barswap/policy.toml`, its matching `[[program]]` sections, `/etc/barswap/apps/NAME.toml`;
4. the same under `$XDG_CONFIG_HOME/barswap`;
5. the file named by `--policy` or `BARSWAP_POLICY`;
6. `--set key=value` or `BARSWAP_SET`, items separated by `;` or a new line. Quotes around a value
   may be left out: `--set vram.limit=4GiB`.

In any file, matching `[[program]]` sections win over the rest of the file, later ones over earlier.
Files of 2 to 4 may be absent. `[[allocation]]` and `[[kernel]]` rules add up: those of later
layers are asked first.

## How values are written
- a size: `"20GiB"`, `"1.5MiB"`; units B, KiB, MiB, GiB and TiB, all of 1024
- a share: `"80%"`
- a duration: `"50ms"`, `"2s"`
- a die: its number after CUDA_VISIBLE_DEVICES, or `"GPU-"` and the beginning of its UUID
- a pattern: `*` stands for any characters, `?` for one

## What is wrong is an error
Unknown keys, values of a wrong kind and values out of bounds are errors, with file, line, column
and the nearest key there is:
```
policy.toml:3:1: error: unknown key 'vram.limt'; did you mean 'vram.limit'?
```
`barswap run` then refuses to start the program. Under a bare LD_PRELOAD the program runs without
Barswap, after one line that says why. Sections for other programs are checked as well.

## Keys
)";

std::string reference() {
  std::string text = kOpening;
  for (const Key& key : barswap::policy::keys()) {
    text += "\n### " + key.name.string() + "\n" + key.sentence + "\n";
    text += "- default: `" + key.write(key, Options{}) + "`\n";
    text += "- accepts: " + accepted_by(key) + "\n";
    if (*key.cost != 0) text += std::string("- cost: ") + key.cost + "\n";
  }
  text +=
      "\n## [[allocation]]\n"
      "Where the allocations that match go. Each rule has `match`, a table of conditions that must "
      "all\nhold (`{}` matches everything), and `place`: `\"auto\"`, `\"resident\"` (stays in HBM) "
      "or `\"stream\"` (lies\non the host and is read in place). The first rule that matches "
      "counts.\n\n| condition | example | meaning |\n| --- | --- | --- |\n";
  std::string programs, kernels;
  for (const Condition& condition : barswap::policy::conditions()) {
    const std::string name = condition.name;
    const std::string row = "| `" + name.substr(name.rfind('.') + 1) + "` | `" + condition.example +
                            "` | " + condition.sentence + " |\n";
    (name.rfind("program.", 0) == 0  ? programs
     : name.rfind("kernel.", 0) == 0 ? kernels
                                     : text) += row;
  }
  text +=
      "\n## [[kernel]]\n"
      "What the kernels that match may touch, where `paging.overlap = \"reach\"` asks, and where "
      "they run, where\n`routing.kernels = \"data\"` asks. Each rule has `match`, as above, and "
      "one "
      "or both of\n"
      "- `reach`: `\"parameters\"` (what its parameters name, as without a rule) or "
      "`\"everything\"` (it follows\n  pointers kept in device memory: it waits for every page on "
      "its way, and turns wait for it);\n"
      "- `route`: `\"auto\"` (where its data is, as without a rule) or `\"home\"` (it stays on the "
      "die that it is\n  launched on).\n\n"
      "For each of them the first rule counts that matches and says it.\n\n"
      "| condition | example | meaning |\n| --- | --- | --- |\n" +
      kernels +
      "\n## [[program]]\n"
      "Values for the programs that match. Besides `match`, a section holds any keys of this "
      "page,\n"
      "dotted or as tables, and `[[program.allocation]]` and `[[program.kernel]]` rules, which are "
      "asked before\n"
      "those of the file.\n\n| condition | example | meaning |\n| --- | --- | --- |\n" +
      programs + "\n## Not in this version\n";
  for (const std::string_view key : barswap::policy::later_keys())
    text += "- `" + std::string(key) + "`\n";
  return text;
}

std::string read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

}  // namespace

int main(int count, char** words) {
  const bool check = count == 3 && std::string(words[1]) == "--check";
  if (count != 2 && !check) {
    std::cerr << "usage: policy_docs [--check] DOCS\n";
    return 2;
  }
  const std::string folder = words[count - 1];
  int status = 0;
  for (const Page& page : {Page{"policy.md", reference()}, Page{"policy.sample.toml", sample()}}) {
    const std::string path = folder + "/" + page.name;
    if (check && read(path) != page.text) {
      std::cerr << path << " is not what policy/schema.def says; run policy_docs " << folder
                << "\n";
      status = 1;
    }
    if (!check && !(std::ofstream(path, std::ios::binary) << page.text)) {
      std::cerr << path << " cannot be written\n";
      status = 1;
    }
  }
  return status;
}

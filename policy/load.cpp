#include "policy/load.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "policy/read.hpp"

namespace barswap::policy {
namespace {

// A broken file is told in so many lines, not in thousands.
constexpr std::size_t kDiagnosticsMax = 20;

// A text of a layer that was read, or why it was not.
struct Text {
  std::string bytes;
  int error = 0;
  const char* why = nullptr;
};

Text read_file(const std::string& path) {
  Text text;
  // Not blocking: a pipe in the place of a file must not hold up the program.
  const int file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (file < 0) {
    text.error = errno;
    return text;
  }
  struct stat facts {};
  if (::fstat(file, &facts) == 0 && !S_ISREG(facts.st_mode)) text.why = "not a regular file";
  char buffer[4096];
  // One byte over the limit is enough for the parser to refuse the text.
  while (text.why == nullptr && text.bytes.size() <= kFileBytesMax) {
    const ssize_t got = ::read(file, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) text.error = errno;
    if (got <= 0) break;
    text.bytes.append(buffer, static_cast<std::size_t>(got));
  }
  ::close(file);
  return text;
}

// By hand: strerror's words follow the program's locale and its buffer is shared.
std::string words_of(int error) {
  switch (error) {
    case ENOENT: return "no such file";
    case ENOTDIR: return "a part of its path is not a folder";
    case EACCES: return "permission denied";
    case ELOOP: return "too many links";
    case EMFILE: return "too many open files";
    default: return "error " + std::to_string(error);
  }
}

// Where the first item of a set string ends: at ; or newline, except inside quotes.
std::size_t end_of_item(std::string_view text) {
  char quote = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote == '"' && c == '\\') {
      ++i;  // what it escapes closes nothing
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == ';' || c == '\n') {
      return i;
    }
  }
  return text.size();
}

std::vector<std::string_view> items_of(std::string_view text) {
  std::vector<std::string_view> items;
  while (!text.empty()) {
    const std::size_t end = end_of_item(text);
    const std::string_view item = text.substr(0, end);
    const std::size_t first = item.find_first_not_of(" \t\r");
    if (first != item.npos)
      items.push_back(item.substr(first, item.find_last_not_of(" \t\r") - first + 1));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return items;
}

// Whether `name` lies in the table `group`.
bool is_inside(std::string_view name, std::string_view group) {
  return name.size() > group.size() && name.starts_with(group) && name[group.size()] == '.';
}

// Of a table that nobody knows, the keys inside say best what was meant.
template <class Tell>
void each_leaf(const Entry& entry, const std::string& name, const Tell& tell) {
  const bool is_leaf = entry.value.kind != Value::Kind::table || entry.value.entries.empty();
  if (is_leaf) return tell(entry, name);
  for (const Entry& inner : entry.value.entries) each_leaf(inner, name + "." + inner.key, tell);
}

class Layering {
 public:
  explicit Layering(const Request& request);
  void file(const std::string& path, bool may_be_absent);
  void folder(const std::string& path);
  void apps(const std::string& folder);
  void set(std::string_view item, std::uint32_t number);
  Loaded take() &&;

 private:
  // Where a text's values go: into the options, or, for another program's section, nowhere.
  struct Target {
    Options& options;
    bool counts;
  };
  void document(const Document& document, bool is_file);
  void table(const Value& table, const std::string& prefix, Target target, bool is_root);
  void entry(const Entry& entry, const std::string& name, Target target, bool is_root);
  void key(const Key& key, const Value& value, Target target);
  template <class Rule>
  void rules(const Value& list, const char* kind, Target target, std::vector<Rule>& rules);
  void programs(const Value& list);
  void program(const Value& section);
  void schema(const Value& root);
  void publish_rules();
  void agreement();
  void problem(const Problem& problem);

  const Request& request_;
  Loaded loaded_;
  // Rules, and where they stand; those of another text are asked before or after all of them.
  struct Rules {
    std::vector<AllocationRule> allocations;
    std::vector<KernelRule> kernels;
    std::vector<Setting> settings;
    void append(const Rules& later);
  };
  Rules rules_;  // of the texts so far
  Rules new_;    // of the text in hand
  std::string source_;      // the text in hand
  std::uint32_t item_ = 0;  // in set strings, its number
};

Layering::Layering(const Request& request) : request_(request) {
  for (const Key& key : keys())
    loaded_.settings.push_back(
        {key.name.string(), key.write(key, loaded_.options), "built-in", 0, 0});
}

void Layering::problem(const Problem& problem) {
  if (loaded_.diagnostics.size() >= kDiagnosticsMax) return;
  const std::uint32_t line = item_ != 0 ? item_ : problem.at.line;
  loaded_.diagnostics.push_back(
      {source_, line, problem.at.column, printable(problem.message), problem.nearest});
}

void Layering::file(const std::string& path, bool may_be_absent) {
  const Text text = read_file(path);
  if (may_be_absent && (text.error == ENOENT || text.error == ENOTDIR)) return;
  source_ = path;
  loaded_.files.push_back(path);
  if (text.error != 0) return problem({{}, "cannot be read: " + words_of(text.error)});
  if (text.why != nullptr) return problem({{}, std::string("cannot be read: ") + text.why});
  document(parse_document(text.bytes), true);
}

void Layering::apps(const std::string& folder) {
  const std::string_view name = name_of_path(request_.exe);
  if (folder.empty() || name.empty()) return;
  file(folder + "/" + std::string(name) + ".toml", true);
}

void Layering::folder(const std::string& path) {
  if (path.empty()) return;
  file(path + "/policy.toml", true);
  apps(path + "/apps");
}

void Layering::set(std::string_view item, std::uint32_t number) {
  source_ = "--set";
  item_ = number;
  document(parse_item(item), false);
  item_ = 0;
}

void Layering::document(const Document& document, bool is_file) {
  if (document.problem) return problem(*document.problem);
  if (is_file) schema(document.root);
  table(document.root, "", {loaded_.options, true}, true);
  for (const Entry& entry : document.root.entries)
    if (entry.key == "program") programs(entry.value);
  publish_rules();
}

void Layering::schema(const Value& root) {
  const auto entry = std::find_if(root.entries.begin(), root.entries.end(),
                                  [](const Entry& e) { return e.key == "schema"; });
  if (entry == root.entries.end()) return problem({{}, "missing 'schema = 1'"});
  const Value& value = entry->value;
  if (value.kind == Value::Kind::integer && value.integer == 1) return;
  const std::string found =
      value.kind == Value::Kind::integer ? std::to_string(value.integer) : seen(value);
  problem(
      {value.at, "schema = " + found + " is not known to this version, which knows schema = 1"});
}

void Layering::table(const Value& table, const std::string& prefix, Target target, bool is_root) {
  for (const Entry& entry : table.entries)
    this->entry(entry, prefix.empty() ? entry.key : prefix + "." + entry.key, target, is_root);
}

void Layering::entry(const Entry& entry, const std::string& name, Target target, bool is_root) {
  // A file's schema was looked at before. Programs come after all other keys.
  if (is_root && name == "program") return;
  if (name == "schema") {
    if (!is_root || item_ != 0) problem({entry.at, "'schema' stands at the head of a file only"});
    return;
  }
  if (name == "allocation") return rules(entry.value, "allocation", target, new_.allocations);
  if (name == "kernel") return rules(entry.value, "kernel", target, new_.kernels);
  for (const std::string_view later : later_keys())
    if (name == later || is_inside(name, later))
      return each_leaf(entry, name, [this](const Entry& leaf, const std::string& key) {
        problem({leaf.at, "'" + key + "' is not in this version"});
      });
  for (const Key& key : keys())
    if (name == std::string_view(key.name)) return this->key(key, entry.value, target);
  const bool is_group = std::any_of(keys().begin(), keys().end(),
                                    [&](const Key& key) { return is_inside(key.name, name); }) ||
                        std::any_of(later_keys().begin(), later_keys().end(),
                                    [&](std::string_view later) { return is_inside(later, name); });
  if (!is_group)
    return each_leaf(entry, name, [this](const Entry& leaf, const std::string& key) {
      problem(unknown_key(key, leaf.at));
    });
  if (entry.value.kind != Value::Kind::table)
    return problem({entry.value.at, "'" + name + "' is a table of keys, not " + seen(entry.value)});
  table(entry.value, name, target, false);
}

void Layering::key(const Key& key, const Value& value, Target target) {
  if (const auto wrong = key.read(key, value, target.options)) return problem(*wrong);
  if (!target.counts) return;
  const auto index = static_cast<std::size_t>(&key - keys().data());
  loaded_.settings[index] = {key.name.string(), key.write(key, target.options), source_,
                             item_ != 0 ? item_ : value.at.line, value.at.column};
}

void Layering::Rules::append(const Rules& later) {
  allocations.insert(allocations.end(), later.allocations.begin(), later.allocations.end());
  kernels.insert(kernels.end(), later.kernels.begin(), later.kernels.end());
  settings.insert(settings.end(), later.settings.begin(), later.settings.end());
}

template <class Rule>
void Layering::rules(const Value& list, const char* kind, Target target,
                     std::vector<Rule>& rules) {
  if (list.kind != Value::Kind::list)
    return problem({list.at, std::string(kind) + " wants [[" + kind + "]], not " + seen(list)});
  for (const Value& value : list.items) {
    Rule rule;
    if (const auto wrong = read_rule(value, rule)) {
      problem(*wrong);
    } else if (target.counts) {
      rules.push_back(rule);
      new_.settings.push_back({kind, write_rule(rule), source_,
                               item_ != 0 ? item_ : value.at.line, value.at.column});
    }
  }
}

void Layering::programs(const Value& list) {
  if (list.kind != Value::Kind::list)
    return problem({list.at, "program wants [[program]], not " + seen(list)});
  for (const Value& section : list.items) {
    // A section's rules come before those of the file around it.
    const Rules outer = std::exchange(new_, {});
    program(section);
    new_.append(outer);
  }
}

void Layering::program(const Value& section) {
  if (section.kind != Value::Kind::table)
    return problem({section.at, "program wants [[program]], not " + seen(section)});
  ProgramMatch match;
  bool has_match = false, is_good = true;
  Value keys_only;
  for (const Entry& entry : section.entries) {
    if (entry.key != "match") {
      keys_only.entries.push_back(entry);
    } else if (const auto wrong = read_match(entry.value, match)) {
      problem(*wrong);
      is_good = false;
    } else {
      has_match = true;
    }
  }
  if (is_good && !has_match) problem({section.at, "this [[program]] has no 'match'"});
  const bool counts = has_match && meets(match, request_.exe, request_.argv);
  Options nowhere;
  table(keys_only, "", {counts ? loaded_.options : nowhere, counts}, false);
}

void Layering::publish_rules() {
  new_.append(rules_);
  rules_ = std::exchange(new_, {});
}

// Keys that stand alone each and cannot be together. Told where the one was set that asks for the
// other.
void Layering::agreement() {
  const Options& options = loaded_.options;
  if (!loaded_.ok() || options.routing_kernels != Kernels::data ||
      options.dies_present == Present::pooled)
    return;
  const auto setting = [&](const char* key) {
    return std::find_if(loaded_.settings.begin(), loaded_.settings.end(),
                        [&](const Setting& known) { return known.key == key; });
  };
  const auto asks = setting("routing.kernels"), needs = setting("dies.present");
  loaded_.diagnostics.push_back(
      {asks->source, asks->line, asks->column,
       "routing.kernels = \"data\" needs dies.present = \"pooled\", which is " + needs->value +
           ": set that, or leave routing.kernels at \"home\"",
       ""});
}

Loaded Layering::take() && {
  agreement();
  loaded_.options.allocations = std::move(rules_.allocations);
  loaded_.options.kernels = std::move(rules_.kernels);
  loaded_.settings.insert(loaded_.settings.end(), rules_.settings.begin(), rules_.settings.end());
  return std::move(loaded_);
}

}  // namespace

Loaded load(const Request& request) {
  Layering layers(request);
  layers.apps(request.shipped_apps_folder);
  layers.folder(request.system_folder);
  layers.folder(request.user_folder);
  if (!request.policy_file.empty()) layers.file(request.policy_file, false);
  std::uint32_t number = 0;
  for (const std::string& text : request.sets)
    for (const std::string_view item : items_of(text)) layers.set(item, ++number);
  return std::move(layers).take();
}

std::string text_of(const Diagnostic& diagnostic) {
  std::string text = diagnostic.file + ":" + std::to_string(diagnostic.line) + ":" +
                     std::to_string(diagnostic.column) + ": error: " + diagnostic.message;
  if (!diagnostic.nearest.empty()) text += "; did you mean '" + diagnostic.nearest + "'?";
  return text;
}

}  // namespace barswap::policy

// Any bytes as a policy. The first byte says whether the rest is a file or a set string. Beyond not
// crashing, it must hold that every error names a place and stays one line, and that an accepted
// policy, written out key by key and read again, is the same policy.
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>

#include "policy/load.hpp"

namespace {

using barswap::policy::Diagnostic;
using barswap::policy::Loaded;
using barswap::policy::Request;
using barswap::policy::Setting;

void promise(bool kept, const std::string& what) {
  if (kept) return;
  std::fprintf(stderr, "broken promise: %s\n", what.c_str());
  std::abort();
}

// A file without a name on any disk.
class MemoryFile {
 public:
  explicit MemoryFile(const std::string& text) : file_(::memfd_create("policy", MFD_CLOEXEC)) {
    promise(::write(file_, text.data(), text.size()) == static_cast<ssize_t>(text.size()),
            "the text was written");
  }
  MemoryFile(const MemoryFile&) = delete;
  MemoryFile& operator=(const MemoryFile&) = delete;
  ~MemoryFile() { ::close(file_); }
  std::string path() const { return "/proc/self/fd/" + std::to_string(file_); }

 private:
  int file_;
};

Loaded load_text(bool as_file, const std::string& text) {
  Request request;
  request.exe = "/usr/bin/app";
  request.argv = "app --size 4";
  if (!as_file) {
    request.sets = {text};
    return barswap::policy::load(request);
  }
  const MemoryFile file(text);
  request.policy_file = file.path();
  return barswap::policy::load(request);
}

void check_diagnostic(const Diagnostic& diagnostic) {
  const std::string text = barswap::policy::text_of(diagnostic);
  promise(text.find('\n') == std::string::npos, "an error is one line: " + text);
  promise(diagnostic.line >= 1 && diagnostic.column >= 1, "an error names a place: " + text);
}

// A policy in several lines may be more than a line of a policy may hold.
bool fits_a_line(const std::string& text) {
  return text.size() <= 1900 && std::count(text.begin(), text.end(), '.') <= 35;
}

void check_same_again(const Loaded& loaded) {
  Request request;
  std::map<std::string, std::string> rules{{"allocation", ""}, {"kernel", ""}};
  for (const Setting& setting : loaded.settings) {
    if (const auto kind = rules.find(setting.key); kind != rules.end())
      kind->second += (kind->second.empty() ? "" : ", ") + setting.value;
    else if (!fits_a_line(setting.value)) return;
    else request.sets.push_back(setting.key + " = " + setting.value);
  }
  for (const auto& [kind, list] : rules) {
    if (!fits_a_line(list)) return;
    request.sets.push_back(kind + " = [" + list + "]");
  }
  const Loaded again = barswap::policy::load(request);
  for (const Diagnostic& diagnostic : again.diagnostics)
    promise(false, "what was written reads: " + barswap::policy::text_of(diagnostic));
  promise(again.options == loaded.options, "what was written reads as the same");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t count) {
  if (count == 0) return 0;
  const std::string text(reinterpret_cast<const char*>(bytes) + 1, count - 1);
  const Loaded loaded = load_text(bytes[0] != '=', text);
  for (const Diagnostic& diagnostic : loaded.diagnostics) check_diagnostic(diagnostic);
  if (loaded.ok()) check_same_again(loaded);
  return 0;
}

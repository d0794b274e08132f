#include "session/own_policy.hpp"

#include <unistd.h>

#include <atomic>
#include <cstdio>

#include "base/environment.hpp"
#include "session/paths.hpp"

namespace barswap::session {
namespace {

std::string read_words(const char* path) {
  std::string words;
  if (std::FILE* file = std::fopen(path, "re")) {
    char buffer[4096];
    for (std::size_t size; (size = std::fread(buffer, 1, sizeof buffer, file)) > 0;)
      words.append(buffer, size);
    std::fclose(file);
  }
  while (!words.empty() && words.back() == '\0') words.pop_back();
  for (char& letter : words)
    if (letter == '\0') letter = ' ';
  return words;
}

std::string executable() {
  char path[4096];
  const ssize_t size = readlink("/proc/self/exe", path, sizeof path - 1);
  return size > 0 ? std::string(path, static_cast<std::size_t>(size)) : std::string();
}

policy::Request request_from(const Environment& environment) {
  policy::Request request;
  request.exe = executable();
  request.argv = read_words("/proc/self/cmdline");
  request.policy_file = environment.policy;
  if (*environment.set) request.sets.push_back(environment.set);
  request.shipped_apps_folder = kShippedAppsFolder;
  request.system_folder = "/etc/barswap";
  if (*environment.config_home)
    request.user_folder = std::string(environment.config_home) + "/barswap";
  else if (*environment.home)
    request.user_folder = std::string(environment.home) + "/.config/barswap";
  return request;
}

}  // namespace

const OwnPolicy& own_policy() {
  static constinit std::atomic<const OwnPolicy*> known{nullptr};
  if (const OwnPolicy* own = known.load(std::memory_order_acquire)) return *own;
  const policy::Request request = request_from(environment());
  const auto* own =
      new OwnPolicy{request.exe.substr(request.exe.rfind('/') + 1), policy::load(request)};
  const OwnPolicy* none = nullptr;
  if (known.compare_exchange_strong(none, own, std::memory_order_acq_rel)) return *own;
  delete own;
  return *none;
}

}  // namespace barswap::session

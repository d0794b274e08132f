#include "preload.hpp"

#include <dlfcn.h>

#include <filesystem>
#include <sstream>
#include <vector>

namespace barswap::tools {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLibrary = "libbarswap.so";

bool is_sanitizer_runtime(const std::string& file) {
  for (const char* start : {"libasan.", "libtsan.", "libubsan.", "liblsan.", "libclang_rt."})
    if (file.rfind(start, 0) == 0) return true;
  return false;
}

// The loader takes both spaces and colons for separators.
std::string spaced(std::string entries) {
  for (char& letter : entries)
    if (letter == ':') letter = ' ';
  return entries;
}

}  // namespace

std::string find_library() {
  std::error_code failed;
  fs::path here = fs::read_symlink("/proc/self/exe", failed).parent_path();
  if (failed) return "";
  const fs::path candidates[] = {
      here / "../../shim/interpose" / kLibrary,  // the build tree
      here / ".." / BARSWAP_LIBDIR / kLibrary,
      here / "../lib" / kLibrary,
      here / kLibrary,  // a folder that was carried to another machine
  };
  for (const fs::path& candidate : candidates)
    if (fs::is_regular_file(candidate, failed)) return fs::canonical(candidate, failed);
  return "";
}

std::string with_preload(const std::string& current, const std::string& library) {
  std::istringstream entries(spaced(current));
  std::string first;
  std::string rest;
  for (std::string entry; entries >> entry;) {
    std::string file = fs::path(entry).filename();
    if (file == kLibrary || entry == library) continue;
    if (is_sanitizer_runtime(file)) first += entry + ":";
    else rest += ":" + entry;
  }
  return first + library + rest;
}

std::string without_preload(const std::string& current) {
  std::istringstream entries(spaced(current));
  std::string rest;
  for (std::string entry; entries >> entry;)
    if (fs::path(entry).filename() != kLibrary) rest += (rest.empty() ? "" : ":") + entry;
  return rest;
}

std::string why_no_driver() {
  void* driver = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_LOCAL);
  if (driver == nullptr) return dlerror();
  dlclose(driver);
  return "";
}

}  // namespace barswap::tools

#include "executable.hpp"

#include <elf.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <vector>

namespace barswap::tools {
namespace {

namespace fs = std::filesystem;

#if defined(__x86_64__)
constexpr unsigned kMachine = EM_X86_64;
#elif defined(__aarch64__)
constexpr unsigned kMachine = EM_AARCH64;
#else
#error "Barswap knows x86-64 and aarch64."
#endif

bool can_run(const std::string& path) {
  struct stat status;
  return stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         access(path.c_str(), X_OK) == 0;
}

// The kernel marks such a program as secure, and then the loader ignores LD_PRELOAD.
bool gains_rights(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) return false;
  if ((status.st_mode & S_ISUID) != 0 && status.st_uid != getuid()) return true;
  if ((status.st_mode & S_ISGID) != 0 && status.st_gid != getgid()) return true;
  return getuid() != 0 && getxattr(path.c_str(), "security.capability", nullptr, 0) > 0;
}

std::string interpreter_of_script(std::istream& file) {
  file.clear();
  file.seekg(2);
  std::string line;
  std::getline(file, line);
  std::istringstream words(line);
  std::string interpreter;
  words >> interpreter;
  return interpreter;
}

// The loader that the ELF file asks for; empty when it asks for none. `header` has been read.
std::string loader_of(std::istream& file, const Elf64_Ehdr& header) {
  for (int i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr segment;
    file.clear();
    file.seekg(
        static_cast<std::streamoff>(header.e_phoff + static_cast<unsigned>(i) * sizeof segment));
    if (!file.read(reinterpret_cast<char*>(&segment), sizeof segment)) return "";
    if (segment.p_type != PT_INTERP || segment.p_filesz > 4096) continue;
    std::vector<char> text(segment.p_filesz + 1, '\0');
    file.seekg(static_cast<std::streamoff>(segment.p_offset));
    file.read(text.data(), static_cast<std::streamsize>(segment.p_filesz));
    return text.data();
  }
  return "";
}

std::string why_not_elf(std::istream& file, const std::string& path) {
  Elf64_Ehdr header = {};
  file.clear();
  file.seekg(0);
  file.read(reinterpret_cast<char*>(&header), sizeof header);
  if (header.e_ident[EI_CLASS] != ELFCLASS64)
    return path +
           " is a 32-bit program, and CUDA has had no 32-bit driver library since 2023. Run a"
           " 64-bit build of it.";
  if (header.e_machine != kMachine)
    return path +
           " is built for another processor than this libbarswap.so. Run a build for this"
           " machine.";
  std::string loader = loader_of(file, header);
  bool is_loader = fs::path(path).filename().string().rfind("ld-", 0) == 0;
  if (loader.empty() && !is_loader)
    return path +
           " is linked statically, so no loader runs that could preload anything. Link it"
           " dynamically; a static CUDA runtime inside it is no obstacle.";
  if (loader.find("ld-musl") != std::string::npos)
    return path + " uses the musl C library, and libbarswap.so needs glibc. Run a build for glibc.";
  return "";
}

std::string why_not(const std::string& path, int depth) {
  constexpr int kScriptDepthMax = 4;  // what the kernel allows, too
  if (gains_rights(path))
    return path +
           " runs with other rights than yours (setuid, setgid or file capabilities), and the"
           " loader ignores LD_PRELOAD then. Run a copy without them.";
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  file.read(magic, sizeof magic);
  if (std::memcmp(magic, ELFMAG, SELFMAG) == 0) return why_not_elf(file, path);
  if (magic[0] == '#' && magic[1] == '!' && depth < kScriptDepthMax) {
    std::string interpreter = interpreter_of_script(file);
    if (can_run(interpreter)) return why_not(interpreter, depth + 1);
  }
  return "";
}

}  // namespace

std::string find_program(const std::string& name) {
  if (name.find('/') != std::string::npos) return can_run(name) ? name : "";
  const char* path = std::getenv("PATH");
  std::istringstream folders(path != nullptr ? path : "/bin:/usr/bin");
  for (std::string folder; std::getline(folders, folder, ':');) {
    std::string candidate = (folder.empty() ? "." : folder) + "/" + name;
    if (can_run(candidate)) return candidate;
  }
  return "";
}

std::string why_not_preloadable(const std::string& path) { return why_not(path, 0); }

}  // namespace barswap::tools

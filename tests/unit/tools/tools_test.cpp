// LD_PRELOAD as the launcher writes it, and programs as the launcher judges them.
#include <doctest/doctest.h>
#include <elf.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "tools/barswap/executable.hpp"
#include "tools/barswap/preload.hpp"

using barswap::tools::find_program;
using barswap::tools::why_not_preloadable;
using barswap::tools::with_preload;
using barswap::tools::without_preload;
namespace fs = std::filesystem;

namespace {

struct Folder {
  fs::path path;
  Folder() {
    char made[] = "/tmp/barswap-tools-XXXXXX";
    path = mkdtemp(made);
  }
  ~Folder() { fs::remove_all(path); }
  std::string file(const std::string& name, const std::string& content) {
    fs::path whole = path / name;
    std::ofstream(whole, std::ios::binary) << content;
    chmod(whole.c_str(), 0755);
    return whole;
  }
};

// A file that is no more than an ELF header.
std::string elf(unsigned char word_class, unsigned machine) {
  Elf64_Ehdr header = {};
  std::copy_n(ELFMAG, SELFMAG, header.e_ident);
  header.e_ident[EI_CLASS] = word_class;
  header.e_machine = static_cast<Elf64_Half>(machine);
  return {reinterpret_cast<const char*>(&header), sizeof header};
}

bool says(const std::string& text, const char* part) {
  return text.find(part) != std::string::npos;
}

}  // namespace

TEST_CASE("the library is preloaded once, before others, behind a sanitizer's runtime") {
  const std::string ours = "/opt/barswap/libbarswap.so";
  CHECK(with_preload("", ours) == ours);
  CHECK(with_preload(ours, ours) == ours);
  CHECK(with_preload("/a.so", ours) == ours + ":/a.so");
  CHECK(with_preload("/a.so /b.so", ours) == ours + ":/a.so:/b.so");
  CHECK(with_preload("/a.so:" + ours + ":/b.so", ours) == ours + ":/a.so:/b.so");
  CHECK(with_preload("/old/libbarswap.so", ours) == ours);
  CHECK(with_preload("/usr/lib/libasan.so.8:/a.so", ours) ==
        "/usr/lib/libasan.so.8:" + ours + ":/a.so");
  CHECK(with_preload("::  :", ours) == ours);
  // Saying it twice changes nothing.
  CHECK(with_preload(with_preload("/usr/lib/libtsan.so.2:/a.so", ours), ours) ==
        with_preload("/usr/lib/libtsan.so.2:/a.so", ours));
}

TEST_CASE("without our preload the others stay") {
  CHECK(without_preload("") == "");
  CHECK(without_preload("/x/libbarswap.so") == "");
  CHECK(without_preload("/a.so:/x/libbarswap.so /b.so") == "/a.so:/b.so");
}

TEST_CASE("a dynamic program of this machine is preloadable, and so is a script that it runs") {
  Folder folder;
  CHECK(why_not_preloadable(find_program("sh")) == "");
  CHECK(why_not_preloadable(folder.file("script", "#!/bin/sh\nexit 0\n")) == "");
  CHECK(why_not_preloadable(folder.file("spaced", "#! /usr/bin/env sh\n")) == "");
}

TEST_CASE("what the loader would not preload is named") {
  Folder folder;
  CHECK(says(why_not_preloadable(folder.file("old", elf(ELFCLASS32, EM_386))), "32-bit"));
  CHECK(says(why_not_preloadable(folder.file("other", elf(ELFCLASS64, EM_S390))),
             "another processor"));
#if defined(__x86_64__)
  std::string fixed = folder.file("fixed", elf(ELFCLASS64, EM_X86_64));
#else
  std::string fixed = folder.file("fixed", elf(ELFCLASS64, EM_AARCH64));
#endif
  CHECK(says(why_not_preloadable(fixed), "statically"));
  CHECK(says(why_not_preloadable(folder.file("script", "#!" + fixed + "\n")), "statically"));
}

TEST_CASE("a program that gains rights is named") {
  Folder folder;
  std::string program = folder.file("program", "#!/bin/sh\n");
  // Only root can give a file to somebody else.
  if (geteuid() == 0) {
    REQUIRE(chown(program.c_str(), 12345, 12345) == 0);
    REQUIRE(chmod(program.c_str(), 04755) == 0);
    CHECK(says(why_not_preloadable(program), "setuid"));
    REQUIRE(chmod(program.c_str(), 02755) == 0);
    CHECK(says(why_not_preloadable(program), "setgid"));
  }
  REQUIRE(chmod(program.c_str(), 0755) == 0);
  CHECK(why_not_preloadable(program) == "");
}

TEST_CASE("programs are found as execvp finds them") {
  Folder folder;
  folder.file("barswap-test-program", "#!/bin/sh\n");
  std::string path = std::getenv("PATH");
  setenv("PATH", ("/nowhere:" + folder.path.string()).c_str(), 1);
  CHECK(find_program("barswap-test-program") == folder.path / "barswap-test-program");
  CHECK(find_program("barswap-no-such-program") == "");
  setenv("PATH", path.c_str(), 1);
  CHECK(find_program("/nowhere/at/all") == "");
  CHECK(find_program(folder.path) == "");
}

TEST_CASE("a script that names itself does not hang the launcher") {
  Folder folder;
  std::string name = (folder.path / "loop").string();
  folder.file("loop", "#!" + name + "\n");
  CHECK(why_not_preloadable(name) == "");
}

// Folders of policy files that a test owns, and that are gone when it ends.
#pragma once
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "policy/load.hpp"

namespace barswap::policy::test {

class Folders {
 public:
  Folders() {
    std::string pattern =
        (std::filesystem::temp_directory_path() / "barswap-policy-XXXXXX").string();
    root_ = ::mkdtemp(pattern.data());
  }
  Folders(const Folders&) = delete;
  Folders& operator=(const Folders&) = delete;
  ~Folders() { std::filesystem::remove_all(root_); }

  std::string path(std::string_view name) const { return (root_ / name).string(); }
  std::string write(std::string_view name, std::string_view text) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name, std::ios::binary) << text;
    return path(name);
  }
  Request request() const {
    Request request;
    request.exe = "/usr/bin/app";
    request.argv = "app --size 4";
    request.shipped_apps_folder = path("shipped");
    request.system_folder = path("system");
    request.user_folder = path("user");
    return request;
  }

 private:
  std::filesystem::path root_;
};

}  // namespace barswap::policy::test

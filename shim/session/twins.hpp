// Twins: the kernels of a module belong to one context (CUfunction); those of a library run on any
// die. Once a kernel of one of the program's modules is wanted elsewhere, the module's image is
// loaded once more, as a library of our own, whose kernels are the twins.
//
// It owns copies of images that were not loaded yet, and the libraries. Guarded by the router's
// lock; whoever loads or unloads a library does that outside of it, since the driver may wait for
// the device.
#pragma once
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "driver/verbs.hpp"

namespace barswap::session {

class Twins {
 public:
  explicit Twins(const driver::Verbs& verbs) : verbs_(verbs) {}
  Twins(const Twins&) = delete;
  Twins& operator=(const Twins&) = delete;

  void loaded(driver::Module module, driver::Code code);
  void gone(driver::Module module);
  void all_gone();  // with their context
  // False: it is none that was loaded from an image that we saw.
  bool variables_asked(driver::Module module);

  // Whose image is to be loaded, so that this function has a twin; at most once for each module.
  struct Wanted {
    driver::Module module = driver::Module::none;
    std::uint64_t number = 0;
    std::shared_ptr<const driver::Code> code;
  };
  std::optional<Wanted> wanted(driver::Function function);
  // False: the module is gone meanwhile, and nobody needs the library.
  bool made(const Wanted& wanted, driver::Library library);
  struct Twin {
    driver::Library library = driver::Library::none;
    bool asked = false;  // the program has asked for addresses of the module's variables
  };
  std::optional<Twin> of(driver::Function function) const;
  // Libraries that nobody needs any more.
  std::vector<driver::Library> take_unneeded();

 private:
  struct Entry {
    std::uint64_t number = 0;                  // handles come again
    std::shared_ptr<const driver::Code> code;  // null: loaded, or it cannot be
    Twin twin;
  };
  void drop(const Entry& entry);

  const driver::Verbs& verbs_;
  std::unordered_map<driver::Module, Entry> modules_;
  // Of images that were not loaded yet. Beyond the bound a module has no twin.
  static constexpr std::uint64_t kKeptMost = 256_MiB;
  std::uint64_t loads_ = 0, kept_bytes_ = 0;
  std::vector<driver::Library> unneeded_;
};

}  // namespace barswap::session

// Kernels: which of the program's kernels may run on another die than they were launched on. One
// may if it is a CUkernel, if its image keeps nothing in a context (globals, constants that are
// written, printf, malloc), and if no rule says otherwise. What nobody can say counts as no.
//
// It remembers its answers by handle until an image is unloaded. Guarded by the router's lock.
#pragma once
#include <cstdint>
#include <optional>
#include <unordered_map>

#include "barswap/stats.h"
#include "driver/verbs.hpp"
#include "image/state.hpp"
#include "policy/options.hpp"

namespace barswap::session {

class Kernels {
 public:
  // `capability`: of the dies, as image::read takes it.
  Kernels(const driver::Verbs& verbs, const policy::Options& options, unsigned capability)
      : verbs_(verbs), options_(options), capability_(capability) {}
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  // Why it stays; nothing: it may go.
  std::optional<barswap_kept> kept(driver::Function function);
  // Its attributes hold on `die` as they do on `home`, once that has been said.
  bool prepare(driver::Function function, Die home, Die die);
  void attributes_changed(driver::Function function);
  // The driver would not have it on another die.
  void refuse(driver::Function function);

  // A library was loaded from these bytes, and is gone. `stays`: they are there as long as it is.
  void loaded(driver::Library library, const void* bytes, bool stays);
  void unloaded(driver::Library library);
  // The program has asked for the address of a variable, so it may write it.
  void variables_asked(driver::Library library);

 private:
  struct Image {
    const void* bytes = nullptr;  // until they have been read
    image::Facts facts;
    bool asked = false;
  };
  struct Known {
    std::optional<barswap_kept> kept;
    std::uint32_t prepared = 0;  // a bit for each die
  };
  Known look_at(driver::Function function);
  Known& of(driver::Function function);
  image::States states_of(driver::Function function, const char* name);

  const driver::Verbs& verbs_;
  const policy::Options& options_;
  const unsigned capability_;
  std::unordered_map<driver::Function, Known> known_;
  std::unordered_map<driver::Library, Image> images_;
};

}  // namespace barswap::session

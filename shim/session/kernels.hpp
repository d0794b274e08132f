// Kernels: which of the program's kernels may run on another die than they were launched on. One
// may if it is a CUkernel, or a CUfunction that has a twin (twins.hpp), if its image keeps nothing
// in a context (globals, constants that are written, printf, malloc), and if no rule says
// otherwise. What nobody can say counts as no.
//
// It remembers its answers by handle until an image is unloaded. Guarded by the router's lock.
#pragma once
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "barswap/stats.h"
#include "driver/verbs.hpp"
#include "image/state.hpp"
#include "policy/options.hpp"
#include "session/twins.hpp"

namespace barswap::session {

class Kernels {
 public:
  // `capability`: of the dies, as image::read takes it.
  Kernels(const driver::Verbs& verbs, const policy::Options& options, unsigned capability)
      : verbs_(verbs), options_(options), capability_(capability), twins_(verbs) {}
  Kernels(const Kernels&) = delete;
  Kernels& operator=(const Kernels&) = delete;

  // Why it stays; nothing: it may go.
  std::optional<barswap_kept> kept(driver::Function function);
  // Its attributes hold on `die` as they do on `home`, once that has been said.
  bool prepare(driver::Function function, Die home, Die die);
  // What is launched there in its place: itself, or its twin.
  driver::Function kernel_of(driver::Function function) { return of(function).kernel; }
  void attributes_changed(driver::Function function);
  // The driver would not have it on another die.
  void refuse(driver::Function function);

  // A library was loaded from these bytes, and is gone. `stays`: they are there as long as it is.
  void loaded(driver::Library library, const void* bytes, bool stays);
  void unloaded(driver::Library library);
  // The program has asked for the address of a variable, so it may write it.
  void variables_asked(driver::Library library);
  void variables_asked(driver::Module module);

  // A module was loaded; is about to go; all of them have gone, with their context.
  void loaded(driver::Module module, driver::Code code) { twins_.loaded(module, std::move(code)); }
  void unloaded(driver::Module module);
  void all_unloaded();
  // Of a CUfunction that stays for want of a twin. Asked for once.
  std::optional<Twins::Wanted> wanted(driver::Function function);
  // False: nobody needs the library any more.
  bool made(const Twins::Wanted& wanted, driver::Library library);
  // Libraries of twins, to be unloaded.
  std::vector<driver::Library> take_unneeded();

 private:
  struct Image {
    const void* bytes = nullptr;  // until they have been read
    image::Facts facts;
    bool asked = false;
  };
  struct Known {
    std::optional<barswap_kept> kept;
    std::uint32_t prepared = 0;  // a bit for each die
    driver::Function kernel = driver::Function::none;
    bool twin_asked = false;
  };
  Known look_at(driver::Function function);
  Known& of(driver::Function function);
  image::States states_of(driver::Library library, const char* name);

  const driver::Verbs& verbs_;
  const policy::Options& options_;
  const unsigned capability_;
  std::unordered_map<driver::Function, Known> known_;
  std::unordered_map<driver::Library, Image> images_;
  Twins twins_;
  bool all_asked_ = false;  // variables of modules that may be those of any library
};

}  // namespace barswap::session

#include "session/kernels.hpp"

#include "barswap/log.hpp"

namespace barswap::session {

// A constant that only its image gives a value is the same in every context.
image::States Kernels::states_of(driver::Library library, const char* name) {
  const auto found = images_.find(library);
  if (found == images_.end()) {
    BARSWAP_LOG(debug, "session", "the image of %s was never seen", name);
    return image::kUnknown;
  }
  Image& image = found->second;
  if (image.bytes) {
    image.facts = image::read(image.bytes, capability_);
    image.bytes = nullptr;
  }
  const image::States states = image.facts.of(name);
  if ((states & image::kUnknown) != 0)
    BARSWAP_LOG(debug, "session", "of %zu kernels like %s none is %s", image.facts.kernels.size(),
                image.facts.kernels.empty() ? "" : image.facts.kernels.front().name.c_str(), name);
  return image.asked || all_asked_ ? states
                                   : static_cast<image::States>(states & ~image::kConstant);
}

Kernels::Known Kernels::look_at(driver::Function function) {
  const auto stays = [&](barswap_kept reason) { return Known{reason, 0, function, false}; };
  const bool twin = !verbs_.is_kernel(function);
  driver::Function kernel = function;
  auto library = driver::Library::none;
  auto name = verbs_.kernel_name(function);
  if (!name) return stays(twin ? BARSWAP_KEPT_FUNCTION : BARSWAP_KEPT_UNKNOWN);
  if (policy::route_of(options_, *name) == policy::KernelRoute::home)
    return stays(BARSWAP_KEPT_POLICY);
  if (twin) {
    const auto there = twins_.of(function);
    if (!there) return stays(BARSWAP_KEPT_FUNCTION);
    auto like = verbs_.kernel_in(there->library, *name);
    if (!like) return stays(BARSWAP_KEPT_FUNCTION);
    kernel = *like;
    library = there->library;
    if (there->asked) images_[library].asked = true;
  } else if (auto own = verbs_.library_of(function)) {
    library = *own;
  }
  // An assertion that fails ends its context with its own error, which the program is told.
  const auto states = static_cast<image::States>(states_of(library, *name) & ~image::kAssertion);
  if (states != 0)
    BARSWAP_LOG(debug, "session", "%.90s stays on its die: state %x, %zu images known", *name,
                states, images_.size());
  if ((states & image::kUnknown) != 0) return stays(BARSWAP_KEPT_UNKNOWN);
  if (states != 0) return stays(BARSWAP_KEPT_STATE);
  return {std::nullopt, 0, kernel, false};
}

Kernels::Known& Kernels::of(driver::Function function) {
  const auto found = known_.find(function);
  return found != known_.end() ? found->second
                               : known_.emplace(function, look_at(function)).first->second;
}

std::optional<barswap_kept> Kernels::kept(driver::Function function) { return of(function).kept; }

bool Kernels::prepare(driver::Function function, Die home, Die die) {
  Known& known = of(function);
  if (known.kept) return false;
  const std::uint32_t bit = 1u << index_of(die);
  if ((known.prepared & bit) != 0) return true;
  if (!verbs_.copy_attributes(function, known.kernel, home, die)) return false;
  known.prepared |= bit;
  return true;
}

void Kernels::attributes_changed(driver::Function function) {
  const auto found = known_.find(function);
  if (found != known_.end()) found->second.prepared = 0;
}

void Kernels::refuse(driver::Function function) { of(function).kept = BARSWAP_KEPT_REFUSED; }

void Kernels::loaded(driver::Library library, const void* bytes, bool stays) {
  Image image;
  if (stays) image.bytes = bytes;
  else image.facts = image::read(bytes, capability_);
  if (!stays)
    BARSWAP_LOG(debug, "session", "an image in memory, magic %x: %zu kernels, all of them %x",
                *static_cast<const unsigned*>(bytes), image.facts.kernels.size(),
                image.facts.whole);
  images_.insert_or_assign(library, std::move(image));
}

// The handles of its kernels may come again, for others.
void Kernels::unloaded(driver::Library library) {
  images_.erase(library);
  known_.clear();
}

void Kernels::variables_asked(driver::Library library) {
  images_[library].asked = true;
  known_.clear();
}

// A module may be a library's, in the program's context.
void Kernels::variables_asked(driver::Module module) {
  if (!twins_.variables_asked(module)) all_asked_ = true;
  known_.clear();
}

void Kernels::unloaded(driver::Module module) {
  twins_.gone(module);
  known_.clear();
}

void Kernels::all_unloaded() {
  twins_.all_gone();
  known_.clear();
}

std::optional<Twins::Wanted> Kernels::wanted(driver::Function function) {
  Known& known = of(function);
  if (known.kept != BARSWAP_KEPT_FUNCTION || std::exchange(known.twin_asked, true))
    return std::nullopt;
  return twins_.wanted(function);
}

bool Kernels::made(const Twins::Wanted& wanted, driver::Library library) {
  if (!twins_.made(wanted, library)) return false;
  loaded(library, wanted.code->image.data(), false);
  known_.clear();
  return true;
}

std::vector<driver::Library> Kernels::take_unneeded() {
  std::vector<driver::Library> unneeded = twins_.take_unneeded();
  for (const driver::Library library : unneeded) images_.erase(library);
  return unneeded;
}

}  // namespace barswap::session

#include "session/kernels.hpp"

#include "barswap/log.hpp"

namespace barswap::session {

// A constant that only its image gives a value is the same in every context.
image::States Kernels::states_of(driver::Function function, const char* name) {
  auto library = verbs_.library_of(function);
  if (!library) return image::kUnknown;
  const auto found = images_.find(*library);
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
  return image.asked ? states : static_cast<image::States>(states & ~image::kConstant);
}

Kernels::Known Kernels::look_at(driver::Function function) {
  if (!verbs_.is_kernel(function)) return {BARSWAP_KEPT_FUNCTION, 0};
  auto name = verbs_.kernel_name(function);
  if (!name) return {BARSWAP_KEPT_UNKNOWN, 0};
  if (policy::route_of(options_, *name) == policy::KernelRoute::home)
    return {BARSWAP_KEPT_POLICY, 0};
  // An assertion that fails ends its context with its own error, which the program is told.
  const auto states = static_cast<image::States>(states_of(function, *name) & ~image::kAssertion);
  if (states != 0)
    BARSWAP_LOG(debug, "session", "%.90s stays on its die: state %x, %zu images known", *name,
                states, images_.size());
  if ((states & image::kUnknown) != 0) return {BARSWAP_KEPT_UNKNOWN, 0};
  if (states != 0) return {BARSWAP_KEPT_STATE, 0};
  return {std::nullopt, 0};
}

Kernels::Known& Kernels::of(driver::Function function) {
  const auto found = known_.find(function);
  return found != known_.end() ? found->second
                               : known_.emplace(function, look_at(function)).first->second;
}

std::optional<barswap_kept> Kernels::kept(driver::Function function) { return of(function).kept; }

bool Kernels::prepare(driver::Function function, Die home, Die die) {
  Known& known = of(function);
  const std::uint32_t bit = 1u << index_of(die);
  if ((known.prepared & bit) != 0) return true;
  if (!verbs_.copy_attributes(function, home, die)) return false;
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

}  // namespace barswap::session

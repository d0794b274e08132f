#include "session/twins.hpp"

#include <utility>

namespace barswap::session {

void Twins::drop(const Entry& entry) {
  if (entry.code) kept_bytes_ -= entry.code->image.size();
  if (entry.twin.library != driver::Library::none) unneeded_.push_back(entry.twin.library);
}

// The handle may have been that of a module that ended with its context.
void Twins::loaded(driver::Module module, driver::Code code) {
  gone(module);
  if (kept_bytes_ + code.image.size() > kKeptMost) return;
  kept_bytes_ += code.image.size();
  modules_[module] = {++loads_, std::make_shared<const driver::Code>(std::move(code)), {}};
}

void Twins::gone(driver::Module module) {
  const auto found = modules_.find(module);
  if (found == modules_.end()) return;
  drop(found->second);
  modules_.erase(found);
}

void Twins::all_gone() {
  for (const auto& [module, entry] : modules_) drop(entry);
  modules_.clear();
}

bool Twins::variables_asked(driver::Module module) {
  const auto found = modules_.find(module);
  if (found == modules_.end()) return false;
  found->second.twin.asked = true;
  return true;
}

std::optional<Twins::Wanted> Twins::wanted(driver::Function function) {
  auto module = verbs_.module_of(function);
  if (!module) return std::nullopt;
  const auto found = modules_.find(*module);
  if (found == modules_.end() || !found->second.code) return std::nullopt;
  kept_bytes_ -= found->second.code->image.size();
  return Wanted{*module, found->second.number, std::exchange(found->second.code, nullptr)};
}

bool Twins::made(const Wanted& wanted, driver::Library library) {
  const auto found = modules_.find(wanted.module);
  const bool same = found != modules_.end() && found->second.number == wanted.number;
  if (same) found->second.twin.library = library;
  return same;
}

std::optional<Twins::Twin> Twins::of(driver::Function function) const {
  auto module = verbs_.module_of(function);
  if (!module) return std::nullopt;
  const auto found = modules_.find(*module);
  if (found == modules_.end() || found->second.twin.library == driver::Library::none)
    return std::nullopt;
  return found->second.twin;
}

std::vector<driver::Library> Twins::take_unneeded() { return std::exchange(unneeded_, {}); }

}  // namespace barswap::session

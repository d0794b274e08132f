#include "image/cubin.hpp"

#include <algorithm>
#include <unordered_map>
#include <utility>

#include "image/code.hpp"
#include "image/elf.hpp"
#include "image/names.hpp"

namespace barswap::image {
namespace {

// Types of symbols and a bit of st_other that only cubins have.
constexpr unsigned kTextureType = 10, kSurfaceType = 12, kKernel = 0x10;
constexpr std::uint32_t kNone = 0;  // the first section is never one of code

constexpr std::string_view kText = ".text.", kConstants = ".nv.constant";
constexpr std::string_view kUserConstants = ".nv.constant3", kAddresses = ".nv.constant4";
constexpr std::string_view kVariables = ".nv.global";  // with values: ".nv.global.init"
constexpr std::string_view kShared = ".nv.shared", kLocal = ".nv.local";

class Cubin {
 public:
  explicit Cubin(const Elf& elf) : elf_(elf) {
    const std::vector<Section>& sections = elf.sections();
    code_.resize(sections.size());
    for (std::uint32_t i = 0; i < sections.size(); ++i) {
      if (sections[i].name.starts_with(kText))
        texts_.emplace(sections[i].name.substr(kText.size()), i);
      has_constants_ |= sections[i].name.starts_with(kUserConstants);
    }
    for (std::uint32_t i = 0; i < sections.size(); ++i) place_relocations(i);
  }

  bool is_kernel(const Symbol& symbol) const {
    return symbol.type == STT_FUNC && (symbol.other & kKernel) != 0 && is_code(symbol);
  }

  // What the code in this section, and all that it calls, uses.
  States reached_from(std::uint32_t section) {
    States states = everyone_;
    std::vector<std::uint32_t> pending{section};
    ++round_;
    while (!pending.empty()) {
      Code& code = code_[pending.back()];
      const std::uint32_t at = pending.back();
      pending.pop_back();
      if (std::exchange(code.round, round_) == round_) continue;
      if (!code.read) read_code(at);
      states |= code.states;
      pending.insert(pending.end(), code.calls.begin(), code.calls.end());
    }
    return states;
  }

 private:
  struct Code {
    std::vector<std::uint32_t> relocations;  // sections that hold some for it
    std::vector<std::uint32_t> calls;        // sections of code
    States states = 0;
    bool read = false;
    unsigned round = 0;
  };

  // The section of code that a section belongs to: itself, or that of the constants' kernel.
  std::uint32_t owner_of(std::uint32_t index) const {
    const std::string_view name = elf_.sections()[index].name;
    if (name.starts_with(kText)) return index;
    // Such as ".nv.constant2.kernel".
    if (!name.starts_with(kConstants)) return kNone;
    const std::size_t dot = name.find('.', kConstants.size());
    if (dot == std::string_view::npos) return kNone;
    const auto found = texts_.find(name.substr(dot + 1));
    return found == texts_.end() ? kNone : found->second;
  }

  void place_relocations(std::uint32_t index) {
    const Section& section = elf_.sections()[index];
    const bool holds = section.type == SHT_REL || section.type == SHT_RELA;
    if (!holds || section.info >= code_.size() || !counts(elf_.sections()[section.info])) return;
    if (const std::uint32_t owner = owner_of(section.info); owner != kNone)
      code_[owner].relocations.push_back(index);
    else if (elf_.sections()[section.info].name == kAddresses)
      Elf::each_relocation(section, [&](const Relocation& relocation) {
        addresses_[relocation.offset].push_back(relocation.symbol);
      });
    else
      Elf::each_relocation(section, [&](const Relocation& relocation) {
        // Of no kernel, so of every one; what might be called may do anything.
        const bool called = is_code(elf_.symbol(relocation.symbol));
        everyone_ |= called ? kUnknown : states_of(relocation.symbol);
      });
  }
  // Debug information is of no account, nor is what a launch has of its own. Variables that point
  // to others are in use themselves, if the others are.
  static bool counts(const Section& changed) {
    for (const std::string_view no : {kVariables, kUserConstants, kShared})
      if (changed.name.starts_with(no)) return false;
    return changed.loaded;
  }

  static bool is_function(const Symbol& symbol) {
    return symbol.type == STT_FUNC || symbol.section == SHN_UNDEF;
  }
  bool is_code(const Symbol& symbol) const {
    return symbol.section < code_.size() && elf_.sections()[symbol.section].name.starts_with(kText);
  }

  States states_of(std::uint64_t index) const {
    if (index >= elf_.symbols()) return kUnknown;
    const Symbol symbol = elf_.symbol(index);
    if (symbol.type >= kTextureType && symbol.type <= kSurfaceType) return kTexture;
    if (symbol.section == SHN_UNDEF) return states_of_undefined(symbol.name);
    if (symbol.section == kNoSection + SHN_ABS) return 0;
    if (symbol.section >= code_.size()) return kUnknown;
    return states_of(symbol, elf_.sections()[symbol.section].name);
  }
  static States states_of(const Symbol& symbol, std::string_view home) {
    if (home.starts_with(kUserConstants)) return kConstant;
    if (home.starts_with(kVariables)) {
      if (is_literal(symbol.name)) return 0;
      return home == kVariables ? kGlobal : kInitialised;
    }
    // What each launch has of its own, or the linker has written.
    for (const std::string_view own : {kShared, kLocal, kConstants})
      if (home.starts_with(own)) return 0;
    return kUnknown;
  }

  void take(Code& code, std::uint64_t index) {
    const Symbol symbol = elf_.symbol(index);
    if (is_code(symbol)) code.calls.push_back(symbol.section);
    else code.states |= states_of(index);
  }

  void take_addresses(Code& code, const Uses& uses) {
    if (uses.all_functions)
      for (const auto& [place, symbols] : addresses_)
        for (const std::uint64_t symbol : symbols)
          if (uses.all_addresses || is_function(elf_.symbol(symbol))) take(code, symbol);
    for (const unsigned place : uses.addresses) {
      const auto found = addresses_.find(place);
      // The driver alone knows what stands where nothing is to be written.
      if (found == addresses_.end()) code.states |= kUnknown;
      else
        for (const std::uint64_t symbol : found->second) take(code, symbol);
    }
  }

  void read_code(std::uint32_t index) {
    Code& code = code_[index];
    code.read = true;
    for (const std::uint32_t section : code.relocations)
      Elf::each_relocation(elf_.sections()[section],
                           [&](const Relocation& relocation) { take(code, relocation.symbol); });
    const Uses uses = uses_of(elf_.sections()[index].bytes, elf_.architecture());
    if (elf_.sections()[index].bytes.size() == 0) code.states |= kUnknown;
    if (uses.constants && has_constants_) code.states |= kConstant;
    if (uses.pointer_calls) code.states |= kPointer;
    take_addresses(code, uses);
  }

  const Elf& elf_;
  bool has_constants_ = false;
  std::vector<Code> code_;                                     // by section
  std::unordered_map<std::string_view, std::uint32_t> texts_;  // by name of kernel or function
  // By place in bank 4: the symbols whose addresses stand there.
  std::unordered_map<std::uint64_t, std::vector<std::uint64_t>> addresses_;
  States everyone_ = 0;
  unsigned round_ = 0;
};

}  // namespace

bool read_cubin(Bytes file, std::string_view only, Facts& facts) {
  const auto elf = Elf::open(file);
  if (!elf) return false;
  Cubin cubin(*elf);
  for (std::uint64_t i = 0; i < elf->symbols(); ++i) {
    const Symbol symbol = elf->symbol(i);
    if (!cubin.is_kernel(symbol) || (!only.empty() && symbol.name != only)) continue;
    facts.kernels.push_back({std::string(symbol.name), cubin.reached_from(symbol.section)});
  }
  return true;
}

}  // namespace barswap::image

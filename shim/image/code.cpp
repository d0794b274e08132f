#include "image/code.hpp"

#include <algorithm>

namespace barswap::image {
namespace {

constexpr std::uint64_t kBarrier = 0x11d;  // BAR

// Since Volta, an instruction has 16 bytes. The fields below are in its first eight.
struct Instruction {
  std::uint64_t low, high;

  std::uint64_t field(unsigned at, unsigned bits) const {
    return (low >> at) & ((std::uint64_t{1} << bits) - 1);
  }
  // The low nine bits say what it does, the next three what its operands are.
  std::uint64_t operation() const { return field(0, 9); }
  std::uint64_t form() const { return field(9, 3); }
  // With these two forms one operand is a constant. Others use the fields of bank and place
  // differently, and so may a few with these forms: they add a doubt. A barrier is none of them: it
  // has its number and the count of its threads there.
  bool has_constant() const { return (form() == 3 || form() == 5) && operation() != kBarrier; }
  std::uint64_t bank() const { return field(54, 5); }
};

constexpr std::uint64_t kLoad = 0x182;                                 // LDC
constexpr std::uint64_t kUniformLoad = 0xb9, kNewUniformLoad = 0x1ac;  // ULDC, since 10.0 LDCU
constexpr std::uint64_t kCall = 0x143, kJump = 0x14c;                  // CALL.ABS, JMX
constexpr std::uint64_t kRelativeCall = 0x144;                         // CALL.REL
constexpr std::uint64_t kImmediate = 4;                                // a form
constexpr unsigned kUserBank = 3, kAddressBank = 4;
constexpr unsigned kAddressBytes = 8;

// Since 10.0 the uniform load counts in bits of its own.
unsigned place_of(const Instruction& instruction) {
  const unsigned at = instruction.operation() == kNewUniformLoad ? 37 : 38;
  return static_cast<unsigned>(instruction.field(at, 16));
}

bool is_load(const Instruction& instruction) {
  const std::uint64_t operation = instruction.operation();
  return operation == kLoad || operation == kUniformLoad || operation == kNewUniformLoad;
}

// A load may add a register to the place; 255 is the one that is always zero. The old uniform load
// has no field for it.
bool computes_place(const Instruction& instruction) {
  if (!is_load(instruction)) return false;
  const std::uint64_t none = instruction.operation() == kUniformLoad ? 0 : 0xff;
  return instruction.field(24, 8) != none;
}

unsigned bytes_of(const Instruction& instruction) {
  constexpr std::uint64_t kSixteenBytes = 6;
  const bool wide = is_load(instruction) && ((instruction.high >> 9) & 7) == kSixteenBytes;
  return wide ? 16 : 4;
}

// Where in bank 0 the driver says at which address bank 3 lies; 0: not known.
unsigned user_bank_address(unsigned architecture) {
  switch (architecture / 10) {
    case 7:
    case 8: return 0x50;
    case 9: return 0xd0;
    case 10:
    case 11:
    case 12: return 0x120;
    default: return 0;
  }
}

Uses everything() {
  Uses uses;
  uses.constants = uses.all_functions = uses.all_addresses = uses.pointer_calls = true;
  return uses;
}

class Reader {
 public:
  explicit Reader(unsigned architecture) : user_bank_address_(user_bank_address(architecture)) {}

  void take(const Instruction& instruction) {
    if (instruction.has_constant()) take_constant(instruction);
    if (instruction.form() != kImmediate) take_call(instruction.operation());
  }
  Uses uses() {
    std::sort(uses_.addresses.begin(), uses_.addresses.end());
    const auto end = std::unique(uses_.addresses.begin(), uses_.addresses.end());
    uses_.addresses.erase(end, uses_.addresses.end());
    // Functions of the driver, such as malloc, are called through an address loaded for each call.
    uses_.all_functions = loaded_ > 0;
    uses_.all_addresses = loaded_ > calls_;
    uses_.pointer_calls |= calls_ > loaded_;
    return std::move(uses_);
  }

 private:
  void take_call(std::uint64_t operation) {
    if (operation == kCall || operation == kJump) ++calls_;
    // Of functions of the same image alone: virtual ones, for which it reads the tables of its
    // context, and pointers that were taken.
    else if (operation == kRelativeCall) uses_.pointer_calls = true;
  }
  void take_constant(const Instruction& instruction) {
    const unsigned place = place_of(instruction);
    const std::uint64_t bank = instruction.bank();
    if (bank == 0 && place - user_bank_address_ < kAddressBytes) uses_.constants = true;
    if (bank == kUserBank) uses_.constants = true;
    if (bank == kAddressBank) take_address(instruction, place);
  }
  void take_address(const Instruction& instruction, unsigned place) {
    if (computes_place(instruction)) {
      ++loaded_;
      return;
    }
    const unsigned first = place - place % kAddressBytes;
    for (unsigned at = first; at < place + bytes_of(instruction); at += kAddressBytes)
      uses_.addresses.push_back(at);
  }

  const unsigned user_bank_address_;
  Uses uses_;
  unsigned calls_ = 0, loaded_ = 0;
};

}  // namespace

Uses uses_of(Bytes code, unsigned architecture) {
  if (user_bank_address(architecture) == 0) return everything();
  Reader reader(architecture);
  for (std::uint64_t i = 0; i < code.count<Instruction>(); ++i)
    reader.take(code.entry<Instruction>(i));
  return reader.uses();
}

}  // namespace barswap::image

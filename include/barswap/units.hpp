// The words that every room shares: dies, tiers, sizes, causes. No behaviour, no CUDA.
#pragma once
#include <cstddef>
#include <cstdint>

namespace barswap {

constexpr std::uint64_t operator""_KiB(unsigned long long n) { return n << 10; }
constexpr std::uint64_t operator""_MiB(unsigned long long n) { return n << 20; }
constexpr std::uint64_t operator""_GiB(unsigned long long n) { return n << 30; }

constexpr std::uint64_t round_up(std::uint64_t value, std::uint64_t granule) {
  return (value + granule - 1) / granule * granule;
}

// A die as the driver counts it, after CUDA_VISIBLE_DEVICES.
enum class Die : int {};
constexpr int index_of(Die die) { return static_cast<int>(die); }
constexpr int kDiesMax = 16;

// An address of the program's address space on the device.
enum class Address : std::uint64_t {};
constexpr std::uint64_t value_of(Address address) { return static_cast<std::uint64_t>(address); }
constexpr Address operator+(Address base, std::uint64_t offset_bytes) {
  return static_cast<Address>(value_of(base) + offset_bytes);
}

// A kind of place for bytes. The order is the order of preference.
enum class Tier : std::uint8_t { hbm, peer, host };
constexpr int kTiers = 3;
constexpr const char* name_of(Tier tier) {
  switch (tier) {
    case Tier::hbm: return "hbm";
    case Tier::peer: return "peer";
    case Tier::host: return "host";
  }
  return "?";
}

// Why a page moved. Every move has exactly one cause; the statistics count by it.
enum class Cause : std::uint8_t {
  headroom,  // large pages leave so that the next allocation finds room
  small,     // a small, hot page comes into HBM and a large one makes place
  refill,    // HBM became free and a page on the host comes back
  hot,       // a page that work names often changes places with one that it rarely names
  pin,       // the program exports the page
  pressure,  // the driver itself ran out of memory
  chaos,     // forced by BARSWAP_CHAOS
  turn,      // ranges of a program that repeats itself take turns in HBM
  carry,     // what launches name goes along to the die that they are routed to
};
constexpr int kCauses = 9;
constexpr const char* name_of(Cause cause) {
  switch (cause) {
    case Cause::headroom: return "headroom";
    case Cause::small: return "small";
    case Cause::refill: return "refill";
    case Cause::hot: return "hot";
    case Cause::pin: return "pin";
    case Cause::pressure: return "pressure";
    case Cause::chaos: return "chaos";
    case Cause::turn: return "turn";
    case Cause::carry: return "carry";
  }
  return "?";
}

}  // namespace barswap

// Options: what the policy says, as one plain struct. load() fills it once; after that it is
// read-only and may be read from any thread without a lock. It owns nothing outside itself and
// never changes by itself. A default Options is the built-in policy.
//
// A field is named after its key, dots as underscores, with the unit that its type brings:
//   Amount, choices and lists none (vram_limit, paging_plan) · Bytes `_bytes` (paging_page_bytes)
//   Share `_share` (paging_forced_share) · Milliseconds `_ms` (paging_deadline_ms)
#pragma once
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "barswap/units.hpp"

namespace barswap::policy {

constexpr std::uint64_t operator""_TiB(unsigned long long n) { return n << 40; }

using Bytes = std::uint64_t;
using Share = double;  // 1 is all
using Milliseconds = std::uint32_t;
using Glob = std::string;  // `*` any characters, `?` one; empty: not asked about

// A quantity that the policy gives as a size, as a share of something, or as a word.
struct Amount {
  enum class Kind : std::uint8_t { automatic, bytes, share, none, physical, virtual_ };
  Kind kind = Kind::automatic;
  std::uint64_t bytes = 0;  // with Kind::bytes
  double share = 0;         // with Kind::share
  bool operator==(const Amount&) const = default;
};
constexpr Amount kAutomatic{Amount::Kind::automatic};
constexpr Amount kNone{Amount::Kind::none};
constexpr Amount size_of(std::uint64_t bytes) { return {Amount::Kind::bytes, bytes, 0}; }
constexpr Amount share_of(double share) { return {Amount::Kind::share, 0, share}; }

// A die as a policy names it: by number after CUDA_VISIBLE_DEVICES, or by the beginning of its
// UUID.
struct DieName {
  int index = -1;    // -1: named by UUID
  std::string uuid;  // "GPU-", then lower-case digits, perhaps not all
  bool operator==(const DieName&) const = default;
};

struct DieSet {
  bool all = true;
  std::vector<DieName> dies;  // without `all`
  bool operator==(const DieSet&) const = default;
};

struct DieLimit {
  DieName die;
  Amount limit;
  bool operator==(const DieLimit&) const = default;
};
using DieLimits = std::vector<DieLimit>;

enum class Present : std::uint8_t { as_is, pooled, one };
enum class Kernels : std::uint8_t { home, data };
enum class Processes : std::uint8_t { most_free, round_robin, least_busy };
enum class Plan : std::uint8_t { automatic, stream, move };
enum class Overlap : std::uint8_t { off, reach };
enum class Place : std::uint8_t { automatic, resident, stream };
enum class KernelReach : std::uint8_t { parameters, everything };
enum class KernelRoute : std::uint8_t { automatic, home };

// Both ends count.
struct SizeRange {
  std::uint64_t lowest_bytes = 0;
  std::uint64_t highest_bytes = std::numeric_limits<std::uint64_t>::max();
  bool operator==(const SizeRange&) const = default;
};
struct CountRange {
  std::uint64_t lowest = 0;
  std::uint64_t highest = std::numeric_limits<std::uint64_t>::max();
  bool operator==(const CountRange&) const = default;
};

// One [[allocation]]: what it asks about (library, symbol, size, order) and where such ranges go.
struct AllocationRule {
#define BARSWAP_ALLOCATION(leaf, type, example, sentence) type leaf = {};
#include "policy/schema.def"
  Place place = Place::automatic;
  bool operator==(const AllocationRule&) const = default;
};

// One [[kernel]]: which kernels (name), what they may touch and where they may run. A rule that
// does not say one of these leaves it to the rules after it.
struct KernelRule {
#define BARSWAP_KERNEL(leaf, type, example, sentence) type leaf = {};
#include "policy/schema.def"
  std::optional<KernelReach> reach = {};
  std::optional<KernelRoute> route = {};
  bool operator==(const KernelRule&) const = default;
};

#define BARSWAP_FIELD_Amount(group, leaf) group##_##leaf
#define BARSWAP_FIELD_DieSet(group, leaf) group##_##leaf
#define BARSWAP_FIELD_DieLimits(group, leaf) group##_##leaf
#define BARSWAP_FIELD_Present(group, leaf) group##_##leaf
#define BARSWAP_FIELD_Kernels(group, leaf) group##_##leaf
#define BARSWAP_FIELD_Processes(group, leaf) group##_##leaf
#define BARSWAP_FIELD_Plan(group, leaf) group##_##leaf
#define BARSWAP_FIELD_Overlap(group, leaf) group##_##leaf
#define BARSWAP_FIELD_bool(group, leaf) group##_##leaf
#define BARSWAP_FIELD_Bytes(group, leaf) group##_##leaf##_bytes
#define BARSWAP_FIELD_Share(group, leaf) group##_##leaf##_share
#define BARSWAP_FIELD_Milliseconds(group, leaf) group##_##leaf##_ms

struct Options {
#define BARSWAP_KEY(group, leaf, type, initial, accepts, sentence, cost) \
  type BARSWAP_FIELD_##type(group, leaf) = initial;
#include "policy/schema.def"
  // In the order in which they are consulted: those of later layers first.
  std::vector<AllocationRule> allocations;
  std::vector<KernelRule> kernels;
  bool operator==(const Options&) const = default;
};

// What a rule can ask about one allocation. Names that are not known are empty: they match only
// patterns that match everything.
struct AllocationFacts {
  std::uint64_t size_bytes = 0;  // as the program asked
  std::uint64_t order = 0;       // allocations of the process before this one
  std::string_view library;      // path of the calling library
  std::string_view symbol;       // name of the calling function
};

// The place that the first matching rule gives; automatic without one.
Place place_of(const Options& options, const AllocationFacts& facts);

// What a kernel may touch, by the first matching rule that says so; what its parameters name
// without one.
KernelReach reach_of(const Options& options, std::string_view kernel_name);
// Whether a kernel stays on the die that it is launched on, by the first matching rule that says
// so.
KernelRoute route_of(const Options& options, std::string_view kernel_name);

// Whether any rule asks for the calling library or symbol, so that finding them out is worth it.
bool wants_callers(const Options& options);

}  // namespace barswap::policy

#include "policy/limits.hpp"

#include <algorithm>

namespace barswap::policy {
namespace {

bool names(const DieName& name, const DieFacts& die) {
  if (name.index >= 0) return name.index == die.index;
  return die.uuid.starts_with(name.uuid);
}

std::uint64_t part_of(std::uint64_t bytes, double share) {
  // A double holds every size below 2^53 exactly; the result must still not exceed the whole.
  return std::min(bytes, static_cast<std::uint64_t>(static_cast<double>(bytes) * share));
}

std::uint64_t less(std::uint64_t bytes, std::uint64_t taken) {
  return bytes > taken ? bytes - taken : 0;
}

}  // namespace

bool uses_die(const Options& options, const DieFacts& die) {
  const auto& dies = options.dies_use.dies;
  return options.dies_use.all || std::any_of(dies.begin(), dies.end(),
                                             [&](const DieName& name) { return names(name, die); });
}

Amount limit_of(const Options& options, const DieFacts& die) {
  const auto& limits = options.dies_limit;
  const auto own = std::find_if(limits.begin(), limits.end(),
                                [&](const DieLimit& limit) { return names(limit.die, die); });
  return own == limits.end() ? options.vram_limit : own->limit;
}

std::uint64_t budget_bytes(const Options& options, const DieFacts& die) {
  // On a small die the reserve may not be what leaves the program without memory.
  const std::uint64_t reserve = std::min(options.vram_reserve_bytes, die.total_bytes / 8);
  const std::uint64_t room = less(die.free_bytes, reserve);
  const Amount limit = limit_of(options, die);
  if (limit.kind == Amount::Kind::bytes) return std::min(limit.bytes, room);
  if (limit.kind == Amount::Kind::share)
    return std::min(part_of(die.total_bytes, limit.share), room);
  return room;
}

std::uint64_t lent_bytes(const Options& options, std::uint64_t budget_bytes) {
  constexpr double kUsualShare = 0.75;
  if (!options.tiers_peer_enable) return 0;
  const Amount& limit = options.tiers_peer_limit;
  if (limit.kind == Amount::Kind::bytes) return std::min(limit.bytes, budget_bytes);
  if (limit.kind == Amount::Kind::share) return part_of(budget_bytes, limit.share);
  return options.dies_present == Present::pooled ? budget_bytes
                                                 : part_of(budget_bytes, kUsualShare);
}

std::uint64_t host_limit_bytes(const Options& options, std::uint64_t available_bytes) {
  if (!options.tiers_host_enable) return 0;
  const Amount& limit = options.tiers_host_limit;
  return limit.kind == Amount::Kind::share ? part_of(available_bytes, limit.share) : limit.bytes;
}

std::uint64_t advertised_bytes(const Options& options, const DieFacts& die,
                               std::uint64_t budget_bytes, std::uint64_t tiers_bytes) {
  switch (options.vram_advertise.kind) {
    case Amount::Kind::physical: return die.total_bytes;
    case Amount::Kind::virtual_: return tiers_bytes;
    case Amount::Kind::bytes: return options.vram_advertise.bytes;
    case Amount::Kind::automatic:
    case Amount::Kind::none:
    case Amount::Kind::share: break;
  }
  return std::min(tiers_bytes, 2 * budget_bytes);
}

bool refuses(const Options& options, std::uint64_t size_bytes) {
  return options.vram_max_alloc.kind == Amount::Kind::bytes &&
         size_bytes > options.vram_max_alloc.bytes;
}

}  // namespace barswap::policy

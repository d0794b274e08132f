#include "sim/ops.hpp"

#include <algorithm>
#include <cstring>

#include "sim/device_access.hpp"
#include "sim/machine.hpp"

namespace barswap::sim {
namespace {

// A step moves at most so much, and a small operation takes at least two steps.
std::size_t step_bytes(std::size_t total) {
  return std::clamp<std::size_t>(round_up(total / 4, 4096), std::size_t{64} << 10,
                                 std::size_t{1} << 20);
}

// Doubled from the first element on, as a sanitizer may look at each call.
void fill(std::byte* bytes, std::size_t size_bytes, const void* element,
          std::size_t element_bytes) {
  const DeviceAccess access;
  std::memcpy(bytes, element, element_bytes);
  for (std::size_t done = element_bytes; done < size_bytes; done *= 2)
    std::memcpy(bytes + done, bytes, std::min(done, size_bytes - done));
}

std::uint64_t nanoseconds(std::uint64_t bytes, double bytes_per_us) {
  return static_cast<std::uint64_t>(static_cast<double>(bytes) * 1000.0 / bytes_per_us);
}

Piece side_piece(Machine& machine, const Op& op, const Side& side, std::uintptr_t address,
                 std::size_t bytes, bool write) {
  if (side.raw) return {reinterpret_cast<std::byte*>(address), bytes, side.die < 0, side.die};
  return resolve(machine.memory(), side.die < 0 ? op.die : side.die, address, bytes, write);
}

double copy_rate(const Rates& rates, const Piece& to, const Piece& from) {
  if (to.on_host || from.on_host) return rates.link;
  return to.die == from.die ? rates.hbm / 2 : rates.peer;
}

BARSWAP_SIM_DEVICE_ACCESS std::uint64_t read_word(Machine& machine, const Op& op,
                                                  std::uintptr_t address, bool wide) {
  const Piece piece = resolve(machine.memory(), op.die, address, wide ? 8 : 4, false);
  if (wide) return __atomic_load_n(reinterpret_cast<std::uint64_t*>(piece.bytes), __ATOMIC_ACQUIRE);
  return __atomic_load_n(reinterpret_cast<std::uint32_t*>(piece.bytes), __ATOMIC_ACQUIRE);
}

}  // namespace

std::size_t CopyOp::run_span(Machine& machine, std::size_t row, std::size_t column,
                             std::size_t bytes) {
  const std::size_t slice = row / height;
  const std::size_t line = row % height;
  const auto at = [&](const Side& side) {
    return side.address + slice * side.slice_bytes + line * side.pitch_bytes + column;
  };
  const Piece target = side_piece(machine, *this, to, at(to), bytes, true);
  const Piece source = side_piece(machine, *this, from, at(from), target.size_bytes, false);
  {
    const DeviceAccess access;
    std::memmove(target.bytes, source.bytes, source.size_bytes);
  }
  const bool over_link = source.on_host != target.on_host;
  const int whose = !over_link ? die : source.on_host ? target.die : source.die;
  engine = (whose < 0 ? die : whose) * engines_per_die + (source.on_host   ? engine_in
                                                          : target.on_host ? engine_out
                                                                           : engine_device);
  machine.scheduler().count_copy(engine, source.size_bytes);
  cost_ns += nanoseconds(source.size_bytes, copy_rate(machine.config().rates, target, source));
  return source.size_bytes;
}

bool CopyOp::may_touch(std::uintptr_t base, std::size_t bytes) const {
  const auto meets = [&](const Side& side) {
    const std::size_t extent =
        (depth - 1) * side.slice_bytes + (height - 1) * side.pitch_bytes + width_bytes;
    return !side.raw && side.address < base + bytes && base < side.address + extent;
  };
  return meets(to) || meets(from);
}

Progress CopyOp::step(Machine& machine, bool) {
  const std::size_t total = width_bytes * height * depth;
  std::size_t left = std::min(step_bytes(total), total - done_bytes);
  while (left > 0) {
    const std::size_t column = done_bytes % width_bytes;
    const std::size_t span = std::min(left, width_bytes - column);
    const std::size_t moved = run_span(machine, done_bytes / width_bytes, column, span);
    done_bytes += moved;
    left -= moved;
  }
  return done_bytes == total ? Progress::Done : Progress::More;
}

Progress MemsetOp::step(Machine& machine, bool) {
  const std::size_t row_bytes = width * element_bytes;
  std::size_t left = step_bytes(row_bytes * height);
  while (left > 0 && done_rows < height && row_bytes > 0) {
    const Piece piece =
        resolve(machine.memory(), die, address + done_rows * pitch_bytes + done_bytes,
                std::min(left, row_bytes - done_bytes), true);
    fill(piece.bytes, piece.size_bytes, &value, element_bytes);
    cost_ns += nanoseconds(piece.size_bytes, piece.on_host ? machine.config().rates.zero_copy
                                                           : machine.config().rates.hbm);
    left -= std::min(left, piece.size_bytes);
    done_bytes += piece.size_bytes;
    if (done_bytes == row_bytes) {
      ++done_rows;
      done_bytes = 0;
    }
  }
  return done_rows == height || row_bytes == 0 ? Progress::Done : Progress::More;
}

Progress KernelOp::step(Machine& machine, bool) {
  const Rates& rates = machine.config().rates;
  if (!begun) {
    begun = true;
    items = twin->items(launch);
    cost_ns = rates.launch_ns;
    if (items == 0) return Progress::Done;
    return Progress::More;
  }
  View view(machine.memory(), die);
  const std::uint64_t slice = std::clamp<std::uint64_t>(items / 4, 1, twin->slice_items_max);
  const std::uint64_t end = std::min(items, done_items + slice);
  if (!twin->run(view, launch, done_items, end)) return Progress::Stalled;
  done_items = end;
  cost_ns = nanoseconds(view.traffic().local_bytes, rates.hbm) +
            nanoseconds(view.traffic().peer_bytes, rates.peer) +
            nanoseconds(view.traffic().host_bytes, rates.zero_copy);
  return done_items == items ? Progress::Done : Progress::More;
}

Progress MarkOp::step(Machine&, bool) {
  if (stamp_ns != nullptr) *stamp_ns = start_ns;
  return Progress::Done;
}

Progress HostOp::step(Machine& machine, bool host_allowed) {
  if (!host_allowed) return Progress::Stalled;
  const HostOp copy = *this;
  machine.call_out([&copy] {
    if (copy.callback != nullptr)
      copy.callback(copy.callback_stream, CUDA_SUCCESS, copy.data);
    else
      copy.function(copy.data);
  });
  return Progress::Done;
}

Progress WaitValueOp::step(Machine& machine, bool) {
  const std::uint64_t now = read_word(machine, *this, address, wide);
  const auto difference = wide ? static_cast<std::int64_t>(now - value)
                               : static_cast<std::int64_t>(static_cast<std::int32_t>(now - value));
  bool met = false;
  switch (flags & 3u) {
    case CU_STREAM_WAIT_VALUE_GEQ: met = difference >= 0; break;
    case CU_STREAM_WAIT_VALUE_EQ: met = difference == 0; break;
    case CU_STREAM_WAIT_VALUE_AND: met = (now & value) != 0; break;
    default:
      met = wide ? ~(now | value) != 0 : static_cast<std::uint32_t>(~(now | value)) != 0;
      break;
  }
  return met ? Progress::Done : Progress::Stalled;
}

Progress WriteValueOp::step(Machine& machine, bool) {
  const Piece piece = resolve(machine.memory(), die, address, wide ? 8 : 4, true);
  if (wide)
    __atomic_store_n(reinterpret_cast<std::uint64_t*>(piece.bytes), value, __ATOMIC_RELEASE);
  else
    __atomic_store_n(reinterpret_cast<std::uint32_t*>(piece.bytes),
                     static_cast<std::uint32_t>(value), __ATOMIC_RELEASE);
  return Progress::Done;
}

}  // namespace barswap::sim

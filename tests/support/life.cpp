#include "support/life.hpp"

#include <cstdio>
#include <cstring>

#include "base/host_memory.hpp"
#include "interpose/resolver.hpp"
#include "pager/gate.hpp"
#include "sim/device_access.hpp"

namespace barswap {
namespace {

std::uint64_t host_room_bytes = 0;
constexpr std::uint64_t kMachineReserveBytes = 2_GiB;  // what frames leaves to the rest

}  // namespace

// In place of those of shim/base: the host memory of the simulated machine, not of this one.
std::uint64_t host_available_bytes() {
  std::uint64_t used = 0;
  if (sim::Machine* machine = sim::Machine::current()) {
    const std::lock_guard lock(*machine);
    used = machine->memory().host_used_bytes();
  }
  return kMachineReserveBytes + host_room_bytes - std::min(host_room_bytes, used);
}

void host_available_grew() {}
std::uint64_t host_total_bytes() { return 16_GiB; }

namespace support {

Life::Life(const Setting& setting) : machine_(setting.machine) {
  host_room_bytes = setting.host_room_bytes;
  sim::fill(api_);
  interpose::adopted_api.store(&api_, std::memory_order_release);
  if (api_.cuInit(0) != CUDA_SUCCESS) {
    why_ = "cuInit failed";
    return;
  }
  auto session = std::make_unique<session::Session>(api_, setting.setup);
  if (!session->prepare(&why_)) return;
  if (!pager::Gate::start()) {
    why_ = "no gate";
    return;
  }
  session_ = std::move(session);
  session::Session::adopt_for_test(session_.get());
}

Life::~Life() {
  if (session_) session_->close();
  pager::Gate::reset();
  session::Session::adopt_for_test(nullptr);
  interpose::adopted_api.store(nullptr, std::memory_order_release);
}

void Life::let_work_end() {
  machine_.lock();
  while (machine_.scheduler().step(true)) {}
  machine_.unlock();
}

bool Life::peek(std::uint64_t address, void* out, std::uint64_t bytes) {
  auto* target = static_cast<std::byte*>(out);
  while (bytes > 0) {
    const sim::Mapping* mapping = machine_.memory().find(address);
    if (mapping == nullptr) return false;
    const std::uint64_t piece = std::min<std::uint64_t>(bytes, mapping->end() - address);
    const sim::DeviceAccess access;
    std::memcpy(target, mapping->bytes + (address - mapping->base), piece);
    target += piece;
    address += piece;
    bytes -= piece;
  }
  return true;
}

std::optional<std::uint64_t> free_of_machine(const std::string& uuid) {
  session::Session* session = session::Session::current();
  sim::Machine* machine = sim::Machine::current();
  if (session == nullptr || machine == nullptr) return std::nullopt;
  const std::lock_guard lock(*machine);
  for (const auto& state : session->dies())
    if (state->uuid_text == uuid) return machine->memory().free_bytes(index_of(state->die));
  return std::nullopt;
}

// All frames that are not the program's own plain or pinned memory.
Life::Held Life::frames_of_machine() {
  Held held;
  sim::Memory& memory = machine_.memory();
  const sim::Config& config = machine_.config();
  std::uint64_t others_hbm = 0, others_host = 0;
  for (int die = 0; die < config.dies; ++die) {
    held.hbm_bytes += memory.total_bytes(die) - memory.free_bytes(die);
    const auto& primary = machine_.primary(die).context;
    if (primary && primary->active) others_hbm += config.context_bytes;
  }
  others_hbm += machine_.contexts().size() * config.context_bytes;
  held.host_bytes = memory.host_used_bytes();
  for (const auto& [base, mapping] : memory.mappings())
    if (mapping.kind != sim::Kind::Vmm && mapping.frame)
      (mapping.on_host ? others_host : others_hbm) += mapping.size_bytes;
  held.hbm_bytes -= others_hbm;
  held.host_bytes -= others_host;
  return held;
}

std::string Life::check_books() {
  if (!session_) return {};
  const pager::Frames::Totals ours = session_->pager().frames().totals();
  const Held theirs = frames_of_machine();
  if (ours.hbm_frames_bytes == theirs.hbm_bytes && ours.host_frames_bytes == theirs.host_bytes)
    return {};
  char text[200];
  std::snprintf(text, sizeof text,
                "the books say hbm %llu host %llu, the machine holds hbm %llu host %llu",
                static_cast<unsigned long long>(ours.hbm_frames_bytes),
                static_cast<unsigned long long>(ours.host_frames_bytes),
                static_cast<unsigned long long>(theirs.hbm_bytes),
                static_cast<unsigned long long>(theirs.host_bytes));
  return text;
}

std::string Life::bury() {
  if (!session_) return {};
  session_->maps().clear();
  session_->memory().clear();
  pager::Frames& frames = session_->pager().frames();
  // The ballast is a frame in hand for a bad moment; room for the driver is such a moment.
  for (const auto& state : session_->dies())
    if (state->managed) (void)session_->pager().make_room(state->die, true);
  frames.release_all();
  std::string books = check_books();
  if (!books.empty()) return books;
  for (const auto& state : session_->dies())
    if (frames.host_mapped(state->die) != 0) return "page tables are counted for no page";
  const sim::Audit audit = machine_.audit();
  // The two bounce buffers of copies between dies stay, or the first alone if the host had no room
  // for the second; and the addresses of the mover's aliases.
  const std::size_t bounces = machine_.memory().vmm_mapping_count();
  const pager::Frames::Totals totals = frames.totals();
  if (bounces <= 2 && audit.mappings == bounces &&
      totals.hbm_frames_bytes + totals.host_frames_bytes == bounces * 4_MiB)
    return {};
  char text[200];
  std::snprintf(text, sizeof text, "left behind: %zu mappings, frames of hbm %llu host %llu bytes",
                audit.mappings, static_cast<unsigned long long>(totals.hbm_frames_bytes),
                static_cast<unsigned long long>(totals.host_frames_bytes));
  return text;
}

}  // namespace support
}  // namespace barswap

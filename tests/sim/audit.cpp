// What the machine can say about itself when asked, and at exit.
#include <cstdio>

#include "sim/machine.hpp"

namespace barswap::sim {

Audit Machine::audit() {
  Audit audit;
  audit.frames = memory_.frame_count();
  audit.handles = memory_.handle_count();
  audit.mappings = memory_.vmm_mapping_count();
  audit.reservations = memory_.reservation_count();
  audit.allocations = memory_.allocations().size();
  for (const auto& stream : scheduler_.streams()) audit.pending += stream->queue.size();
  audit.violations = violations_;
  for (int i = 0; i < row_count; ++i)
    if (const std::uint64_t count = calls_[static_cast<std::size_t>(i)]; count > 0)
      audit.calls[rows()[i].symbol] = count;
  audit.steps = scheduler_.steps();
  audit.trace = scheduler_.trace();
  return audit;
}

void Machine::write_audit() {
  if (config_.audit_path.empty() || !initialized_ || forked_) return;
  std::FILE* file = std::fopen(config_.audit_path.c_str(), "w");
  if (file == nullptr) return;
  lock();
  const Audit report = audit();
  unlock();
  std::fprintf(file,
               "frames %zu handles %zu mappings %zu reservations %zu allocations %zu pending %zu "
               "violations %zu\n",
               report.frames, report.handles, report.mappings, report.reservations,
               report.allocations, report.pending, report.violations.size());
  for (const std::string& violation : report.violations)
    std::fprintf(file, "violation %s\n", violation.c_str());
  for (const auto& [name, count] : report.calls)
    std::fprintf(file, "%s %llu\n", name.c_str(), static_cast<unsigned long long>(count));
  std::fclose(file);
}

}  // namespace barswap::sim

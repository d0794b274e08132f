#include <algorithm>

#include "sim/machine.hpp"

namespace barswap::sim {

void Scheduler::submit(Stream& stream, std::unique_ptr<Op> op) {
  if (op->context == nullptr) op->context = stream.context;
  op->die = op->context->die;
  op->sequence = ++stream.submitted;
  // The legacy stream waits for every blocking stream of its context, and they for it.
  for (const auto& other : streams_) {
    if (other.get() == &stream || other->context != stream.context || !other->blocking()) continue;
    if (stream.legacy || (stream.blocking() && other->legacy))
      if (other->completed < other->submitted) op->after.push_back({other, other->submitted});
  }
  op->submit_ns = machine_.clock_ns();
  stream.queue.push_back(std::move(op));
  ++pending_;
  machine_.work_arrived();
}

bool Scheduler::step(bool host_allowed) {
  if (pending_ == 0) return false;
  const std::size_t count = streams_.size();
  const std::size_t first = random_.below(count);
  for (std::size_t i = 0; i < count; ++i) {
    const std::shared_ptr<Stream> stream = streams_[(first + i) % count];
    if (run(*stream, host_allowed)) return true;
    if (streams_.size() != count) return true;  // a host function changed the list
  }
  return false;
}

bool Scheduler::step_host_function() {
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    const std::shared_ptr<Stream> stream = streams_[i];
    if (!stream->queue.empty() && stream->queue.front()->wants_host() && run(*stream, true))
      return true;
  }
  return false;
}

bool Scheduler::run(Stream& stream, bool host_allowed) {
  if (stream.queue.empty() || stream.running) return false;
  Op& op = *stream.queue.front();
  if (!std::all_of(op.after.begin(), op.after.end(), [](auto& d) { return d.met(); })) return false;
  for (const Dependency& dependency : op.after)
    stream.ready_ns = std::max(stream.ready_ns, dependency.stream->ready_ns);
  op.after.clear();
  Progress progress = Progress::Stalled;
  op.cost_ns = 0;
  op.engine = -1;
  op.start_ns = std::max(stream.ready_ns, op.submit_ns);
  stream.running = true;
  try {
    progress = op.step(machine_, host_allowed);
  } catch (const IllegalAddress& fault) {
    stream.running = false;
    machine_.poison(*op.context, fault);
    return true;
  }
  stream.running = false;
  if (op.context->error != CUDA_SUCCESS) progress = Progress::Done;  // poisoned in between
  if (progress == Progress::Stalled) return false;
  ++steps_;
  charge_time(stream, op);
  trace_ = (trace_ ^ (stream.id << 32 ^ op.sequence << 1 ^ (progress == Progress::Done ? 1 : 0))) *
           0x100000001b3ull;
  if (progress == Progress::Done) finish(stream);
  return true;
}

void Scheduler::charge_time(Stream& stream, const Op& op) {
  std::uint64_t start = op.start_ns;
  if (op.engine >= 0) {
    std::uint64_t& free_ns = engine_free_ns_[static_cast<std::size_t>(op.engine)];
    start = std::max(start, free_ns);
    free_ns = start + op.cost_ns;
  }
  stream.ready_ns = start + op.cost_ns;
}

void Scheduler::finish(Stream& stream) {
  stream.completed = stream.queue.front()->sequence;
  // The content may own the last reference to something that looks at the streams: let it go last.
  const std::unique_ptr<Op> done = std::move(stream.queue.front());
  stream.queue.pop_front();
  --pending_;
  if (stream.queue.empty()) stream.completed = stream.submitted;
  if (stream.destroyed && stream.queue.empty()) forget_drained();
}

void Scheduler::forget_drained() {
  std::erase_if(streams_,
                [](const auto& stream) { return stream->destroyed && stream->queue.empty(); });
}

void Scheduler::cancel(const Context* context) {
  for (const auto& stream : streams_) {
    if (stream->context != context) continue;
    // A host function at work keeps its place until it returns.
    const std::size_t kept = stream->running ? 1 : 0;
    pending_ -= stream->queue.size() - std::min(kept, stream->queue.size());
    while (stream->queue.size() > kept) stream->queue.pop_back();
    if (kept == 0) stream->completed = stream->submitted;
  }
}

std::vector<Dependency> Scheduler::everything(const Context* context) const {
  std::vector<Dependency> result;
  for (const auto& stream : streams_)
    if (stream->context == context && stream->completed < stream->submitted)
      result.push_back({stream, stream->submitted});
  return result;
}

bool Scheduler::device_work(int die, std::uintptr_t base, std::size_t bytes) const {
  for (const auto& stream : streams_)
    for (const auto& op : stream->queue)
      if (op->works_on(die, base, bytes)) return true;
  return false;
}

}  // namespace barswap::sim

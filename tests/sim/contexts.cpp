// The life of contexts, inside the machine.
#include "sim/submit.hpp"

namespace barswap::sim {

CUresult Machine::create_context(int die, unsigned flags, bool is_primary, Context*& result) {
  if (!memory_.charge(die, config_.context_bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  Primary& own = primary(die);
  if (is_primary && own.context != nullptr) {
    result = own.context.get();
  } else {
    auto context = std::make_unique<Context>();
    result = context.get();
    if (is_primary)
      own.context = std::move(context);
    else
      contexts_.emplace(result->handle(), std::move(context));
  }
  result->id = new_id();
  result->die = die;
  result->primary = is_primary;
  result->active = true;
  result->flags = flags;
  result->error = CUDA_SUCCESS;
  result->legacy = make_stream(*result, 0, 0);
  result->legacy->legacy = true;
  return CUDA_SUCCESS;
}

// What dies with a context: its work, its plain memory, its streams, events and modules.
void Machine::empty_context(Context& context) {
  // Work that can end, ends; a kernel that spins would hold the program for ever and is dropped.
  for (int tries = 0; tries < 100'000 && !scheduler_.everything(&context).empty(); ++tries)
    if (!scheduler_.step(!config_.threads)) break;
  scheduler_.cancel(&context);
  std::vector<std::uintptr_t> owned;
  for (auto& [base, allocation] : memory_.allocations())
    if (allocation.context == &context) owned.push_back(base);
  for (const std::uintptr_t base : owned) release_allocation(*memory_.allocation_at(base));
  for (const auto& stream : scheduler_.streams())
    if (stream->context == &context) stream->destroyed = true;
  std::erase_if(stream_handles_, [&](auto& entry) { return entry.second->context == &context; });
  std::erase_if(objects_->events, [&](auto& entry) { return entry.second->context == &context; });
  std::erase_if(objects_->captures,
                [&](auto& capture) { return capture->origin->context == &context; });
  std::erase_if(objects_->functions,
                [&](auto& entry) { return entry.second->context == &context; });
  std::erase_if(objects_->modules, [&](auto& entry) { return entry.second->context == &context; });
  for (auto& [handle, library] : objects_->libraries) {
    library->modules.erase(&context);
    std::erase_if(library->per_context,
                  [&](auto& entry) { return entry.first.second == &context; });
  }
  std::erase_if(objects_->arrays, [&](auto& entry) {
    if (entry.second->context != &context) return false;
    memory_.discharge(entry.second->die, entry.second->charged_bytes);
    return true;
  });
  scheduler_.forget_drained();
  memory_.discharge(context.die, config_.context_bytes);
  context.legacy.reset();
  context.per_thread.clear();
  context.peers.clear();
  context.active = false;
  for (auto& [handle, other] : contexts_) other->peers.erase(&context);
  for (Primary& other : primaries_)
    if (other.context != nullptr) other.context->peers.erase(&context);
  refresh_peer_access();
}

void Machine::destroy_context(Context* context) {
  empty_context(*context);
  ThreadState& state = thread();
  if (!state.stack.empty() && state.stack.back() == context) state.stack.pop_back();
  contexts_.erase(context->handle());
}

void Machine::release_allocation(Allocation& allocation) {
  if (allocation.kind == Kind::Plain || allocation.kind == Kind::Pool ||
      allocation.kind == Kind::Global)
    return memory_.free_plain(&allocation);
  free_host(allocation.base);
}

std::shared_ptr<Stream> Machine::make_stream(Context& context, unsigned flags, int priority) {
  auto stream = std::make_shared<Stream>();
  stream->id = new_id();
  stream->context = &context;
  stream->flags = flags;
  stream->priority = priority;
  scheduler_.add(stream);
  return stream;
}

CUresult Machine::stream_of(CUstream handle, std::shared_ptr<Stream>& result) {
  const bool per_thread = handle == CU_STREAM_PER_THREAD ||
                          (handle == nullptr && thread().per_thread_default);
  if (handle == nullptr || handle == CU_STREAM_LEGACY || per_thread) {
    Context* context = nullptr;
    if (const CUresult found = need(context); found != CUDA_SUCCESS) return found;
    if (!per_thread) {
      result = context->legacy;
      return CUDA_SUCCESS;
    }
    std::shared_ptr<Stream>& own = context->per_thread[std::this_thread::get_id()];
    if (own == nullptr) {
      own = make_stream(*context, 0, 0);
      own->per_thread = true;
    }
    result = own;
    return CUDA_SUCCESS;
  }
  const auto found = stream_handles_.find(handle);
  if (found == stream_handles_.end()) return CUDA_ERROR_INVALID_HANDLE;
  result = found->second;
  return result->context->error;
}

Access plain_access(const Context* owner, int die) {
  const auto admits = [&](const Context& context) {
    return context.active && context.die == die &&
           context.peers.contains(const_cast<Context*>(owner));
  };
  Machine& own = machine();
  for (auto& [handle, context] : own.contexts())
    if (admits(*context)) return Access::ReadWrite;
  for (int i = 0; i < own.config().dies; ++i)
    if (own.primary(i).context != nullptr && admits(*own.primary(i).context))
      return Access::ReadWrite;
  return Access::None;
}

// Peer access covers all plain memory of the peer's context, old and new.
void Machine::refresh_peer_access() {
  for (auto& [base, mapping] : memory_.mappings()) {
    if (mapping.kind != Kind::Plain && mapping.kind != Kind::Global) continue;
    const Context* owner = mapping.owner;
    for (int die = 0; die < config_.dies; ++die)
      if (die != mapping.die)
        mapping.access[static_cast<std::size_t>(die)] = plain_access(owner, die);
  }
}

}  // namespace barswap::sim

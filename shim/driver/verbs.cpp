#include "driver/verbs.hpp"

#include "driver/answers.hpp"
#include "driver/errors.hpp"

namespace barswap::driver {
namespace {

CUmemAllocationProp properties(const Place& place) {
  CUmemAllocationProp out{};
  out.type = CU_MEM_ALLOCATION_TYPE_PINNED;
  if (place.tier == Tier::host) {
    const bool numa = place.kind == HostKind::numa;
    out.location.type = numa ? CU_MEM_LOCATION_TYPE_HOST_NUMA : CU_MEM_LOCATION_TYPE_HOST;
    out.location.id = numa ? place.numa_node : 0;
    // A plain host frame can carry no handle type; one on a NUMA node can be exported where it is.
    out.requestedHandleTypes =
        numa ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : CU_MEM_HANDLE_TYPE_NONE;
  } else {
    out.location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    out.location.id = index_of(place.die);
    out.requestedHandleTypes = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR;
    out.allocFlags.gpuDirectRDMACapable = place.rdma_capable ? 1 : 0;
  }
  return out;
}

Result<int> attribute(const Api& api, CUdevice_attribute which, Die die) {
  int value = 0;
  const CUresult code = api.cuDeviceGetAttribute(&value, which, index_of(die));
  return answer(code, value);
}

}  // namespace

Result<int> Verbs::version() const {
  int value = 0;
  const CUresult code = api_->cuDriverGetVersion(&value);
  return answer(code, value);
}

Result<int> Verbs::die_count() const {
  int count = 0;
  const CUresult code = api_->cuDeviceGetCount(&count);
  return answer(code, count);
}

Result<Uuid> Verbs::uuid(Die die) const {
  CUuuid raw{};
  const CUresult code =
      api_->cuDeviceGetUuid_v2 ? api_->cuDeviceGetUuid_v2(&raw, index_of(die)) : kMissing;
  Uuid out;
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<unsigned char>(raw.bytes[i]);
  return answer(code, out);
}

Result<std::uint64_t> Verbs::total_bytes(Die die) const {
  std::size_t bytes = 0;
  const CUresult code = api_->cuDeviceTotalMem_v2(&bytes, index_of(die));
  return answer<std::uint64_t>(code, bytes);
}

Result<bool> Verbs::has_vmm(Die die) const {
  const int value =
      BARSWAP_TRY(attribute(*api_, CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED, die));
  const bool slots = api_->cuMemCreate && api_->cuMemMap && api_->cuMemUnmap &&
                     api_->cuMemSetAccess && api_->cuMemAddressReserve && api_->cuMemRelease;
  return value != 0 && slots;
}

Result<int> Verbs::compute_major(Die die) const {
  return attribute(*api_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, die);
}

Result<int> Verbs::compute_capability(Die die) const {
  const int minor =
      BARSWAP_TRY(attribute(*api_, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, die));
  return 10 * BARSWAP_TRY(compute_major(die)) + minor;
}

// Libraries choose kernels, grids and workspaces by these.
Result<bool> Verbs::alike(Die left, Die right) const {
  for (const CUdevice_attribute which :
       {CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
        CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE,
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN,
        CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR,
        CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR,
        CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR})
    if (BARSWAP_TRY(attribute(*api_, which, left)) != BARSWAP_TRY(attribute(*api_, which, right)))
      return false;
  return true;
}

Result<bool> Verbs::rdma_capable(Die die) const {
  return BARSWAP_TRY(attribute(*api_, CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED,
                               die)) != 0;
}

Result<int> Verbs::numa_node(Die die) const {
  const int node = BARSWAP_TRY(attribute(*api_, CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID, die));
  return node < 0 ? 0 : node;  // -1: the machine has no NUMA, and node 0 stands for all
}

Result<bool> Verbs::shared_by_mps(Die die) const {
  return BARSWAP_TRY(attribute(*api_, CU_DEVICE_ATTRIBUTE_MPS_ENABLED, die)) != 0;
}

Result<bool> Verbs::can_reach(Die accessor, Die owner) const {
  int value = 0;
  const CUresult code = api_->cuDeviceCanAccessPeer(&value, index_of(accessor), index_of(owner));
  return answer(code, value != 0);
}

Result<bool> Verbs::reaches_natively(Die accessor, Die owner) const {
  if (!BARSWAP_TRY(can_reach(accessor, owner))) return false;
  int value = 0;
  const CUresult code = api_->cuDeviceGetP2PAttribute(
      &value, CU_DEVICE_P2P_ATTRIBUTE_NATIVE_ATOMIC_SUPPORTED, index_of(accessor), index_of(owner));
  return answer(code, value != 0);
}

bool Verbs::has_idle_proof() const { return api_->cuCtxRecordEvent != nullptr; }

Result<Context> Verbs::current() const {
  CUcontext context = nullptr;
  const CUresult code = api_->cuCtxGetCurrent(&context);
  return answer(code, static_cast<Context>(reinterpret_cast<std::uintptr_t>(context)));
}

Result<Die> Verbs::current_die() const {
  CUdevice device = 0;
  const CUresult code = api_->cuCtxGetDevice(&device);
  return answer(code, Die{device});
}

Result<void> Verbs::push(Context context) const {
  return done(api_->cuCtxPushCurrent_v2(native(context)));
}

Result<void> Verbs::pop() const {
  CUcontext ignored = nullptr;
  return done(api_->cuCtxPopCurrent_v2(&ignored));
}

Result<bool> Verbs::primary_active(Die die) const {
  unsigned flags = 0;
  int active = 0;
  const CUresult code = api_->cuDevicePrimaryCtxGetState(index_of(die), &flags, &active);
  return answer(code, active != 0);
}

Result<Context> Verbs::retain_primary(Die die) const {
  CUcontext context = nullptr;
  const CUresult code = api_->cuDevicePrimaryCtxRetain(&context, index_of(die));
  return answer(code, static_cast<Context>(reinterpret_cast<std::uintptr_t>(context)));
}

Result<void> Verbs::release_primary(Die die) const {
  return done(api_->cuDevicePrimaryCtxRelease_v2(index_of(die)));
}

Result<Verbs::Parameter> Verbs::parameter(Function function, FunctionKind kind,
                                          std::size_t index) const {
  const auto word = static_cast<std::uintptr_t>(function);
  std::size_t offset = 0, size = 0;
  CUresult code = kMissing;
  if (kind == FunctionKind::kernel && api_->cuKernelGetParamInfo)
    code = api_->cuKernelGetParamInfo(reinterpret_cast<CUkernel>(word), index, &offset, &size);
  else if (kind == FunctionKind::function && api_->cuFuncGetParamInfo)
    code = api_->cuFuncGetParamInfo(reinterpret_cast<CUfunction>(word), index, &offset, &size);
  if (code == CUDA_ERROR_INVALID_VALUE) return Error{Fault::invalid};
  return answer(code, Parameter{offset, size});
}

bool Verbs::is_kernel(Function function) const {
  auto first = parameter(function, FunctionKind::kernel, 0);
  return first || first.error().fault == Fault::invalid;
}

Result<Library> Verbs::library_of(Function kernel) const {
  CUlibrary library = nullptr;
  const auto handle = reinterpret_cast<CUkernel>(static_cast<std::uintptr_t>(kernel));
  const CUresult code =
      api_->cuKernelGetLibrary ? api_->cuKernelGetLibrary(&library, handle) : kMissing;
  return answer(code, static_cast<Library>(reinterpret_cast<std::uintptr_t>(library)));
}

Result<void> Verbs::copy_attributes(Function set, Function kernel, Die from, Die to) const {
  const bool same = set == kernel;
  if (!api_->cuKernelGetAttribute || !api_->cuKernelSetAttribute ||
      (!same && !api_->cuFuncGetAttribute))
    return refused(kMissing);
  const auto handle = reinterpret_cast<CUkernel>(static_cast<std::uintptr_t>(kernel));
  const auto function = reinterpret_cast<CUfunction>(static_cast<std::uintptr_t>(set));
  for (const CUfunction_attribute which :
       {CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
        CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
        CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_WIDTH, CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_HEIGHT,
        CU_FUNC_ATTRIBUTE_REQUIRED_CLUSTER_DEPTH,
        CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED,
        CU_FUNC_ATTRIBUTE_CLUSTER_SCHEDULING_POLICY_PREFERENCE}) {
    int here = 0, there = 0;
    BARSWAP_TRY_VOID(done(same ? api_->cuKernelGetAttribute(&here, which, handle, index_of(from))
                               : api_->cuFuncGetAttribute(&here, which, function)));
    BARSWAP_TRY_VOID(done(api_->cuKernelGetAttribute(&there, which, handle, index_of(to))));
    if (here != there)
      BARSWAP_TRY_VOID(done(api_->cuKernelSetAttribute(which, here, handle, index_of(to))));
  }
  return {};
}

Result<Module> Verbs::module_of(Function function) const {
  CUmodule module = nullptr;
  const auto handle = reinterpret_cast<CUfunction>(static_cast<std::uintptr_t>(function));
  const CUresult code = api_->cuFuncGetModule ? api_->cuFuncGetModule(&module, handle) : kMissing;
  return answer(code, static_cast<Module>(reinterpret_cast<std::uintptr_t>(module)));
}

Result<Library> Verbs::load(const Code& code) const {
  if (!api_->cuLibraryLoadData || !api_->cuLibraryUnload) return refused(kMissing);
  std::vector<CUjit_option> options;
  for (const int option : code.options) options.push_back(static_cast<CUjit_option>(option));
  std::vector<void*> values = code.values;
  CUlibrary library = nullptr;
  const CUresult result =
      api_->cuLibraryLoadData(&library, code.image.data(), options.data(), values.data(),
                              static_cast<unsigned>(options.size()), nullptr, nullptr, 0);
  return answer(result, static_cast<Library>(reinterpret_cast<std::uintptr_t>(library)));
}

void Verbs::unload(Library library) const {
  (void)api_->cuLibraryUnload(reinterpret_cast<CUlibrary>(static_cast<std::uintptr_t>(library)));
}

Result<Function> Verbs::kernel_in(Library library, const char* name) const {
  CUkernel kernel = nullptr;
  const auto handle = reinterpret_cast<CUlibrary>(static_cast<std::uintptr_t>(library));
  const CUresult code =
      api_->cuLibraryGetKernel ? api_->cuLibraryGetKernel(&kernel, handle, name) : kMissing;
  return answer(code, static_cast<Function>(reinterpret_cast<std::uintptr_t>(kernel)));
}

// A handle of the other kind is told by the driver's answer to a question about parameters, which
// it checks; the first parameter need not exist.
Result<const char*> Verbs::kernel_name(Function function) const {
  const auto word = static_cast<std::uintptr_t>(function);
  const bool kernel = is_kernel(function);
  const char* name = nullptr;
  CUresult code = kMissing;
  if (kernel && api_->cuKernelGetName)
    code = api_->cuKernelGetName(&name, reinterpret_cast<CUkernel>(word));
  else if (!kernel && api_->cuFuncGetName)
    code = api_->cuFuncGetName(&name, reinterpret_cast<CUfunction>(word));
  if (code == CUDA_SUCCESS && name == nullptr) return Error{Fault::not_supported};
  return answer<const char*>(code, name);
}

Result<void> Verbs::synchronize() const { return done(api_->cuCtxSynchronize()); }

Result<Context> Verbs::make_context(Die die) const {
  CUcontext context = nullptr;
  CUresult code = kMissing;
  if (api_->cuCtxCreate_v4) code = api_->cuCtxCreate_v4(&context, nullptr, 0, index_of(die));
  else if (api_->cuCtxCreate_v2) code = api_->cuCtxCreate_v2(&context, 0, index_of(die));
  BARSWAP_TRY_VOID(done(code));
  BARSWAP_TRY_VOID(pop());
  return static_cast<Context>(reinterpret_cast<std::uintptr_t>(context));
}

Result<std::uint64_t> Verbs::stack_bytes() const {
  std::size_t bytes = 0;
  const CUresult code =
      api_->cuCtxGetLimit ? api_->cuCtxGetLimit(&bytes, CU_LIMIT_STACK_SIZE) : kMissing;
  return answer<std::uint64_t>(code, bytes);
}

Result<void> Verbs::set_stack_bytes(std::uint64_t size_bytes) const {
  return done(api_->cuCtxSetLimit(CU_LIMIT_STACK_SIZE, size_bytes));
}

Result<Verbs::Free> Verbs::free_bytes() const {
  std::size_t free = 0, total = 0;
  const CUresult code = api_->cuMemGetInfo_v2(&free, &total);
  return answer(code, Free{free, total});
}

Result<std::uint64_t> Verbs::granularity(Die die) const {
  const CUmemAllocationProp prop = properties({Tier::hbm, die, HostKind::none, 0, false});
  std::size_t bytes = 0;
  const CUresult code =
      api_->cuMemGetAllocationGranularity
          ? api_->cuMemGetAllocationGranularity(&bytes, &prop, CU_MEM_ALLOC_GRANULARITY_MINIMUM)
          : kMissing;
  return answer<std::uint64_t>(code, bytes);
}

Result<Address> Verbs::reserve(std::uint64_t size_bytes) const {
  CUdeviceptr base = 0;
  const CUresult code = api_->cuMemAddressReserve(&base, size_bytes, 0, 0, 0);
  return answer(code, static_cast<Address>(base));
}

Result<void> Verbs::unreserve(Address base, std::uint64_t size_bytes) const {
  return done(api_->cuMemAddressFree(value_of(base), size_bytes));
}

Result<Handle> Verbs::create(const Place& place, std::uint64_t size_bytes) const {
  const CUmemAllocationProp prop = properties(place);
  CUmemGenericAllocationHandle handle = 0;
  const CUresult code = api_->cuMemCreate(&handle, size_bytes, &prop, 0);
  return answer(code, static_cast<Handle>(handle));
}

Result<void> Verbs::release(Handle handle) const {
  return done(api_->cuMemRelease(static_cast<CUmemGenericAllocationHandle>(handle)));
}

Result<void> Verbs::map(Address address, std::uint64_t size_bytes, Handle handle) const {
  return done(api_->cuMemMap(value_of(address), size_bytes, 0,
                             static_cast<CUmemGenericAllocationHandle>(handle), 0));
}

Result<void> Verbs::unmap(Address address, std::uint64_t size_bytes) const {
  return done(api_->cuMemUnmap(value_of(address), size_bytes));
}

namespace {

CUresult set_access(const Api& api, Address address, std::uint64_t size_bytes,
                    std::span<const Die> dies, CUmemAccess_flags flags) {
  std::array<CUmemAccessDesc, kDiesMax> list{};
  std::size_t count = 0;
  for (const Die die : dies) {
    if (count == list.size()) break;
    list[count].location.type = CU_MEM_LOCATION_TYPE_DEVICE;
    list[count].location.id = index_of(die);
    list[count].flags = flags;
    ++count;
  }
  return api.cuMemSetAccess(value_of(address), size_bytes, list.data(), count);
}

}  // namespace

Result<void> Verbs::grant(Address address, std::uint64_t size_bytes,
                          std::span<const Die> dies) const {
  return done(set_access(*api_, address, size_bytes, dies, CU_MEM_ACCESS_FLAGS_PROT_READWRITE));
}

Result<void> Verbs::grant_reading(Address address, std::uint64_t size_bytes,
                                  std::span<const Die> dies) const {
  return done(set_access(*api_, address, size_bytes, dies, CU_MEM_ACCESS_FLAGS_PROT_READ));
}

Result<Stream> Verbs::make_stream() const {
  CUstream stream = nullptr;
  const CUresult code = api_->cuStreamCreate(&stream, CU_STREAM_NON_BLOCKING);
  return answer(code, static_cast<Stream>(reinterpret_cast<std::uintptr_t>(stream)));
}

Result<Stream> Verbs::make_stream(int priority) const {
  CUstream stream = nullptr;
  const CUresult code = api_->cuStreamCreateWithPriority(&stream, CU_STREAM_NON_BLOCKING, priority);
  return answer(code, static_cast<Stream>(reinterpret_cast<std::uintptr_t>(stream)));
}

Result<int> Verbs::priority_of(Stream stream) const {
  int priority = 0;
  const CUresult code =
      api_->cuStreamGetPriority ? api_->cuStreamGetPriority(native(stream), &priority) : kMissing;
  return answer(code, priority);
}

Result<bool> Verbs::idle(Stream stream) const {
  const CUresult code = api_->cuStreamQuery(native(stream));
  if (code == CUDA_ERROR_NOT_READY) return false;
  return answer(code, true);
}

Result<Context> Verbs::context_of(Stream stream) const {
  const CUstream handle = native(stream);
  if (!handle || handle == CU_STREAM_LEGACY || handle == CU_STREAM_PER_THREAD) return current();
  CUcontext context = nullptr;
  const CUresult code = api_->cuStreamGetCtx ? api_->cuStreamGetCtx(handle, &context) : kMissing;
  return answer(code, static_cast<Context>(reinterpret_cast<std::uintptr_t>(context)));
}

Result<bool> Verbs::capturing(Stream stream) const {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult code =
      api_->cuStreamIsCapturing ? api_->cuStreamIsCapturing(native(stream), &status) : kMissing;
  if (code == CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) return false;
  return answer(code, status != CU_STREAM_CAPTURE_STATUS_NONE);
}

void Verbs::destroy(Stream stream) const { (void)api_->cuStreamDestroy_v2(native(stream)); }

Result<Event> Verbs::make_event() const {
  CUevent event = nullptr;
  const CUresult code = api_->cuEventCreate(&event, CU_EVENT_DISABLE_TIMING);
  return answer(code, static_cast<Event>(reinterpret_cast<std::uintptr_t>(event)));
}

Result<Event> Verbs::make_timing_event() const {
  CUevent event = nullptr;
  const CUresult code = api_->cuEventCreate(&event, CU_EVENT_DEFAULT);
  return answer(code, static_cast<Event>(reinterpret_cast<std::uintptr_t>(event)));
}

Result<std::uint64_t> Verbs::elapsed_ns(Event start, Event end) const {
  float milliseconds = 0;
  const CUresult code = api_->cuEventElapsedTime
                            ? api_->cuEventElapsedTime(&milliseconds, native(start), native(end))
                            : kMissing;
  return answer(code, static_cast<std::uint64_t>(std::max(milliseconds, 0.0f) * 1e6f));
}

void Verbs::destroy(Event event) const { (void)api_->cuEventDestroy_v2(native(event)); }

Result<void> Verbs::copy(Address to, Address from, std::uint64_t size_bytes, Stream stream) const {
  return done(api_->cuMemcpyDtoDAsync_v2(value_of(to), value_of(from), size_bytes, native(stream)));
}

Result<void> Verbs::record(Event event, Stream stream) const {
  return done(api_->cuEventRecord(native(event), native(stream)));
}

Result<void> Verbs::wait(Stream stream, Event event) const {
  return done(api_->cuStreamWaitEvent(native(stream), native(event), 0));
}

Result<void> Verbs::record_context(Context context, Event event) const {
  return done(api_->cuCtxRecordEvent ? api_->cuCtxRecordEvent(native(context), native(event))
                                     : kMissing);
}

Result<bool> Verbs::ready(Event event) const {
  const CUresult code = api_->cuEventQuery(native(event));
  if (code == CUDA_ERROR_NOT_READY) return false;
  return answer(code, true);
}

Result<void> Verbs::trim_default_pool(Die die) const {
  if (!api_->cuDeviceGetDefaultMemPool || !api_->cuMemPoolTrimTo) return refused(kMissing);
  CUmemoryPool pool = nullptr;
  const CUresult code = api_->cuDeviceGetDefaultMemPool(&pool, index_of(die));
  if (code != CUDA_SUCCESS) return refused(code);
  return done(api_->cuMemPoolTrimTo(pool, 0));
}

Result<Module> Verbs::load(const char* image) const {
  CUmodule module = nullptr;
  const CUresult code = api_->cuModuleLoadData(&module, image);
  return answer(code, static_cast<Module>(reinterpret_cast<std::uintptr_t>(module)));
}

void Verbs::unload(Module module) const { (void)api_->cuModuleUnload(native(module)); }

Result<Function> Verbs::function_in(Module module, const char* name) const {
  CUfunction function = nullptr;
  BARSWAP_TRY_VOID(done(api_->cuModuleGetFunction(&function, native(module), name)));
  if (api_->cuFuncLoad) BARSWAP_TRY_VOID(done(api_->cuFuncLoad(function)));  // from 12.4
  return static_cast<Function>(reinterpret_cast<std::uintptr_t>(function));
}

Result<void> Verbs::launch(Function function, unsigned blocks, unsigned threads, Stream stream,
                           void** parameters) const {
  const auto word = static_cast<std::uintptr_t>(function);
  return done(api_->cuLaunchKernel(reinterpret_cast<CUfunction>(word), blocks, 1, 1, threads, 1, 1,
                                   0, native(stream), parameters, nullptr));
}

Result<HostBuffer> Verbs::make_host_buffer(std::uint64_t size_bytes) const {
  void* memory = nullptr;
  const CUresult code = api_->cuMemHostAlloc(&memory, size_bytes, 0);
  return answer(code, HostBuffer{memory, Address{reinterpret_cast<std::uintptr_t>(memory)}});
}

void Verbs::free_host_buffer(void* memory) const { (void)api_->cuMemFreeHost(memory); }

int Verbs::relax_capture() const {
  CUstreamCaptureMode mode = CU_STREAM_CAPTURE_MODE_RELAXED;
  if (api_->cuThreadExchangeStreamCaptureMode) (void)api_->cuThreadExchangeStreamCaptureMode(&mode);
  return mode;
}

void Verbs::restore_capture(int mode) const {
  auto native_mode = static_cast<CUstreamCaptureMode>(mode);
  if (api_->cuThreadExchangeStreamCaptureMode)
    (void)api_->cuThreadExchangeStreamCaptureMode(&native_mode);
}

bool sticky(Error error) { return error.fault == Fault::driver && is_sticky(error.driver_code); }

bool refused_for_memory(Error error) {
  return error.fault == Fault::out_of_memory ||
         (error.fault == Fault::driver && error.driver_code == CUDA_ERROR_OUT_OF_MEMORY);
}

}  // namespace barswap::driver

// What a program sets or asks of a context, a kernel or a stream and what a kernel on another die
// would lack: where launches are routed, these are noted, copied there, or keep launches at home.
#include <dlfcn.h>

#include <optional>
#include <utility>

#include "interpose/call.hpp"
#include "interpose/timed.hpp"

namespace barswap::interpose::handlers {
namespace {

session::Router* router_of(const Call& call) { return call ? call->router() : nullptr; }

driver::Library word_of(CUlibrary library) {
  return static_cast<driver::Library>(reinterpret_cast<std::uintptr_t>(library));
}
driver::Module word_of(CUmodule module) {
  return static_cast<driver::Module>(reinterpret_cast<std::uintptr_t>(module));
}
template <class Function>
driver::Function word_of_function(Function function) {
  return static_cast<driver::Function>(reinterpret_cast<std::uintptr_t>(function));
}

// The bytes are there as long as the library is: its loader says so, or they are part of a mapped
// file.
bool stays(const void* bytes, const CUlibraryOption* options, unsigned count) {
  for (unsigned i = 0; options && i < count; ++i)
    if (options[i] == CU_LIBRARY_BINARY_IS_PRESERVED) return true;
  Dl_info info{};
  return dladdr(bytes, &info) != 0;
}

template <auto Slot, class Function, class... Arguments>
CUresult attribute_set(Function function, Arguments... arguments) {
  const Call call;
  const CUresult result = forward<Slot>(arguments...);
  if (session::Router* router = router_of(call))
    router->attributes_changed(word_of_function(function));
  return result;
}

// How PTX is to be translated; nothing: by an option that is not a value, or that we do not know.
// What the driver answers through an option it has answered already.
std::optional<driver::Code> translation_of(unsigned count, const CUjit_option* options,
                                           void* const* values) {
  driver::Code code;
  for (unsigned i = 0; options && values && i < count; ++i) {
    switch (options[i]) {
      case CU_JIT_WALL_TIME:
      case CU_JIT_INFO_LOG_BUFFER:
      case CU_JIT_INFO_LOG_BUFFER_SIZE_BYTES:
      case CU_JIT_ERROR_LOG_BUFFER:
      case CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES:
      case CU_JIT_LOG_VERBOSE:
      case CU_JIT_TARGET_FROM_CUCONTEXT: break;  // the default
      case CU_JIT_MAX_REGISTERS:
      case CU_JIT_OPTIMIZATION_LEVEL:
      case CU_JIT_TARGET:
      case CU_JIT_FALLBACK_STRATEGY:
      case CU_JIT_GENERATE_DEBUG_INFO:
      case CU_JIT_GENERATE_LINE_INFO:
      case CU_JIT_CACHE_MODE:
        code.options.push_back(options[i]);
        code.values.push_back(values[i]);
        break;
      default: return std::nullopt;
    }
  }
  return code;
}

template <auto Slot, class... More>
CUresult module_loaded(CUmodule* module, const void* image, std::optional<driver::Code> code,
                       More... more) {
  const Call call;
  const CUresult result = forward_with_room<Slot>(call, module, image, more...);
  session::Router* router = router_of(call);
  if (router && code && result == CUDA_SUCCESS)
    router->module_loaded(word_of(*module), image, std::move(*code));
  return result;
}

// A variable of an image: the program may write it from now on, and kernels may be given its
// address, which no other die reaches.
template <auto Slot, class Image>
CUresult variable(CUdeviceptr* address, std::size_t* bytes, Image image, const char* name) {
  const Call call;
  CUdeviceptr there = 0;
  std::size_t size = 0;
  session::Router* router = router_of(call);
  CUdeviceptr* wanted = address || !router ? address : &there;
  std::size_t* asked = bytes || !router ? bytes : &size;
  const CUresult result = forward_with_room<Slot>(call, wanted, asked, image, name);
  if (!router || result != CUDA_SUCCESS) return result;
  router->variable_asked(word_of(image), Address{*wanted}, *asked);
  return result;
}

// What the program gets is device memory that only its own die is known to reach.
template <auto Slot, class... Arguments>
CUresult reached_from_home(const char* what, Arguments... arguments) {
  const Call call;
  const CUresult result = forward_with_room<Slot>(call, arguments...);
  if (call && result == CUDA_SUCCESS) call->tie_launches(what);
  return result;
}

template <auto Slot, class... Arguments>
CUresult stream_set(CUstream stream, driver::Stream named, Arguments... arguments) {
  const Call call;
  const session::AtHome home(static_cast<bool>(call));
  const CUresult result = forward<Slot>(stream, arguments...);
  if (session::Router* router = router_of(call)) router->tie(named);
  return result;
}

}  // namespace

CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel kernel,
                              CUdevice device) {
  return attribute_set<&driver::Api::cuKernelSetAttribute>(kernel, attribute, value, kernel,
                                                           device);
}
CUresult cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  return attribute_set<&driver::Api::cuFuncSetAttribute>(function, function, attribute, value);
}

CUresult cuCtxSetLimit(CUlimit limit, std::size_t value) {
  const Call call;
  const CUresult result = forward_with_room<&driver::Api::cuCtxSetLimit>(call, limit, value);
  session::Router* router = router_of(call);
  if (router && result == CUDA_SUCCESS && limit == CU_LIMIT_STACK_SIZE)
    router->stack_changed(value);
  return result;
}

CUresult cuLibraryLoadData(CUlibrary* library, const void* code, CUjit_option* jit, void** values,
                           unsigned jit_count, CUlibraryOption* options, void** option_values,
                           unsigned count) {
  const Call call;
  const CUresult result = forward_with_room<&driver::Api::cuLibraryLoadData>(
      call, library, code, jit, values, jit_count, options, option_values, count);
  session::Router* router = router_of(call);
  if (router && result == CUDA_SUCCESS)
    router->library_loaded(word_of(*library), code, stays(code, options, count));
  return result;
}

// What a file holds is not looked at: its kernels stay at home.
CUresult cuLibraryLoadFromFile(CUlibrary* library, const char* path, CUjit_option* jit,
                               void** values, unsigned jit_count, CUlibraryOption* options,
                               void** option_values, unsigned count) {
  const Call call;
  return forward_with_room<&driver::Api::cuLibraryLoadFromFile>(
      call, library, path, jit, values, jit_count, options, option_values, count);
}

// Kernels of it may be running on another die.
CUresult cuLibraryUnload(CUlibrary library) {
  const Call call;
  const session::AtHome home(static_cast<bool>(call));
  if (session::Router* router = router_of(call)) router->library_gone(word_of(library));
  if (call) call->reach().functions_gone();
  return forward<&driver::Api::cuLibraryUnload>(library);
}

CUresult cuModuleLoadData(CUmodule* module, const void* image) {
  return module_loaded<&driver::Api::cuModuleLoadData>(module, image, driver::Code());
}
CUresult cuModuleLoadFatBinary(CUmodule* module, const void* image) {
  return module_loaded<&driver::Api::cuModuleLoadFatBinary>(module, image, driver::Code());
}
CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned count,
                            CUjit_option* options, void** values) {
  return module_loaded<&driver::Api::cuModuleLoadDataEx>(
      module, image, translation_of(count, options, values), count, options, values);
}

CUresult cuModuleUnload(CUmodule module) {
  const Call call;
  const session::AtHome home(static_cast<bool>(call));
  if (session::Router* router = router_of(call)) router->module_goes(word_of(module));
  if (call) call->reach().functions_gone();
  return forward<&driver::Api::cuModuleUnload>(module);
}

CUresult cuLibraryGetGlobal(CUdeviceptr* address, std::size_t* bytes, CUlibrary library,
                            const char* name) {
  return variable<&driver::Api::cuLibraryGetGlobal>(address, bytes, library, name);
}
CUresult cuModuleGetGlobal_v2(CUdeviceptr* address, std::size_t* bytes, CUmodule module,
                              const char* name) {
  return variable<&driver::Api::cuModuleGetGlobal_v2>(address, bytes, module, name);
}

CUresult cuTexObjectCreate(CUtexObject* object, const CUDA_RESOURCE_DESC* resource,
                           const CUDA_TEXTURE_DESC* texture, const CUDA_RESOURCE_VIEW_DESC* view) {
  return reached_from_home<&driver::Api::cuTexObjectCreate>("texture objects belong to one context",
                                                            object, resource, texture, view);
}
CUresult cuSurfObjectCreate(CUsurfObject* object, const CUDA_RESOURCE_DESC* resource) {
  return reached_from_home<&driver::Api::cuSurfObjectCreate>(
      "surface objects belong to one context", object, resource);
}

CUresult cuIpcOpenMemHandle(CUdeviceptr* pointer, CUipcMemHandle handle, unsigned flags) {
  return reached_from_home<&driver::Api::cuIpcOpenMemHandle>(
      "memory of another process is mapped for one die", pointer, handle, flags);
}
CUresult cuIpcOpenMemHandle_v2(CUdeviceptr* pointer, CUipcMemHandle handle, unsigned flags) {
  return reached_from_home<&driver::Api::cuIpcOpenMemHandle_v2>(
      "memory of another process is mapped for one die", pointer, handle, flags);
}

CUresult cuExternalMemoryGetMappedBuffer(CUdeviceptr* pointer, CUexternalMemory memory,
                                         const CUDA_EXTERNAL_MEMORY_BUFFER_DESC* description) {
  return reached_from_home<&driver::Api::cuExternalMemoryGetMappedBuffer>(
      "external memory is mapped for one die", pointer, memory, description);
}

CUresult cuGraphicsResourceGetMappedPointer_v2(CUdeviceptr* pointer, std::size_t* bytes,
                                               CUgraphicsResource resource) {
  return reached_from_home<&driver::Api::cuGraphicsResourceGetMappedPointer_v2>(
      "a graphics resource is mapped for one die", pointer, bytes, resource);
}

CUresult cuMemPoolImportPointer(CUdeviceptr* pointer, CUmemoryPool pool,
                                CUmemPoolPtrExportData* data) {
  return reached_from_home<&driver::Api::cuMemPoolImportPointer>(
      "memory of another process is mapped for one die", pointer, pool, data);
}

CUresult cuGraphAddMemAllocNode(CUgraphNode* node, CUgraph graph, const CUgraphNode* dependencies,
                                std::size_t count, CUDA_MEM_ALLOC_NODE_PARAMS* parameters) {
  return reached_from_home<&driver::Api::cuGraphAddMemAllocNode>(
      "memory of graphs is mapped for one die", node, graph, dependencies, count, parameters);
}

#define BARSWAP_STREAM_SET(symbol)                                                             \
  CUresult symbol(CUstream stream, CUstreamAttrID attribute, const CUstreamAttrValue* value) { \
    return stream_set<&driver::Api::symbol>(stream, stream_behind(#symbol, stream), attribute, \
                                            value);                                            \
  }
BARSWAP_STREAM_SET(cuStreamSetAttribute)
BARSWAP_STREAM_SET(cuStreamSetAttribute_ptsz)
#undef BARSWAP_STREAM_SET
#define BARSWAP_STREAM_SET(symbol)                                                 \
  CUresult symbol(CUstream to, CUstream from) {                                    \
    return stream_set<&driver::Api::symbol>(to, stream_behind(#symbol, to), from); \
  }
BARSWAP_STREAM_SET(cuStreamCopyAttributes)
BARSWAP_STREAM_SET(cuStreamCopyAttributes_ptsz)
#undef BARSWAP_STREAM_SET

}  // namespace barswap::interpose::handlers

// Modules, libraries, functions and kernels.
#include <algorithm>
#include <cstring>
#include <fstream>
#include <sstream>

#include "sim/image.hpp"
#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

Function* add_function(Image& image, const Function& declared, Context* context) {
  auto function = std::make_unique<Function>(declared);
  function->context = context;
  function->image = &image;
  return image.functions.emplace_back(adopt(objects().functions, std::move(function)));
}

CUresult place_globals(Image& image, Context& context, std::vector<Global> globals) {
  for (Global& global : globals) {
    const Allocation* room = memory().allocate_plain(
        &context, context.die, std::max<std::size_t>(global.size_bytes, 1), Kind::Global);
    if (room == nullptr) return CUDA_ERROR_OUT_OF_MEMORY;
    const Piece piece = resolve(memory(), context.die, room->base, room->held_bytes, true);
    std::memset(piece.bytes, 0, room->held_bytes);
    global.address = room->base;
    image.globals.push_back(global);
  }
  return CUDA_SUCCESS;
}

CUresult load(CUmodule* result, const void* data) {
  if (result == nullptr || data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  const std::string text = image_text(data);
  if (text.empty()) return CUDA_ERROR_INVALID_IMAGE;
  const ImageContent content = parse_image(text);
  Image* image = adopt(objects().modules, std::make_unique<Image>());
  image->context = context;
  image->text = text;
  for (const Function& declared : content.functions) add_function(*image, declared, context);
  BARSWAP_SIM_TRY(place_globals(*image, *context, content.globals));
  *result = reinterpret_cast<CUmodule>(image);
  return CUDA_SUCCESS;
}

CUresult read_file(const char* path, std::string& text) {
  if (path == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::ifstream file(path, std::ios::binary);
  if (!file) return CUDA_ERROR_FILE_NOT_FOUND;
  std::ostringstream content;
  content << file.rdbuf();
  text = content.str();
  return CUDA_SUCCESS;
}

CUresult find_image(Table<Image>& table, const void* handle, Image*& image) {
  image = look_up(table, handle);
  return image == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

Function* by_name(const Image& image, const char* name) {
  for (Function* function : image.functions)
    if (function->name == name) return function;
  return nullptr;
}

void drop_functions(Image& image) {
  for (Function* function : image.functions) objects().functions.erase(function);
  for (auto& [key, function] : image.per_context) objects().functions.erase(function);
  for (const Global& global : image.globals)
    if (Allocation* room = memory().allocation_at(global.address))
      machine().release_allocation(*room);
}

CUresult parameter_info(const void* handle, std::size_t index, std::size_t* offset,
                        std::size_t* size) {
  const Function* function = look_up(objects().functions, handle);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (offset == nullptr || index >= function->parameters.size()) return CUDA_ERROR_INVALID_VALUE;
  *offset = function->parameters[index].offset;
  if (size != nullptr) *size = function->parameters[index].size_bytes;
  return CUDA_SUCCESS;
}

// A kernel has its attributes on each die; a function, on its context's.
CUresult get_attribute(int* value, int attribute, const void* handle, int die) {
  const Function* function = look_up(objects().functions, handle);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  if (value == nullptr || attribute < 0 || attribute >= CU_FUNC_ATTRIBUTE_MAX)
    return CUDA_ERROR_INVALID_VALUE;
  const auto set = function->attributes.find({die, attribute});
  switch (attribute) {
    case CU_FUNC_ATTRIBUTE_MAX_THREADS_PER_BLOCK: *value = 1024; break;
    case CU_FUNC_ATTRIBUTE_NUM_REGS: *value = 32; break;
    case CU_FUNC_ATTRIBUTE_PTX_VERSION:
    case CU_FUNC_ATTRIBUTE_BINARY_VERSION: *value = 90; break;
    default: *value = set == function->attributes.end() ? 0 : set->second; break;
  }
  return CUDA_SUCCESS;
}

CUresult set_attribute(const void* handle, int attribute, int value, int die) {
  Function* function = look_up(objects().functions, handle);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  function->attributes[{die, attribute}] = value;
  return CUDA_SUCCESS;
}

}  // namespace

namespace body {

CUresult cuModuleLoadData(CUmodule* module, const void* image) { return load(module, image); }
CUresult cuModuleLoadDataEx(CUmodule* module, const void* image, unsigned, CUjit_option*, void**) {
  return load(module, image);
}
CUresult cuModuleLoadFatBinary(CUmodule* module, const void* image) { return load(module, image); }

CUresult cuModuleLoad(CUmodule* module, const char* path) {
  std::string text;
  BARSWAP_SIM_TRY(read_file(path, text));
  return load(module, text.c_str());
}

CUresult cuModuleUnload(CUmodule module) {
  Image* image = nullptr;
  BARSWAP_SIM_TRY(find_image(objects().modules, module, image));
  Context& context = *image->context;
  BARSWAP_SIM_TRY(machine().wait_for(context, machine().scheduler().everything(&context)));
  BARSWAP_SIM_TRY(find_image(objects().modules, module, image));
  drop_functions(*image);
  objects().modules.erase(module);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunction(CUfunction* result, CUmodule module, const char* name) {
  Image* image = nullptr;
  if (result == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(find_image(objects().modules, module, image));
  Function* function = by_name(*image, name);
  if (function == nullptr) return CUDA_ERROR_NOT_FOUND;
  *result = reinterpret_cast<CUfunction>(function);
  return CUDA_SUCCESS;
}

CUresult cuModuleGetFunctionCount(unsigned* count, CUmodule module) {
  Image* image = nullptr;
  BARSWAP_SIM_TRY(find_image(objects().modules, module, image));
  *count = static_cast<unsigned>(image->functions.size());
  return CUDA_SUCCESS;
}

CUresult cuModuleGetGlobal_v2(CUdeviceptr* address, std::size_t* bytes, CUmodule module,
                              const char* name) {
  Image* image = nullptr;
  BARSWAP_SIM_TRY(find_image(objects().modules, module, image));
  for (const Global& global : image->globals) {
    if (global.name != name) continue;
    if (address != nullptr) *address = global.address;
    if (bytes != nullptr) *bytes = global.size_bytes;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_NOT_FOUND;
}

CUresult cuModuleGetLoadingMode(CUmoduleLoadingMode* mode) {
  *mode = CU_MODULE_LAZY_LOADING;
  return CUDA_SUCCESS;
}

CUresult cuLibraryLoadData(CUlibrary* result, const void* data, CUjit_option*, void**, unsigned,
                           CUlibraryOption*, void**, unsigned) {
  if (result == nullptr || data == nullptr) return CUDA_ERROR_INVALID_VALUE;
  const std::string text = image_text(data);
  if (text.empty()) return CUDA_ERROR_INVALID_IMAGE;
  Image* image = adopt(objects().libraries, std::make_unique<Image>());
  image->text = text;
  for (const Function& declared : parse_image(text).functions)
    add_function(*image, declared, nullptr);
  *result = reinterpret_cast<CUlibrary>(image);
  return CUDA_SUCCESS;
}

CUresult cuLibraryLoadFromFile(CUlibrary* library, const char* path, CUjit_option* options,
                               void** values, unsigned count, CUlibraryOption* library_options,
                               void** library_values, unsigned library_count) {
  std::string text;
  BARSWAP_SIM_TRY(read_file(path, text));
  return body::cuLibraryLoadData(library, text.c_str(), options, values, count, library_options,
                                 library_values, library_count);
}

CUresult cuLibraryUnload(CUlibrary library) {
  Image* image = nullptr;
  BARSWAP_SIM_TRY(find_image(objects().libraries, library, image));
  for (const auto& [context, module] : image->modules) body::cuModuleUnload(module);
  drop_functions(*image);
  objects().libraries.erase(library);
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernel(CUkernel* result, CUlibrary library, const char* name) {
  Image* image = nullptr;
  if (result == nullptr || name == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(find_image(objects().libraries, library, image));
  Function* function = by_name(*image, name);
  if (function == nullptr) return CUDA_ERROR_NOT_FOUND;
  *result = reinterpret_cast<CUkernel>(function);
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetKernelCount(unsigned* count, CUlibrary library) {
  Image* image = nullptr;
  BARSWAP_SIM_TRY(find_image(objects().libraries, library, image));
  *count = static_cast<unsigned>(image->functions.size());
  return CUDA_SUCCESS;
}

CUresult cuLibraryEnumerateKernels(CUkernel* kernels, unsigned count, CUlibrary library) {
  Image* image = nullptr;
  BARSWAP_SIM_TRY(find_image(objects().libraries, library, image));
  for (unsigned i = 0; i < count && i < image->functions.size(); ++i)
    kernels[i] = reinterpret_cast<CUkernel>(image->functions[i]);
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetModule(CUmodule* module, CUlibrary library) {
  Image* image = nullptr;
  Context* context = nullptr;
  BARSWAP_SIM_TRY(find_image(objects().libraries, library, image));
  BARSWAP_SIM_TRY(machine().need(context));
  CUmodule& own = image->modules[context];
  if (own == nullptr) BARSWAP_SIM_TRY(load(&own, image->text.c_str()));
  *module = own;
  return CUDA_SUCCESS;
}

CUresult cuLibraryGetGlobal(CUdeviceptr* address, std::size_t* bytes, CUlibrary library,
                            const char* name) {
  CUmodule module = nullptr;
  BARSWAP_SIM_TRY(body::cuLibraryGetModule(&module, library));
  return body::cuModuleGetGlobal_v2(address, bytes, module, name);
}

// The form of a kernel that belongs to the current context.
CUresult cuKernelGetFunction(CUfunction* result, CUkernel kernel) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  Function* general = look_up(objects().functions, kernel);
  if (general == nullptr || general->context != nullptr) return CUDA_ERROR_INVALID_HANDLE;
  Function*& own = static_cast<Image*>(general->image)->per_context[{general, context}];
  if (own == nullptr) {
    auto function = std::make_unique<Function>(*general);
    function->context = context;
    own = adopt(objects().functions, std::move(function));
  }
  *result = reinterpret_cast<CUfunction>(own);
  return CUDA_SUCCESS;
}

CUresult cuKernelGetLibrary(CUlibrary* library, CUkernel kernel) {
  const Function* function = look_up(objects().functions, kernel);
  if (function == nullptr || function->context != nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *library = reinterpret_cast<CUlibrary>(function->image);
  return CUDA_SUCCESS;
}

CUresult cuKernelGetName(const char** name, CUkernel kernel) {
  const Function* function = look_up(objects().functions, kernel);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *name = function->name.c_str();
  return CUDA_SUCCESS;
}

CUresult cuFuncGetName(const char** name, CUfunction handle) {
  const Function* function = look_up(objects().functions, handle);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  *name = function->name.c_str();
  return CUDA_SUCCESS;
}

CUresult cuFuncGetModule(CUmodule* module, CUfunction handle) {
  const Function* function = look_up(objects().functions, handle);
  if (function == nullptr || look_up(objects().modules, function->image) == nullptr)
    return CUDA_ERROR_INVALID_HANDLE;
  *module = reinterpret_cast<CUmodule>(function->image);
  return CUDA_SUCCESS;
}

CUresult cuFuncLoad(CUfunction handle) {
  return look_up(objects().functions, handle) == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

CUresult cuFuncIsLoaded(CUfunctionLoadingState* state, CUfunction handle) {
  *state = CU_FUNCTION_LOADING_STATE_LOADED;
  return body::cuFuncLoad(handle);
}

CUresult cuFuncGetParamInfo(CUfunction f, std::size_t index, std::size_t* offset,
                            std::size_t* size) {
  return parameter_info(f, index, offset, size);
}
CUresult cuKernelGetParamInfo(CUkernel k, std::size_t index, std::size_t* offset,
                              std::size_t* size) {
  const Function* function = look_up(objects().functions, k);
  if (function != nullptr && function->context != nullptr) return CUDA_ERROR_INVALID_HANDLE;
  return parameter_info(k, index, offset, size);
}
CUresult cuFuncGetAttribute(int* value, CUfunction_attribute attribute, CUfunction f) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  return get_attribute(value, attribute, f, context->die);
}
CUresult cuKernelGetAttribute(int* value, CUfunction_attribute attribute, CUkernel k,
                              CUdevice die) {
  return get_attribute(value, attribute, k, die);
}
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute attribute, int value) {
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  return set_attribute(f, attribute, value, context->die);
}
CUresult cuKernelSetAttribute(CUfunction_attribute attribute, int value, CUkernel k,
                              CUdevice die) {
  return set_attribute(k, attribute, value, die);
}
CUresult cuFuncSetCacheConfig(CUfunction, CUfunc_cache) { return CUDA_SUCCESS; }
CUresult cuKernelSetCacheConfig(CUkernel, CUfunc_cache, CUdevice) { return CUDA_SUCCESS; }

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int block_size,
                                                     std::size_t) {
  if (block_size <= 0) return CUDA_ERROR_INVALID_VALUE;
  *blocks = std::max(1, 2048 / block_size);
  return CUDA_SUCCESS;
}

CUresult cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int* blocks, CUfunction function,
                                                              int block_size, std::size_t shared,
                                                              unsigned) {
  return body::cuOccupancyMaxActiveBlocksPerMultiprocessor(blocks, function, block_size, shared);
}

}  // namespace body
}  // namespace barswap::sim

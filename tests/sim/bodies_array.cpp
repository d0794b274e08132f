// Arrays: memory without an address, which counts in VRAM.
#include <algorithm>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

std::size_t channel_bytes(CUarray_format format) {
  switch (format) {
    case CU_AD_FORMAT_UNSIGNED_INT8:
    case CU_AD_FORMAT_SIGNED_INT8: return 1;
    case CU_AD_FORMAT_UNSIGNED_INT16:
    case CU_AD_FORMAT_SIGNED_INT16:
    case CU_AD_FORMAT_HALF: return 2;
    case CU_AD_FORMAT_UNSIGNED_INT32:
    case CU_AD_FORMAT_SIGNED_INT32:
    case CU_AD_FORMAT_FLOAT: return 4;
    default: return 0;
  }
}

CUresult find_array(CUarray handle, Array*& array) {
  array = look_up(objects().arrays, handle);
  return array == nullptr ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}

}  // namespace

namespace body {

CUresult cuArray3DCreate_v2(CUarray* result, const CUDA_ARRAY3D_DESCRIPTOR* descriptor) {
  if (result == nullptr || descriptor == nullptr) return CUDA_ERROR_INVALID_VALUE;
  Context* context = nullptr;
  BARSWAP_SIM_TRY(machine().need(context));
  BARSWAP_SIM_TRY(refuse_beside_capture());
  const std::size_t element = channel_bytes(descriptor->Format) * descriptor->NumChannels;
  if (element == 0 || descriptor->Width == 0) return CUDA_ERROR_INVALID_VALUE;
  auto array = std::make_unique<Array>();
  array->descriptor = *descriptor;
  array->row_bytes = descriptor->Width * element;
  const std::size_t bytes = array->row_bytes * std::max<std::size_t>(descriptor->Height, 1) *
                            std::max<std::size_t>(descriptor->Depth, 1);
  array->charged_bytes = round_up(bytes, std::size_t{64} << 10);
  array->die = context->die;
  array->context = context;
  if (!memory().charge(context->die, array->charged_bytes)) return CUDA_ERROR_OUT_OF_MEMORY;
  array->bytes.assign(bytes, std::byte{machine().config().poison});
  *result = reinterpret_cast<CUarray>(adopt(objects().arrays, std::move(array)));
  return CUDA_SUCCESS;
}

CUresult cuArrayCreate_v2(CUarray* result, const CUDA_ARRAY_DESCRIPTOR* flat) {
  if (flat == nullptr) return CUDA_ERROR_INVALID_VALUE;
  CUDA_ARRAY3D_DESCRIPTOR descriptor{};
  descriptor.Width = flat->Width;
  descriptor.Height = flat->Height;
  descriptor.Format = flat->Format;
  descriptor.NumChannels = flat->NumChannels;
  return body::cuArray3DCreate_v2(result, &descriptor);
}

CUresult cuArrayDestroy(CUarray handle) {
  Array* array = nullptr;
  BARSWAP_SIM_TRY(find_array(handle, array));
  Context& context = *array->context;
  BARSWAP_SIM_TRY(machine().wait_for(context, machine().scheduler().everything(&context)));
  BARSWAP_SIM_TRY(find_array(handle, array));
  memory().discharge(array->die, array->charged_bytes);
  objects().arrays.erase(handle);
  return CUDA_SUCCESS;
}

CUresult cuArray3DGetDescriptor_v2(CUDA_ARRAY3D_DESCRIPTOR* descriptor, CUarray handle) {
  Array* array = nullptr;
  BARSWAP_SIM_TRY(find_array(handle, array));
  *descriptor = array->descriptor;
  return CUDA_SUCCESS;
}

CUresult cuArrayGetDescriptor_v2(CUDA_ARRAY_DESCRIPTOR* descriptor, CUarray handle) {
  Array* array = nullptr;
  BARSWAP_SIM_TRY(find_array(handle, array));
  descriptor->Width = array->descriptor.Width;
  descriptor->Height = array->descriptor.Height;
  descriptor->Format = array->descriptor.Format;
  descriptor->NumChannels = array->descriptor.NumChannels;
  return CUDA_SUCCESS;
}

CUresult cuArrayGetMemoryRequirements(CUDA_ARRAY_MEMORY_REQUIREMENTS* requirements, CUarray handle,
                                      CUdevice) {
  Array* array = nullptr;
  BARSWAP_SIM_TRY(find_array(handle, array));
  *requirements = {};
  requirements->size = array->charged_bytes;
  requirements->alignment = std::size_t{64} << 10;
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

// Start, errors, devices.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

CUresult check_die(CUdevice die) {
  return die >= 0 && die < machine().config().dies ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}

int attribute_value(CUdevice_attribute attribute, const Config& config, int die) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X:
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z: return 64;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y:
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 49152;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return 232448;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 233472;
    case CU_DEVICE_ATTRIBUTE_TOTAL_CONSTANT_MEMORY: return 65536;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK:
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_PITCH: return 0x7fffffff;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT: return 512;
    case CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT: return 32;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1'980'000;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 3'201'000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 6144;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 50 << 20;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return config.sms;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return 9;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return 0;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 3;
    case CU_DEVICE_ATTRIBUTE_PCI_DEVICE_ID: return config.real(die);
    case CU_DEVICE_ATTRIBUTE_GPU_OVERLAP:
    case CU_DEVICE_ATTRIBUTE_CAN_MAP_HOST_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS:
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING:
    case CU_DEVICE_ATTRIBUTE_MANAGED_MEMORY:
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_MANAGED_ACCESS:
    case CU_DEVICE_ATTRIBUTE_HOST_REGISTER_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_HOST_POINTER_FOR_REGISTERED_MEM:
    case CU_DEVICE_ATTRIBUTE_COMPUTE_PREEMPTION_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_STREAM_PRIORITIES_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH:
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_64_BIT_STREAM_MEM_OPS:
    case CU_DEVICE_ATTRIBUTE_CAN_USE_STREAM_WAIT_VALUE_NOR:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_GPU_DIRECT_RDMA_WITH_CUDA_VMM_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_DMA_BUF_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_MEM_DECOMPRESS_ALGORITHM_MASK: return 0;
    case CU_DEVICE_ATTRIBUTE_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
    case CU_DEVICE_ATTRIBUTE_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR_SUPPORTED: return config.vmm ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
      return config.vmm && config.host_numa && config.host_bytes > 0 ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_HOST_VIRTUAL_MEMORY_MANAGEMENT_SUPPORTED:
      return config.vmm && config.host && config.host_bytes > 0 ? 1 : 0;
    case CU_DEVICE_ATTRIBUTE_HOST_NUMA_ID: return 0;
    case CU_DEVICE_ATTRIBUTE_NUMA_ID: return -1;
    default: return 0;
  }
}

struct ErrorText {
  const char* name;
  const char* text;
};

const ErrorText* error_text(CUresult error) {
#define BARSWAP_SIM_ERROR(code, text) {code, {#code, text}}
  // Never destroyed: a program may ask in its last destructor. So it is with every table here.
  static const auto& texts = *new std::map<CUresult, ErrorText>{
      BARSWAP_SIM_ERROR(CUDA_SUCCESS, "no error"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_INVALID_VALUE, "invalid argument"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_OUT_OF_MEMORY, "out of memory"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_NOT_INITIALIZED, "initialization error"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_DEINITIALIZED, "driver shutting down"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_NO_DEVICE, "no CUDA-capable device is detected"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_INVALID_DEVICE, "invalid device ordinal"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_INVALID_IMAGE, "device kernel image is invalid"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_INVALID_CONTEXT, "invalid device context"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_INVALID_HANDLE, "invalid resource handle"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_NOT_FOUND, "named symbol not found"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_NOT_READY, "device not ready"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned address"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_LAUNCH_FAILED, "unspecified launch failure"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED, "peer access is already enabled"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED, "peer access has not been enabled"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED,
                        "peer access is not supported between these two devices"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_CONTEXT_IS_DESTROYED, "context is destroyed"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_NOT_PERMITTED, "operation not permitted"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_NOT_SUPPORTED, "operation not supported"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED,
                        "operation not permitted when stream is capturing"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED,
                        "operation failed due to a previous error during capture"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED,
                        "capture was not initiated in this stream"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, "capturing stream has unjoined work"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_STREAM_CAPTURE_ISOLATION,
                        "dependency created on uncaptured work in another stream"),
      BARSWAP_SIM_ERROR(
          CUDA_ERROR_STREAM_CAPTURE_IMPLICIT,
          "operation would make the legacy stream depend on a capturing blocking stream"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_GRAPH_EXEC_UPDATE_FAILURE,
                        "the graph update was not performed because it included changes which "
                        "violated constraints specific to instantiated graph update"),
      BARSWAP_SIM_ERROR(CUDA_ERROR_UNKNOWN, "unknown error"),
  };
#undef BARSWAP_SIM_ERROR
  const auto found = texts.find(error);
  return found == texts.end() ? nullptr : &found->second;
}

}  // namespace

namespace body {

CUresult cuInit(unsigned flags) {
  if (flags != 0) return CUDA_ERROR_INVALID_VALUE;
  const Config& config = machine().config();
  const char* visible = config.reads_visible ? std::getenv("CUDA_VISIBLE_DEVICES") : nullptr;
  if (visible != nullptr && !machine().initialized()) {
    const std::vector<int> dies = parse_visible(visible, config.dies);
    if (dies.empty()) return CUDA_ERROR_NO_DEVICE;
    machine().leave(dies);
  }
  if (config.no_device || config.dies == 0) return CUDA_ERROR_NO_DEVICE;
  machine().initialize();
  return CUDA_SUCCESS;
}

CUresult cuDriverGetVersion(int* version) {
  if (version == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *version = machine().config().driver_version;
  return CUDA_SUCCESS;
}

CUresult cuGetErrorName(CUresult error, const char** name) {
  const ErrorText* found = error_text(error);
  *name = found == nullptr ? nullptr : found->name;
  return found == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuGetErrorString(CUresult error, const char** text) {
  const ErrorText* found = error_text(error);
  *text = found == nullptr ? nullptr : found->text;
  return found == nullptr ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

CUresult cuDeviceGetCount(int* count) {
  if (count == nullptr) return CUDA_ERROR_INVALID_VALUE;
  *count = machine().config().dies;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGet(CUdevice* device, int ordinal) {
  if (device == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(ordinal));
  *device = ordinal;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetName(char* name, int size, CUdevice device) {
  if (name == nullptr || size <= 0) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(device));
  std::snprintf(name, static_cast<std::size_t>(size), "Simulated die %d",
                machine().config().real(device));
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid_v2(CUuuid* uuid, CUdevice device) {
  if (uuid == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(device));
  std::memset(uuid, 0x51, sizeof *uuid);
  uuid->bytes[15] = static_cast<char>(machine().config().real(device));
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetUuid(CUuuid* uuid, CUdevice device) {
  return body::cuDeviceGetUuid_v2(uuid, device);
}

CUresult cuDeviceGetPCIBusId(char* text, int size, CUdevice device) {
  if (text == nullptr || size <= 0) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(device));
  std::snprintf(text, static_cast<std::size_t>(size), "0000:%02X:00.0",
                machine().config().real(device) + 1);
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetByPCIBusId(CUdevice* device, const char* text) {
  if (device == nullptr || text == nullptr) return CUDA_ERROR_INVALID_VALUE;
  unsigned domain = 0;
  unsigned bus = 0;
  if (std::sscanf(text, "%x:%x", &domain, &bus) != 2) return CUDA_ERROR_INVALID_VALUE;
  for (int die = 0; die < machine().config().dies; ++die) {
    if (machine().config().real(die) != static_cast<int>(bus) - 1) continue;
    *device = die;
    return CUDA_SUCCESS;
  }
  return CUDA_ERROR_INVALID_DEVICE;
}

CUresult cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice device) {
  if (value == nullptr || attribute <= 0 || attribute >= CU_DEVICE_ATTRIBUTE_MAX)
    return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(device));
  *value = attribute == CU_DEVICE_ATTRIBUTE_PCI_BUS_ID
               ? device + 1
               : attribute_value(attribute, machine().config(), 0);
  return CUDA_SUCCESS;
}

CUresult cuDeviceComputeCapability(int* major, int* minor, CUdevice device) {
  BARSWAP_SIM_TRY(check_die(device));
  *major = 9;
  *minor = 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceTotalMem_v2(std::size_t* bytes, CUdevice device) {
  if (bytes == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(device));
  *bytes = machine().config().vram_of(device);
  return CUDA_SUCCESS;
}

CUresult cuDeviceCanAccessPeer(int* can, CUdevice device, CUdevice peer) {
  if (can == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(device));
  BARSWAP_SIM_TRY(check_die(peer));
  *can = device != peer && machine().config().reaches(device, peer) ? 1 : 0;
  return CUDA_SUCCESS;
}

CUresult cuDeviceGetP2PAttribute(int* value, CUdevice_P2PAttribute attribute, CUdevice device,
                                 CUdevice peer) {
  if (value == nullptr) return CUDA_ERROR_INVALID_VALUE;
  BARSWAP_SIM_TRY(check_die(device));
  BARSWAP_SIM_TRY(check_die(peer));
  if (device == peer) return CUDA_ERROR_INVALID_DEVICE;
  *value = attribute != CU_DEVICE_P2P_ATTRIBUTE_PERFORMANCE_RANK &&
                   machine().config().reaches(device, peer)
               ? 1
               : 0;
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

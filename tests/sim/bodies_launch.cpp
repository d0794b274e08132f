// Launches.
#include <cstdio>
#include <cstring>

#include "sim/submit.hpp"

namespace barswap::sim {
namespace {

struct Shape {
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
};

CUresult check(const Shape& shape) {
  for (int i = 0; i < 3; ++i)
    if (shape.grid[i] == 0 || shape.block[i] == 0) return CUDA_ERROR_INVALID_VALUE;
  const std::uint64_t threads = std::uint64_t{shape.block[0]} * shape.block[1] * shape.block[2];
  return threads > 1024 ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS;
}

// The parameters as the device will see them, from whichever form the program chose.
CUresult collect(const Function& function, void** parameters, void** extra,
                 std::vector<std::byte>& bytes) {
  bytes.resize(function.parameter_bytes);
  if (parameters != nullptr && extra != nullptr) return CUDA_ERROR_INVALID_VALUE;
  if (parameters != nullptr) {
    for (std::size_t i = 0; i < function.parameters.size(); ++i)
      std::memcpy(bytes.data() + function.parameters[i].offset, parameters[i],
                  function.parameters[i].size_bytes);
    return CUDA_SUCCESS;
  }
  if (extra == nullptr)
    return function.parameters.empty() ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
  const void* buffer = nullptr;
  std::size_t size = 0;
  for (void** item = extra; *item != CU_LAUNCH_PARAM_END; item += 2) {
    if (*item == CU_LAUNCH_PARAM_BUFFER_POINTER) buffer = item[1];
    else if (*item == CU_LAUNCH_PARAM_BUFFER_SIZE) size = *static_cast<std::size_t*>(item[1]);
    else return CUDA_ERROR_INVALID_VALUE;
  }
  if (size < function.parameter_bytes || buffer == nullptr) return CUDA_ERROR_INVALID_VALUE;
  std::memcpy(bytes.data(), buffer, bytes.size());
  return CUDA_SUCCESS;
}

// More than 48 KiB is to be asked for, on each die.
std::size_t shared_limit(const Function& function, int die) {
  const auto set = function.attributes.find({die, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES});
  return set == function.attributes.end() ? 48 << 10 : static_cast<std::size_t>(set->second);
}

}  // namespace

CUresult make_kernel(CUfunction handle, const unsigned (&grid)[3], const unsigned (&block)[3],
                     unsigned shared_bytes, void** parameters, void** extra,
                     std::unique_ptr<Op>& result, Node& node) {
  const Function* function = look_up(objects().functions, handle);
  if (function == nullptr) return CUDA_ERROR_INVALID_HANDLE;
  const Shape shape = {{grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]}, shared_bytes};
  BARSWAP_SIM_TRY(check(shape));
  if (function->twin == nullptr) {
    std::fprintf(stderr, "sim: the kernel %s has no twin\n", function->name.c_str());
    return CUDA_ERROR_NO_BINARY_FOR_GPU;
  }
  auto op = std::make_unique<KernelOp>();
  BARSWAP_SIM_TRY(collect(*function, parameters, extra, op->launch.parameters));
  op->twin = function->twin;
  op->launch.blocks = std::uint64_t{grid[0]} * grid[1] * grid[2];
  op->launch.threads = std::uint64_t{block[0]} * block[1] * block[2];
  node.type = CU_GRAPH_NODE_TYPE_KERNEL;
  node.kernel = {};
  if (function->context == nullptr) node.kernel.kern = reinterpret_cast<CUkernel>(handle);
  else node.kernel.func = handle;
  node.kernel.gridDimX = grid[0];
  node.kernel.gridDimY = grid[1];
  node.kernel.gridDimZ = grid[2];
  node.kernel.blockDimX = block[0];
  node.kernel.blockDimY = block[1];
  node.kernel.blockDimZ = block[2];
  node.kernel.sharedMemBytes = shared_bytes;
  result = std::move(op);
  return CUDA_SUCCESS;
}

namespace body {

CUresult cuLaunchKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                        unsigned by, unsigned bz, unsigned shared_bytes, CUstream handle,
                        void** parameters, void** extra) {
  std::shared_ptr<Stream> stream;
  BARSWAP_SIM_TRY(machine().stream_of(handle, stream));
  std::unique_ptr<Op> op;
  Node node;
  BARSWAP_SIM_TRY(
      make_kernel(f, {gx, gy, gz}, {bx, by, bz}, shared_bytes, parameters, extra, op, node));
  const Function& function = *look_up(objects().functions, f);
  const Context* own = function.context;
  if (own != nullptr && own != stream->context) return CUDA_ERROR_INVALID_HANDLE;
  if (shared_bytes > shared_limit(function, stream->context->die)) return CUDA_ERROR_INVALID_VALUE;
  node.kernel.ctx = stream->context->handle();
  op->own = stream->context;
  return submit(stream, std::move(op), &node);
}

CUresult cuLaunchKernelEx(const CUlaunchConfig* config, CUfunction f, void** parameters,
                          void** extra) {
  if (config == nullptr) return CUDA_ERROR_INVALID_VALUE;
  return body::cuLaunchKernel(f, config->gridDimX, config->gridDimY, config->gridDimZ,
                              config->blockDimX, config->blockDimY, config->blockDimZ,
                              config->sharedMemBytes, config->hStream, parameters, extra);
}

CUresult cuLaunchCooperativeKernel(CUfunction f, unsigned gx, unsigned gy, unsigned gz, unsigned bx,
                                   unsigned by, unsigned bz, unsigned shared_bytes, CUstream stream,
                                   void** parameters) {
  std::shared_ptr<Stream> found;
  BARSWAP_SIM_TRY(machine().stream_of(stream, found));
  BARSWAP_SIM_TRY(
      body::cuLaunchKernel(f, gx, gy, gz, bx, by, bz, shared_bytes, stream, parameters, nullptr));
  if (found->capture) found->capture->graph->nodes.back()->cooperative = true;
  return CUDA_SUCCESS;
}

}  // namespace body
}  // namespace barswap::sim

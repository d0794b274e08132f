// An ordinary program on the CUDA runtime, built with the static and with the shared library. It
// fills its footprint, rewrites all of it by a tiled matrix product, a stencil, a gather and a walk
// through a table of pointers, frees and allocates again, uses a graph and pitched memory, and
// hashes every byte. It prints the lines that tests/frameworks/results.py describes.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <vector>

#define CHECK(call)                                                                        \
  do {                                                                                     \
    cudaError_t error_ = (call);                                                           \
    if (error_ != cudaSuccess) {                                                           \
      std::fprintf(stderr, "%s:%d %s: %s\n", __FILE__, __LINE__, #call,                    \
                   cudaGetErrorString(error_));                                            \
      std::exit(3);                                                                        \
    }                                                                                      \
  } while (0)

namespace {

constexpr int kSide = 4096;
constexpr size_t kCells = static_cast<size_t>(kSide) * kSide;
constexpr size_t kBlockBytes = kCells * sizeof(uint32_t);
constexpr int kTile = 32;
constexpr int kThreads = 256;
constexpr int kBlocks = 132 * 8;

__device__ uint32_t mix(uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352dU;
  x ^= x >> 15;
  x *= 0x846ca68bU;
  return x ^ (x >> 16);
}

__global__ void fill(uint32_t* out, size_t count, uint32_t seed) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x)
    out[i] = mix(static_cast<uint32_t>(i) + seed);
}

// Integers, so that no order of sums can change the result.
__global__ void product(const uint32_t* a, const uint32_t* b, uint32_t* c, int depth) {
  __shared__ uint32_t left[kTile][kTile];
  __shared__ uint32_t right[kTile][kTile + 1];
  const int row = blockIdx.y * kTile + threadIdx.y;
  const int column = blockIdx.x * kTile + threadIdx.x;
  uint32_t sum = 0;
  for (int start = 0; start < depth; start += kTile) {
    left[threadIdx.y][threadIdx.x] = a[static_cast<size_t>(row) * kSide + start + threadIdx.x];
    right[threadIdx.y][threadIdx.x] = b[static_cast<size_t>(start + threadIdx.y) * kSide + column];
    __syncthreads();
    for (int k = 0; k < kTile; ++k) sum += left[threadIdx.y][k] * right[k][threadIdx.x];
    __syncthreads();
  }
  c[static_cast<size_t>(row) * kSide + column] += sum;
}

__global__ void stencil(const uint32_t* in, uint32_t* out, size_t count) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x)
    out[i] = in[i] * 3 + in[i == 0 ? count - 1 : i - 1] + in[i + 1 == count ? 0 : i + 1];
}

__global__ void gather(const uint32_t* in, uint32_t* out, size_t count, uint32_t seed) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    const size_t line = mix(static_cast<uint32_t>(i >> 6) + seed) & ((count >> 6) - 1);
    out[i] ^= in[line << 6 | (i & 63)];
  }
}

// The addresses lie in device memory alone: no parameter names what this kernel touches.
__global__ void walk(uint32_t* const* table, int blocks, size_t count) {
  for (size_t i = blockIdx.x * size_t{blockDim.x} + threadIdx.x; i < count;
       i += size_t{gridDim.x} * blockDim.x) {
    uint32_t carried = static_cast<uint32_t>(i);
    for (int block = 0; block < blocks; ++block) carried = table[block][i] += mix(carried);
  }
}

uint64_t hash_words(const uint64_t* words, size_t count) {
  uint64_t lanes[4] = {1, 2, 3, 4};
  for (size_t i = 0; i + 4 <= count; i += 4)
    for (size_t lane = 0; lane < 4; ++lane) {
      lanes[lane] = (lanes[lane] ^ words[i + lane]) * 0x9fb21c651e98df25ULL;
      lanes[lane] ^= lanes[lane] >> 29;
    }
  uint64_t hash = count;
  for (uint64_t lane : lanes) hash = (hash ^ lane) * 0x100000001b3ULL + (hash >> 31);
  return hash;
}

int64_t now_ns() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000000 + now.tv_nsec;
}

struct Options {
  size_t mib = 9500;
  int rounds = 2;
};

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    if (!std::strcmp(argv[i], "--mib")) options.mib = std::strtoul(argv[i + 1], nullptr, 10);
    if (!std::strcmp(argv[i], "--rounds")) options.rounds = std::atoi(argv[i + 1]);
  }
  return options;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  const int blocks = std::max<int>(4, static_cast<int>((options.mib << 20) / kBlockBytes));
  std::vector<uint32_t*> block(blocks);
  for (int i = 0; i < blocks; ++i) {
    CHECK(cudaMalloc(&block[i], kBlockBytes));
    fill<<<kBlocks, kThreads>>>(block[i], kCells, 7919u * i);
  }
  uint32_t** table;
  CHECK(cudaMalloc(&table, blocks * sizeof(uint32_t*)));
  CHECK(cudaMemcpy(table, block.data(), blocks * sizeof(uint32_t*), cudaMemcpyHostToDevice));
  uint32_t* pitched;
  size_t pitch_bytes;
  CHECK(cudaMallocPitch(&pitched, &pitch_bytes, 1000 * sizeof(uint32_t), 1000));
  CHECK(cudaMemset2D(pitched, pitch_bytes, 0x5a, 1000 * sizeof(uint32_t), 1000));
  cudaStream_t stream;
  CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  CHECK(cudaDeviceSynchronize());

  const int64_t begin_ns = now_ns();
  std::printf("begin %lld\n", static_cast<long long>(begin_ns));
  std::fflush(stdout);
  const dim3 tiles(kSide / kTile, kSide / kTile);
  for (int round = 0; round < options.rounds; ++round) {
    for (int i = 0; i < blocks; ++i) {
      uint32_t* const next = block[(i + 1) % blocks];
      uint32_t* const last = block[(i + blocks - 1) % blocks];
      product<<<tiles, dim3(kTile, kTile), 0, stream>>>(block[i], last, next, 512);
      stencil<<<kBlocks, kThreads, 0, stream>>>(block[i], last, kCells);
      gather<<<kBlocks, kThreads, 0, stream>>>(next, block[i], kCells, 31u * round + i);
    }
    // Two copies and a memset as a graph, launched twice: each swaps the halves of a block.
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    CHECK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
    CHECK(cudaMemcpyAsync(block[0], block[1] + kCells / 2, kBlockBytes / 2,
                          cudaMemcpyDeviceToDevice, stream));
    CHECK(cudaMemcpyAsync(block[1] + kCells / 2, block[2], kBlockBytes / 2,
                          cudaMemcpyDeviceToDevice, stream));
    CHECK(cudaMemsetAsync(block[2], round + 1, kBlockBytes / 4, stream));
    stencil<<<kBlocks, kThreads, 0, stream>>>(block[0], block[2], kCells / 8);
    CHECK(cudaStreamEndCapture(stream, &graph));
    CHECK(cudaGraphInstantiate(&exec, graph, 0));
    for (int launch = 0; launch < 2; ++launch) CHECK(cudaGraphLaunch(exec, stream));
    CHECK(cudaStreamSynchronize(stream));
    CHECK(cudaGraphExecDestroy(exec));
    CHECK(cudaGraphDestroy(graph));
    walk<<<kBlocks, kThreads, 0, stream>>>(table, blocks, kCells);
    CHECK(cudaStreamSynchronize(stream));
    // Free every third block and ask again: what comes back is filled anew.
    for (int i = 0; i < blocks; i += 3) {
      CHECK(cudaFree(block[i]));
      CHECK(cudaMalloc(&block[i], kBlockBytes));
      fill<<<kBlocks, kThreads, 0, stream>>>(block[i], kCells, 104729u * round + i);
    }
    CHECK(cudaMemcpyAsync(table, block.data(), blocks * sizeof(uint32_t*),
                          cudaMemcpyHostToDevice, stream));
    CHECK(cudaStreamSynchronize(stream));
  }
  CHECK(cudaGetLastError());
  CHECK(cudaDeviceSynchronize());
  const int64_t end_ns = now_ns();
  std::printf("end %lld\n", static_cast<long long>(end_ns));
  std::fflush(stdout);

  std::vector<uint64_t> host(kBlockBytes / sizeof(uint64_t));
  uint64_t hash = 14695981039346656037ULL;
  for (uint32_t* const from : block) {
    CHECK(cudaMemcpy(host.data(), from, kBlockBytes, cudaMemcpyDeviceToHost));
    hash = (hash ^ hash_words(host.data(), host.size())) * 0x100000001b3ULL + (hash >> 33);
  }
  CHECK(cudaMemcpy2D(host.data(), 1000 * sizeof(uint32_t), pitched, pitch_bytes,
                     1000 * sizeof(uint32_t), 1000, cudaMemcpyDeviceToHost));
  hash = (hash ^ hash_words(host.data(), 1000 * 1000 / 2)) * 0x100000001b3ULL + (hash >> 33);
  for (uint32_t* const from : block) CHECK(cudaFree(from));
  std::printf("hash %016llx\npeak %zu\ntime %.6f\n", static_cast<unsigned long long>(hash),
              blocks * kBlockBytes >> 20, static_cast<double>(end_ns - begin_ns) / 1e9);
  return 0;
}

// A program that knows one device and takes all its memory: what it can allocate, whether every
// byte is kept, and how fast each block is read. Runs bare as well. Arguments: the most to take in
// MiB, the size of a block in MiB. Prints one line a figure; status 1 if a byte was wrong.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace {

void must(cudaError_t code, const char* what) {
  if (code == cudaSuccess) return;
  std::printf("%s: %s\n", what, cudaGetErrorString(code));
  std::exit(1);
}

__device__ unsigned pattern(unsigned block, std::size_t i) {
  return (block + 1) * 2654435761u ^ static_cast<unsigned>(i * 0x9e3779b9u + (i >> 32));
}

__global__ void fill(unsigned* words, std::size_t count, unsigned block) {
  const std::size_t step = std::size_t(gridDim.x) * blockDim.x;
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count; i += step)
    words[i] = pattern(block, i);
}

__global__ void check(const unsigned* words, std::size_t count, unsigned block,
                      unsigned long long* wrong) {
  const std::size_t step = std::size_t(gridDim.x) * blockDim.x;
  unsigned long long found = 0;
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count; i += step)
    found += words[i] != pattern(block, i);
  if (found) atomicAdd(wrong, found);
}

__global__ void read_all(const uint4* words, std::size_t count, unsigned* sink) {
  const std::size_t step = std::size_t(gridDim.x) * blockDim.x;
  unsigned sum = 0;
  for (std::size_t i = blockIdx.x * std::size_t(blockDim.x) + threadIdx.x; i < count; i += step) {
    const uint4 word = words[i];
    sum += word.x ^ word.y ^ word.z ^ word.w;
  }
  if (sum == 0x12345678) *sink = sum;
}

}  // namespace

int main(int count, char** words) {
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  const std::size_t most_mib = count > 1 ? std::strtoull(words[1], nullptr, 10) : 1024;
  const std::size_t block_bytes = (count > 2 ? std::strtoull(words[2], nullptr, 10) : 256) << 20;
  unsigned long long* wrong;
  must(cudaMalloc(&wrong, 4096), "first allocation");
  must(cudaMemset(wrong, 0, 4096), "memset");
  std::size_t free_bytes = 0, total_bytes = 0;
  must(cudaMemGetInfo(&free_bytes, &total_bytes), "memory");
  cudaDeviceProp device;
  must(cudaGetDeviceProperties(&device, 0), "properties");
  std::printf("total %zu MiB, free %zu MiB, properties say %zu MiB\n", total_bytes >> 20,
              free_bytes >> 20, device.totalGlobalMem >> 20);
  std::vector<unsigned*> blocks;
  while ((blocks.size() + 1) * (block_bytes >> 20) <= most_mib) {
    unsigned* block = nullptr;
    if (cudaMalloc(&block, block_bytes) != cudaSuccess) break;
    blocks.push_back(block);
  }
  (void)cudaGetLastError();
  const std::size_t size = block_bytes / sizeof(unsigned);
  std::printf("allocated %zu MiB\n", blocks.size() * (block_bytes >> 20));
  for (unsigned i = 0; i < blocks.size(); ++i) fill<<<1056, 256>>>(blocks[i], size, i);
  for (unsigned i = 0; i < blocks.size(); ++i) check<<<1056, 256>>>(blocks[i], size, i, wrong);
  unsigned long long found = 0;
  must(cudaMemcpy(&found, wrong, sizeof found, cudaMemcpyDeviceToHost), "read");
  std::printf("words that were not kept: %llu\n", found);

  cudaEvent_t start, end;
  must(cudaEventCreate(&start), "event");
  must(cudaEventCreate(&end), "event");
  std::vector<double> rates;
  for (unsigned* block : blocks) {
    read_all<<<1056, 256>>>(reinterpret_cast<uint4*>(block), size / 4,
                            reinterpret_cast<unsigned*>(wrong));
    must(cudaEventRecord(start), "record");
    for (int i = 0; i < 3; ++i)
      read_all<<<1056, 256>>>(reinterpret_cast<uint4*>(block), size / 4,
                              reinterpret_cast<unsigned*>(wrong));
    must(cudaEventRecord(end), "record");
    must(cudaEventSynchronize(end), "synchronize");
    float ms = 0;
    must(cudaEventElapsedTime(&ms, start, end), "elapsed");
    rates.push_back(3.0 * static_cast<double>(block_bytes) / ms / 1e6);
  }
  std::sort(rates.begin(), rates.end());
  if (!rates.empty())
    std::printf("a block is read at %.0f to %.0f GB/s, the median at %.0f\n", rates.front(),
                rates.back(), rates[rates.size() / 2]);
  for (unsigned* block : blocks) must(cudaFree(block), "free");
  return found != 0;
}

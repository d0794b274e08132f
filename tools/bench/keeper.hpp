// Where the ranges of a workload lie, and who brings them: a program as it is written without a
// thought of memory, and the two that a careful author would write by hand.
#pragma once
#include <memory>
#include <string_view>

#include "die.hpp"
#include "workload.hpp"

namespace barswap::bench {

class Keeper {
 public:
  struct Place {
    CUdeviceptr in = 0, io = 0;
    CUstream stream = nullptr;
  };
  virtual ~Keeper() = default;
  // What is put into the stream from here on finds the step's ranges at these addresses.
  virtual Place enter(const Step& step) = 0;
  // The step's work is in the stream.
  virtual void leave(const Step& step) = 0;
};

// `plain`: every range is device memory. `in_place`: what lies over the cap is pinned host memory
// that kernels read and write where it is. `double_buffer`: it is copied through two buffers in
// HBM, the next while the present one is worked on, and back if it was written.
enum class Keeping : std::uint8_t { plain, in_place, double_buffer };
std::string_view name_of(Keeping keeping);
Keeping keeping_named(std::string_view name);  // throws std::invalid_argument

std::unique_ptr<Keeper> make_keeper(Keeping keeping, const Workload& workload,
                                    std::uint64_t cap_bytes);
std::unique_ptr<Keeper> make_double_buffer(const Workload& workload, std::uint64_t cap_bytes);

}  // namespace barswap::bench

// The tables' names, sorted, and what the program gets for each. Constant data: usable from the
// first instruction on, without a lock.
#pragma once
#include <cstddef>
#include <cstdint>

namespace barswap::interpose {

enum class Owner : std::uint8_t { none, driver, nvml };

// Whose function such a name can be, by its spelling alone. "cu" must be followed by a capital:
// cublasCreate, cudnnCreate and cudaMalloc are not the driver's.
Owner owner_of(const char* name);

struct Row {
  const char* name = nullptr;
  void* wrapper = nullptr;  // null: a CALL or PASS row, handed out as it is
};

std::size_t row_count();
Row row_at(std::size_t index);
// The row of that exact name; a Row without a name when there is none.
Row row_named(const char* name);

}  // namespace barswap::interpose
